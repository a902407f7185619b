package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"
)

func doctorCommand() *cobra.Command {
	p, out, fix := &place{}, "", false
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Say what this machine has, what is missing, and the command that mends it",
		Example: `  serval doctor
  serval doctor --fix
  serval doctor -o json`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			store, err := p.store(os.Stderr)
			if err != nil {
				return err
			}
			var failed error // said after the report, which knows what to do about it
			if fix {
				for _, name := range store.Libraries() {
					if _, err := store.Ensure(c.Context(), name); err != nil {
						failed = errors.Join(failed, err)
					}
				}
			}
			report := store.Report(c.Context())
			switch out {
			case "text":
				err = report.Text(os.Stdout)
			case "json":
				e := json.NewEncoder(os.Stdout)
				e.SetIndent("", "  ")
				err = e.Encode(report)
			default:
				return usage(fmt.Errorf("-o %q: use text or json", out))
			}
			if err == nil && failed == nil && !report.OK() {
				return &exitError{code: 1}
			}
			return errors.Join(err, failed)
		},
	}
	p.storeFlags(c)
	c.Flags().StringVarP(&out, "output", "o", "text", "text or json")
	c.Flags().BoolVar(&fix, "fix", false, "fetch the libraries that are missing")
	return c
}
