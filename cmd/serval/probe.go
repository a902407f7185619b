package main

import (
	"encoding/json"
	"io"
	"os"

	"github.com/spf13/cobra"

	"serval/server"
)

// probeCommand is the child in which the server loads an artefact that it never loaded before; see server.ProbeCommand.
func probeCommand() *cobra.Command {
	p := &place{}
	c := &cobra.Command{
		Use: server.ProbeCommand, Hidden: true, Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			in, err := io.ReadAll(os.Stdin)
			if err != nil {
				return err
			}
			store, err := p.store(nil)
			if err != nil {
				return err
			}
			if err := server.RunProbe(c.Context(), in, &libraries{c.Context(), store}); err != nil {
				_ = json.NewEncoder(os.Stdout).Encode(map[string]string{"error": err.Error()})
				return &exitError{code: 1}
			}
			_, err = io.WriteString(os.Stdout, server.ProbePassed)
			return err
		},
	}
	p.storeFlags(c)
	return c
}
