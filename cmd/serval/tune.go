package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	engines "serval/engine/all"
	"serval/schedule/tune"
	"serval/server"
)

// workbench is what measures models in this process.
func (p *place) workbench(c *cobra.Command) (*server.Workbench, error) {
	cfg, err := p.read(nil)
	if err != nil {
		return nil, err
	}
	store, err := p.store(os.Stderr)
	if err != nil {
		return nil, err
	}
	return server.NewWorkbench(cfg, engines.New(keepsNothing{&libraries{c.Context(), store}}, cfg.Engines), tuneRuntime()), nil
}

// keepsNothing finds libraries and has no folder: what is opened to be measured is often gone afterwards, and packed weights that
// are written meanwhile would be measured too.
type keepsNothing struct{ libs *libraries }

func (k keepsNothing) Find(name string) (string, error) { return k.libs.Find(name) }

// mostAtOnce is what a model of text steps together at most.
const mostAtOnce = 512

// checkCallers bounds those of a measurement in this process: each takes memory, of a model of text its own part of the cache.
func checkCallers(n int) error {
	if n < 1 || n > mostAtOnce {
		return fmt.Errorf("--callers %d: it must be from 1 to %d", n, mostAtOnce)
	}
	return nil
}

func modelProfile() *cobra.Command {
	p, r := &place{}, &remote{}
	layers, rows, each := false, 1, 300*time.Millisecond
	c := &cobra.Command{
		Use:   "profile MODEL",
		Short: "Measure a model by batch size, threads and instances, or by its layers",
		Long: `Measure a model of the models folder in this process, without a server: how long a batch takes and how many rows a second
come out, by batch size, threads and instances, and what it holds in memory. With --layers: where the time goes inside it.`,
		Example: "  serval model profile credit\n  serval model profile ocr --layers --rows 4",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			w, err := p.workbench(c)
			if err != nil {
				return err
			}
			if layers {
				list, err := w.Layers(c.Context(), args[0], rows)
				if err != nil {
					return err
				}
				return r.emit(list, func(out io.Writer) error {
					fmt.Fprintln(out, "SHARE\tTIME\tOP\tLAYER")
					for _, l := range list {
						fmt.Fprintf(out, "%5.1f %%\t%v\t%s\t%s\n", 100*l.Share, l.Time, l.Op, l.Name)
					}
					return nil
				})
			}
			points, err := w.Profile(c.Context(), args[0], tune.ProfileOptions{Time: each, Progress: counter("measured")})
			if err != nil {
				return err
			}
			return r.emit(points, func(out io.Writer) error {
				fmt.Fprintln(out, "INSTANCES\tTHREADS\tBATCH\tP50\tP99\tROWS/S\tMEMORY")
				for _, t := range points {
					fmt.Fprintf(out, "%d\t%d\t%d\t%v\t%v\t%.0f\t%.1f MiB\n", t.Instances, t.Threads, t.Rows, t.P50, t.P99, t.RowsPerS, float64(t.Memory)/(1<<20))
				}
				return nil
			})
		},
	}
	p.flags(c)
	r.output(c)
	c.Flags().BoolVar(&layers, "layers", false, "by layer instead")
	c.Flags().IntVar(&rows, "rows", 1, "rows of a batch, with --layers")
	c.Flags().DurationVar(&each, "time", each, "for each line of the table")
	return c
}

func modelTune() *cobra.Command {
	p, r, o, plan := &place{}, &remote{}, tune.Options{}, tune.Plan{}
	dry, only, text := false, []string(nil), &textTuneFlags{}
	c := &cobra.Command{
		Use:   "tune MODEL",
		Short: "Search for the settings with the highest throughput under a p99 target, and write them to model.yaml",
		Long: `Search for the instances, threads and largest batch with the highest throughput whose p99 stays under a target, under the
load of callers that each send their next request when the last one was answered. Settings that are clearly worse are not
measured to the end. What is found is written to the model's model.yaml; the rest of that file stays as it is.

With --only, the settings named are measured side by side, in turns for some rounds, and nothing is written: the table shows
the medians, which scatter less than what a search saw.

Of a GGUF model that generates text, types of weights (written in a temporary folder), threads and slots are compared under the load of so
many callers, whose prompts have 32 tokens and whose answers 64; perplexity says what a type loses. The best of those that lose no more than
--max-loss is named; threads and slots are written.`,
		Example: "  serval model tune credit --p99 5ms --callers 16\n  serval model tune chat --callers 8 --types Q8_0,Q4_K_M --dry-run\n  serval model tune ocr --p99 200ms --dry-run\n  serval model tune ocr --only 1x2x16,2x1x8 --rounds 5",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			for _, text := range only {
				one, err := tune.ParseCandidate(text)
				if err != nil {
					return usage(err)
				}
				plan.Only = append(plan.Only, one)
			}
			if err := checkCallers(o.Load.Callers); err != nil {
				return usage(err)
			}
			w, err := p.workbench(c)
			if err != nil {
				return err
			}
			generates, err := w.Generates(args[0])
			if err != nil {
				return err
			}
			if err := text.wrong(c.Flags(), generates); err != nil {
				return usage(err)
			}
			if generates {
				return text.run(c, w, r, args[0], o.Load.Callers, dry)
			}
			best, trials, err := w.Tune(c.Context(), args[0], o, plan, func(t tune.Trial) {
				if r.out == "table" {
					fmt.Fprintf(os.Stderr, "instances %d, threads %d, batch %d: %.0f rows/s, p99 %v%s\n", t.Instances, t.Threads, t.MaxBatch, t.Throughput, t.P99, verdict(t))
				}
			})
			if err != nil {
				return err
			}
			if err := r.emit(struct {
				Best   tune.Trial   `json:"best"`
				Trials []tune.Trial `json:"trials"`
			}{best, trials}, func(out io.Writer) error {
				fmt.Fprintln(out, "INSTANCES\tTHREADS\tMAX BATCH\tROWS/S\tP50\tP99\t")
				for _, t := range trials {
					mark := verdict(t)
					if t.Candidate == best.Candidate {
						mark += " <- best"
					}
					fmt.Fprintf(out, "%d\t%d\t%d\t%.0f\t%v\t%v\t%s\n", t.Instances, t.Threads, t.MaxBatch, t.Throughput, t.P50, t.P99, mark)
				}
				return nil
			}); err != nil {
				return err
			}
			if !best.Meets {
				return fmt.Errorf("no settings kept p99 under %v; the nearest had %v. Nothing was written", o.Target, best.P99)
			}
			if dry || len(only) > 0 {
				return nil
			}
			file, err := w.WriteSettings(args[0], best.Candidate)
			if err == nil {
				fmt.Fprintf(os.Stderr, "written to %s; 'serval model load %s' puts it in force\n", file, args[0])
			}
			return err
		},
	}
	p.flags(c)
	r.output(c)
	c.Flags().DurationVar(&o.Target, "p99", 0, "the latency that 99 of 100 requests must stay under (default: none)")
	c.Flags().IntVar(&o.Load.Callers, "callers", 16, "callers at the same time")
	c.Flags().IntVar(&o.Load.Rows, "rows", 1, "rows of a request")
	c.Flags().DurationVar(&o.Time, "time", time.Second, "for each candidate")
	c.Flags().BoolVar(&plan.Exhaustive, "exhaustive", false, "try every combination")
	c.Flags().StringSliceVar(&only, "only", nil, "measure these alone: INSTANCESxTHREADSxBATCH, separated by commas")
	c.Flags().IntVar(&plan.Rounds, "rounds", 3, "times that each of --only is measured")
	c.Flags().BoolVar(&dry, "dry-run", false, "write nothing")
	text.flags(c.Flags())
	return c
}

func verdict(t tune.Trial) string {
	switch {
	case t.Stopped:
		return " stopped early"
	case !t.Meets:
		return " over the target"
	}
	return ""
}

// counter shows how far a long job is: in place on a terminal, nothing elsewhere since the table follows soon.
func counter(what string) func(done, total int) {
	if info, err := os.Stderr.Stat(); err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return nil
	}
	return func(done, total int) {
		fmt.Fprintf(os.Stderr, "\r\033[K%s %d of %d", what, done, total)
		if done == total {
			fmt.Fprint(os.Stderr, "\r\033[K")
		}
	}
}
