package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"serval"
	"serval/llm/quantize"
	"serval/server"
)

// quantizeFlags are those of model quantize.
type quantizeFlags struct {
	kind, text                     string
	keep                           []string
	pure, again, force, unmeasured bool
	threads, callers               int
}

func modelQuantize() *cobra.Command {
	p, r, f := &place{}, &remote{}, &quantizeFlags{}
	c := &cobra.Command{
		Use:   "quantize IN OUT",
		Short: "Write a GGUF model in fewer bits, and say what that costs and gains",
		Long: `Write a GGUF model in fewer bits: smaller, faster, and a little less exact. IN is a GGUF file of floats (F32, F16 or BF16), the first
part of a split one, or a folder that holds one. OUT is there only when it is whole; folders on the way are made, so that
models/NAME/1/model.gguf is a model that a server finds. Then both files are opened as a server would, and measured: perplexity (how
surprised the model is by a text; less is better, and what it rises by is what was lost), tokens a second of one answer and of
16 together, and of reading a prompt.

` + recipeTable() + `
Where rows are too short for blocks of 256 columns, Q4_K becomes Q5_0, Q5_K Q5_1 and Q6_K Q8_0, as in llama.cpp, and the table says so.
Vectors (norms and biases) stay what they are. Q4_K and Q5_K mean Q4_K_M and Q5_K_M.`,
		Example: `  serval model quantize smollm2-f16.gguf models/smollm2/1/model.gguf --type Q4_K_M
  serval model quantize big-00001-of-00003.gguf big-q8.gguf --type Q8_0 --no-measure
  serval model quantize in.gguf out.gguf --type Q4_0 --keep output.weight=Q8_0 --keep 'blk.*.attn_v.weight=Q6_K'
  serval model quantize in.gguf out.gguf --type Q5_K_M --text our-manual.txt -o json`,
		Args: cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			q, m, err := f.read(args)
			if err != nil {
				return usage(err)
			}
			w, err := p.workbench(c)
			if err != nil {
				return err
			}
			return f.run(c.Context(), w, r, q, m)
		},
	}
	p.flags(c)
	r.output(c)
	fl := c.Flags()
	fl.StringVar(&f.kind, "type", "", "what to write, from the table above")
	fl.StringArrayVar(&f.keep, "keep", nil, "a type of their own for matrices, as NAME=TYPE; * in NAME stands for any characters")
	fl.BoolVar(&f.pure, "pure", false, "one type for all matrices, also where the table has exceptions")
	fl.BoolVar(&f.again, "requantize", false, "take a source that is quantised already; rounding twice loses more than once")
	fl.BoolVar(&f.force, "force", false, "write over OUT")
	fl.StringVar(&f.text, "text", "", "file of text for perplexity (default: one of 1,800 tokens that comes with Serval)")
	fl.IntVar(&f.threads, "threads", 0, "threads of the models that are measured (default: every core)")
	fl.IntVar(&f.callers, "callers", 16, "answers that are made together, where speed is measured")
	fl.BoolVar(&f.unmeasured, "no-measure", false, "only write the file")
	return c
}

// recipeTable is what --type may be, for the help.
func recipeTable() string {
	var b strings.Builder
	for _, r := range quantize.Recipes() {
		output := ""
		if r.Output != r.Base {
			output = "; output " + r.Output.String()
		}
		fmt.Fprintf(&b, "  %-7s %s%s\n", r.Name, r.About, output)
	}
	return b.String()
}

// read makes what server is asked out of the flags.
func (f *quantizeFlags) read(args []string) (q server.Quantization, m server.TextMeasure, err error) {
	q = server.Quantization{In: args[0], Out: args[1], Requantize: f.again, Replace: f.force}
	if f.kind == "" {
		return q, m, errors.New("--type: say what to write, for example Q4_K_M or Q8_0; see --help")
	}
	if q.Recipe, err = quantize.Named(f.kind); err != nil {
		return q, m, fmt.Errorf("--type: %w", err)
	}
	if f.pure {
		q.Recipe = q.Recipe.Pure()
	}
	for _, text := range f.keep {
		k, err := quantize.ParseOverride(text)
		if err != nil {
			return q, m, fmt.Errorf("--keep: %w", err)
		}
		q.Keep = append(q.Keep, k)
	}
	if f.threads < 0 {
		return q, m, fmt.Errorf("--threads %d: it must be 0 or more", f.threads)
	}
	if err := checkCallers(f.callers); err != nil {
		return q, m, err
	}
	m.Threads, m.Callers = f.threads, f.callers
	if f.text != "" {
		m.Text, err = server.ReadText(f.text)
	}
	return q, m, err
}

// quantizedReport is what is printed.
type quantizedReport struct {
	*server.Quantized
	Before *server.TextMeasured `json:"before,omitempty"`
	After  *server.TextMeasured `json:"after,omitempty"`
	Notes  []string             `json:"notes,omitempty"`
}

func (f *quantizeFlags) run(ctx context.Context, w *server.Workbench, r *remote, q server.Quantization, m server.TextMeasure) error {
	if r.out != "json" && r.out != "table" { // before an hour's work
		return r.emit(nil, nil)
	}
	q.Progress = bytesWritten("writing " + q.Out)
	done, err := w.Quantize(ctx, q)
	var e *serval.Error
	switch {
	case ctx.Err() != nil && err != nil:
		return &exitError{code: exitInterrupted, err: errors.New("stopped; nothing was written")}
	case errors.As(err, &e) && e.Code == serval.InvalidArgument:
		return usage(err)
	case err != nil:
		return err
	}
	report := quantizedReport{Quantized: done}
	for _, s := range done.Instead {
		report.Notes = append(report.Notes, fmt.Sprintf("%d matrices are %s and not %s: their rows of %d columns are no multiple of its block", s.Tensors, s.Got, s.Wanted, s.Width))
	}
	if !f.unmeasured {
		measure := func(name string, file server.ModelFile) *server.TextMeasured {
			if ctx.Err() != nil {
				return nil
			}
			m.Progress = counter("measuring " + name + ": pieces of text")
			got, err := w.MeasureText(ctx, file.Path, m)
			if err != nil {
				report.Notes = append(report.Notes, fmt.Sprintf("%s was not measured: %v", file.Path, err))
				return nil
			}
			return got
		}
		report.Before, report.After = measure("the source", done.In), measure("the result", done.Out)
		if ctx.Err() != nil {
			return &exitError{code: exitInterrupted, err: fmt.Errorf("stopped while measuring; %s is written", q.Out)}
		}
	}
	return r.emit(report, report.table)
}

func (r *quantizedReport) table(out io.Writer) error {
	fmt.Fprint(out, "\tTYPE\tSIZE\tBITS A WEIGHT")
	measured := r.Before != nil || r.After != nil
	callers := 16
	for _, m := range []*server.TextMeasured{r.Before, r.After} {
		if m != nil {
			callers = m.Callers
		}
	}
	if measured {
		fmt.Fprintf(out, "\tPERPLEXITY\t1 ANSWER\t%d ANSWERS\tPROMPT", callers)
	}
	fmt.Fprintln(out)
	line := func(name string, file *server.ModelFile, m *server.TextMeasured) {
		fmt.Fprintf(out, "%s\t%s\t%.1f MB\t%.2f", name, file.Type, float64(file.Bytes)/1e6, file.Bits)
		switch {
		case m != nil:
			fmt.Fprintf(out, "\t%.3f\t%.0f/s\t%.0f/s\t%.0f/s", m.Perplexity, m.One, m.Many, m.Prompt)
		case measured:
			fmt.Fprint(out, "\t-\t-\t-\t-")
		}
		fmt.Fprintln(out)
	}
	line("source", &r.In, r.Before)
	line("result", &r.Out, r.After)
	if a, b := r.Before, r.After; a != nil && b != nil {
		fmt.Fprintf(out, "change\t\t%+.0f %%\t\t%+.2f %%\t×%.2f\t×%.2f\t×%.2f\n", 100*(float64(r.Out.Bytes)/float64(r.In.Bytes)-1),
			100*(b.Perplexity/a.Perplexity-1), b.One/a.One, b.Many/a.Many, b.Prompt/a.Prompt)
	}
	fmt.Fprintln(out)
	for _, t := range r.Types {
		fmt.Fprintf(out, "%s\t%d tensors\t%.1f MB\n", t.Type, t.Tensors, float64(t.Bytes)/1e6)
	}
	if m := r.After; m != nil {
		fmt.Fprintf(out, "\nspeeds: tokens a second, engine %s, %d threads; perplexity: over %d tokens\n", m.Engine, m.Threads, m.Positions)
	}
	for _, n := range r.Notes {
		fmt.Fprintf(out, "note: %s\n", n)
	}
	return nil
}

// bytesWritten shows how far a file is, on a terminal.
func bytesWritten(what string) func(done, total int64) {
	if info, err := os.Stderr.Stat(); err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return nil
	}
	drawn := -1
	return func(done, total int64) {
		share := int(1000 * float64(done) / float64(max(total, 1)))
		switch {
		case done == total:
			fmt.Fprint(os.Stderr, "\r\x1b[K")
		case share != drawn:
			drawn = share
			full := share * barWidth / 1000
			fmt.Fprintf(os.Stderr, "\r\x1b[K%s [%s%s] %d of %d MB", what, strings.Repeat("█", full), strings.Repeat("░", barWidth-full), done/1e6, total/1e6)
		}
	}
}
