package main

import (
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"serval/batch"
)

// forecast is what batch plan prints.
type forecast struct {
	*batch.Forecast
	load, total time.Duration // with the model's load; 0: not known
	cores, cost float64
}

// MarshalJSON has seconds for times.
func (p *forecast) MarshalJSON() ([]byte, error) {
	return json.Marshal(map[string]any{
		"rows": p.Rows, "exact": p.Exact, "rows_per_second": p.Rate, "load_seconds": p.load.Seconds(), "seconds": p.total.Seconds(), "cores": p.cores, "cost": p.cost,
		"sample": map[string]int64{"rows": p.Sample, "bad": p.Bad, "prompt_tokens": p.Usage.Prompt, "completion_tokens": p.Usage.Completion},
	})
}

func batchPlan() *cobra.Command {
	f := &jobFlags{}
	sample, price, format := 5*time.Second, 0.0, "csv"
	c := &cobra.Command{
		Use:   "plan MODEL -i IN",
		Short: "Say how long a job will take, and what it will cost, from its first rows",
		Long: `Say how long a job will take, how many cores it keeps busy and what that costs. Its first rows are done for a few seconds and
thrown away; the rest is taken to be like them. Run it on the machine that will do the job.`,
		Example: "  serval batch plan credit -i applicants.csv\n  serval batch plan chat -i tickets.jsonl --prompt 'Classify: {text}' --price-per-hour 0.40 --report json",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := f.finish(args[0]); err != nil {
				return usage(err)
			}
			defer f.closePlaces()
			begun := time.Now()
			o, end, err := f.options(c.Context())
			if err != nil {
				return err
			}
			defer end()
			out := forecast{load: time.Since(begun)}
			busy, begun := processTime(), time.Now()
			if out.Forecast, err = batch.Estimate(c.Context(), o, "."+format, sample); err != nil {
				return err
			}
			out.cores = (processTime() - busy).Seconds() / time.Since(begun).Seconds()
			if out.Time > 0 {
				out.total = out.Time + out.load
				out.cost = out.total.Hours() * price
			}
			return f.emit(&out, func(w io.Writer) error { return planTable(w, &out, price) })
		},
	}
	f.flags(c)
	l := c.Flags()
	l.DurationVar(&sample, "sample", sample, "how long to try")
	l.Float64Var(&price, "price-per-hour", 0, "what the machine costs an hour")
	l.StringVar(&format, "output-format", format, "format of the output")
	l.StringVar(&f.passthrough, "passthrough", "", "columns to keep beside the answer: all, none, or names (default: those that no input takes)")
	l.StringVar(&f.out, "report", "table", "table or json")
	return c
}

func planTable(w io.Writer, p *forecast, price float64) error {
	about := "about "
	if p.Exact {
		about = ""
	}
	if p.Rows > 0 {
		fmt.Fprintf(w, "rows\t%s%s\n", about, grouped(p.Rows))
	} else {
		fmt.Fprintf(w, "rows\tnot known: the input does not tell its size\n")
	}
	fmt.Fprintf(w, "sample\t%s rows, %s of them bad\nrate\t%s rows/s\nload\t%v\n", grouped(p.Sample), grouped(p.Bad), grouped(int64(p.Rate)), p.load.Round(10*time.Millisecond))
	if p.total > 0 {
		fmt.Fprintf(w, "time\t%s%v\n", about, p.total.Round(100*time.Millisecond))
	}
	fmt.Fprintf(w, "cores\t%.1f busy\n", p.cores)
	if u := p.Usage; u.Prompt > 0 && p.Sample > 0 && p.Rows > 0 {
		scale := float64(p.Rows) / float64(p.Sample)
		fmt.Fprintf(w, "tokens\t%s%s read, %s made\n", about, grouped(int64(float64(u.Prompt)*scale)), grouped(int64(float64(u.Completion)*scale)))
	}
	if price > 0 && p.total > 0 {
		fmt.Fprintf(w, "cost\t%s%.2f at %g an hour\n", about, p.cost, price)
	}
	return nil
}
