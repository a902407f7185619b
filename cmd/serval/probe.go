package main

import (
	"os"

	"github.com/spf13/cobra"

	"serval/server"
)

// probeCommand is the child in which the server tries artefacts that it never loaded before; see server.ProbeCommand.
func probeCommand() *cobra.Command {
	p := &place{}
	c := &cobra.Command{
		Use: server.ProbeCommand, Hidden: true, Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			store, err := p.store(nil)
			if err != nil {
				return err
			}
			return server.RunProbe(c.Context(), os.Stdin, os.Stdout, &libraries{c.Context(), store})
		},
	}
	p.storeFlags(c)
	return c
}
