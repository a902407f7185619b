package main

import (
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"serval/server"
)

// hostCommand is the process in which a server runs an isolated model; see server.HostCommand. Its argument, the model's name,
// is for those who look at the list of processes.
func hostCommand() *cobra.Command {
	p := &place{}
	c := &cobra.Command{
		Use: server.HostCommand + " MODEL", Hidden: true, Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, _ []string) error {
			// They come to every process of a service at once; it is the server that drains, and then ends this one.
			signal.Ignore(os.Interrupt, syscall.SIGTERM)
			tuneProcs() // and collect as usual: there is a process for each model, and its heap holds what does not change
			store, err := p.store(nil)
			if err != nil {
				return err
			}
			return server.RunHost(os.Stdin, &libraries{c.Context(), store})
		},
	}
	p.storeFlags(c)
	return c
}
