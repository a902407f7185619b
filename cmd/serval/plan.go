package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"
)

func modelPlan() *cobra.Command {
	p, r := &place{}, &remote{}
	c := &cobra.Command{
		Use:   "plan MODEL|PATH",
		Short: "Say what a model will take in memory before it is loaded, and what to change if it does not fit",
		Long: `Say what a model will take in memory, from its file's header: weights, key-value cache, and what computing takes, against what
this machine, or the container that this runs in, has left. Ends with 1 if it does not fit.`,
		Example: "  serval model plan chat\n  serval model plan models/chat/1/model.gguf -o json",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			w, err := p.workbench(c)
			if err != nil {
				return err
			}
			plan, err := w.Plan(args[0])
			if err != nil {
				return err
			}
			err = r.emit(plan, func(out io.Writer) error {
				for _, part := range plan.Parts {
					fmt.Fprintf(out, "%s\t%s\t%s\n", part.Name, mebibytes(part.Bytes), part.Note)
				}
				fmt.Fprintf(out, "together\t%s\t\n", mebibytes(plan.Total))
				if plan.Free > 0 {
					fmt.Fprintf(out, "free\t%s\t\n", mebibytes(plan.Free))
				}
				if plan.Context > 0 {
					fmt.Fprintf(out, "context\t%d tokens\tof %d sequences at once\n", plan.Context, plan.Slots)
				}
				for _, a := range plan.Advice {
					fmt.Fprintf(out, "note\t%s\t\n", a)
				}
				return nil
			})
			if err == nil && !plan.Fits {
				return &exitError{code: 1, err: fmt.Errorf("%s does not fit the memory", args[0])}
			}
			return err
		},
	}
	p.flags(c)
	r.output(c)
	return c
}

func mebibytes(n int64) string { return fmt.Sprintf("%.0f MiB", float64(n)/(1<<20)) }
