package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"sort"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"serval"
	"serval/client"
)

// remote is where a command finds a running server.
type remote struct{ server, key, out string }

func (r *remote) flags(c *cobra.Command) {
	c.Flags().StringVar(&r.server, "server", "", "address of the server (default: $SERVAL_SERVER, else http://127.0.0.1:8080)")
	c.Flags().StringVar(&r.key, "key", "", "API key (default: $SERVAL_KEY)")
}

func (r *remote) output(c *cobra.Command) {
	c.Flags().StringVarP(&r.out, "output", "o", "table", "table or json")
}

func (r *remote) base() string {
	base := r.server
	if base == "" {
		if base = os.Getenv("SERVAL_SERVER"); base == "" {
			base = "http://127.0.0.1:8080"
		}
	}
	if !strings.Contains(base, "://") {
		base = "http://" + base
	}
	return base
}

func (r *remote) client() *client.Client {
	key := r.key
	if key == "" {
		key = os.Getenv("SERVAL_KEY")
	}
	return client.New(r.base(), key)
}

func modelCommand() *cobra.Command {
	c := &cobra.Command{Use: "model", Short: "List, inspect, load, fetch and convert models", Args: cobra.NoArgs, RunE: showHelp}
	c.AddCommand(modelList(), modelInspect(), modelStats(), modelLoad(), modelUnload(), modelPull(), modelConvert(), modelProfile(), modelTune(), modelPlan(), modelQuantize())
	return c
}

// emit writes v as JSON, or calls table.
func (r *remote) emit(v any, table func(io.Writer) error) error {
	switch r.out {
	case "json":
		e := json.NewEncoder(os.Stdout)
		e.SetIndent("", "  ")
		return e.Encode(v)
	case "table":
		w := tabwriter.NewWriter(os.Stdout, 0, 4, 2, ' ', 0)
		if err := table(w); err != nil {
			return err
		}
		return w.Flush()
	}
	return usage(fmt.Errorf("-o %q: use table or json", r.out))
}

func modelList() *cobra.Command {
	r := &remote{}
	c := &cobra.Command{
		Use: "list", Short: "List the models of a running server", Args: cobra.NoArgs,
		Example: "  serval model list\n  serval model list -o json",
		RunE: func(c *cobra.Command, _ []string) error {
			list, err := r.client().List(c.Context())
			if err != nil {
				return err
			}
			return r.emit(list, func(w io.Writer) error {
				fmt.Fprintln(w, "MODEL\tVERSION\tSTATE\tREASON")
				for _, m := range list {
					fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", m.Name, m.Version, m.State, m.Reason)
				}
				return nil
			})
		},
	}
	r.flags(c)
	r.output(c)
	return c
}

func modelInspect() *cobra.Command {
	r := &remote{}
	c := &cobra.Command{
		Use: "inspect MODEL", Short: "Show a model's inputs, outputs and settings", Args: cobra.ExactArgs(1),
		Example: "  serval model inspect credit",
		RunE: func(c *cobra.Command, args []string) error {
			ref, err := serval.ParseRef(args[0])
			if err != nil {
				return usage(err)
			}
			info, err := r.client().Info(c.Context(), ref)
			if err != nil {
				return err
			}
			return r.emit(info, func(w io.Writer) error { return inspectTable(w, info) })
		},
	}
	r.flags(c)
	r.output(c)
	return c
}

func inspectTable(w io.Writer, info *client.Info) error {
	fmt.Fprintf(w, "model\t%s\nplatform\t%s\nversions\t%s\n", info.Name, info.Platform, strings.Join(info.Versions, ", "))
	list := func(kind string, infos []serval.TensorInfo) {
		for i := range infos {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", kind, infos[i].Name, infos[i].DType, serval.ShapeString(infos[i].Shape))
		}
	}
	list("input", info.Signature.Inputs)
	list("output", info.Signature.Outputs)
	var cfg struct {
		Parameters map[string]struct {
			Value string `json:"string_value"`
		} `json:"parameters"`
	}
	if json.Unmarshal(info.Config, &cfg) == nil {
		var names []string
		for name := range cfg.Parameters {
			if name != serval.RecipeParameter {
				names = append(names, name)
			}
		}
		sort.Strings(names)
		for _, name := range names {
			fmt.Fprintf(w, "%s\t%s\n", strings.TrimPrefix(name, "serval_"), cfg.Parameters[name].Value)
		}
	}
	return nil
}

func modelStats() *cobra.Command {
	r := &remote{}
	c := &cobra.Command{
		Use: "stats MODEL", Short: "Show what a model did: times, batch sizes, why batches closed", Args: cobra.ExactArgs(1),
		Example: "  serval model stats credit",
		RunE: func(c *cobra.Command, args []string) error {
			ref, err := serval.ParseRef(args[0])
			if err != nil {
				return usage(err)
			}
			stats, err := r.client().Stats(c.Context(), ref)
			if err != nil {
				return err
			}
			raw := make([]json.RawMessage, len(stats))
			for i := range stats {
				raw[i] = stats[i].Raw
			}
			return r.emit(raw, func(w io.Writer) error {
				for i := range stats {
					statsTable(w, &stats[i])
				}
				return nil
			})
		},
	}
	r.flags(c)
	r.output(c)
	return c
}

func statsTable(w io.Writer, m *client.ModelStats) {
	fmt.Fprintf(w, "model\t%s version %s\n", m.Name, m.Version)
	fmt.Fprintf(w, "rows\t%d in %d executions\n", m.Inferences, m.Executions)
	if p := m.Process; p != (serval.ProcessStats{}) {
		fmt.Fprintf(w, "process\tpid %d, %d MiB, %d ended before it\n", p.PID, p.Memory>>20, p.Restarts)
	}
	if m.Sequences > 0 {
		fmt.Fprintf(w, "sequences\t%d live\n", m.Sequences)
	}
	each := func(name string, d serval.StatDuration) {
		mean := time.Duration(0)
		if d.Count > 0 {
			mean = d.Total / time.Duration(d.Count)
		}
		fmt.Fprintf(w, "%s\t%d\tmean %v\n", name, d.Count, mean)
	}
	each("success", m.Success)
	each("fail", m.Fail)
	each("queue", m.Queue)
	each("input", m.Input)
	each("compute", m.Compute)
	each("output", m.Output)
	for _, b := range m.Batches {
		each(fmt.Sprintf("batch of %d", b.Size), b.Compute)
	}
	counts := func(what string, by map[string]uint64) {
		var names []string
		for name := range by {
			names = append(names, name)
		}
		sort.Strings(names)
		for _, name := range names {
			fmt.Fprintf(w, "%s %s\t%d\n", what, name, by[name])
		}
	}
	counts("closed", m.Closed)
	counts("rejected", m.Rejected)
}

func modelLoad() *cobra.Command {
	return modelChange("load", "Load a model, or load it anew after its files changed", (*client.Client).Load)
}

func modelUnload() *cobra.Command {
	return modelChange("unload", "Take a model out of service and free its memory", (*client.Client).Unload)
}

func modelChange(verb, short string, do func(*client.Client, context.Context, string) error) *cobra.Command {
	r := &remote{}
	c := &cobra.Command{
		Use: verb + " MODEL...", Short: short, Args: cobra.MinimumNArgs(1),
		Example: "  serval model " + verb + " credit",
		RunE: func(c *cobra.Command, args []string) error {
			for _, name := range args {
				if err := do(r.client(), c.Context(), name); err != nil {
					return err
				}
				fmt.Printf("%s: %sed\n", name, verb)
			}
			return nil
		},
	}
	r.flags(c)
	return c
}
