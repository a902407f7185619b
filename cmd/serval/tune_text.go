package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"serval/llm/quantize"
	"serval/schedule/tune"
	"serval/server"
)

// textTuneFlags are those of model tune that only a model of text has.
type textTuneFlags struct {
	kinds          []string
	threads, slots []int
	again          bool
	text           string
	loss           float64
}

func (f *textTuneFlags) flags(fl *pflag.FlagSet) {
	fl.StringSliceVar(&f.kinds, "types", []string{"Q8_0", "Q4_K_M", "Q4_0"}, "text: types to try beside the model's own; see model quantize")
	fl.IntSliceVar(&f.threads, "threads", nil, "text: numbers of threads to try (default: powers of two up to every core)")
	fl.IntSliceVar(&f.slots, "slots", nil, "text: numbers of answers that are stepped together (default: a quarter of the callers, half of them, all)")
	fl.BoolVar(&f.again, "requantize", false, "text: try types also from a file that is quantised already")
	fl.StringVar(&f.text, "text", "", "text: file of text for perplexity (default: one that comes with Serval)")
	fl.Float64Var(&f.loss, "max-loss", 3, "text: how much higher perplexity may get by another type, in per cent")
}

// ofTensors are the flags of model tune that only a model of tensors has.
var ofTensors = []string{"p99", "rows", "time", "exhaustive", "only", "rounds"}

// wrong is a flag that a model of the other kind has.
func (f *textTuneFlags) wrong(fl *pflag.FlagSet, text bool) error {
	var err error
	fl.Visit(func(g *pflag.Flag) {
		switch mine := strings.HasPrefix(g.Usage, "text: "); {
		case text && slices.Contains(ofTensors, g.Name):
			err = fmt.Errorf("--%s is for models of tensors, and this is one of text", g.Name)
		case !text && mine:
			err = fmt.Errorf("--%s is for models of text, and this is one of tensors", g.Name)
		}
	})
	return err
}

// run tunes a model of text.
func (f *textTuneFlags) run(c *cobra.Command, w *server.Workbench, r *remote, name string, callers int, dry bool) error {
	o := server.TextTune{Requantize: f.again, Threads: f.threads, Slots: f.slots, Callers: callers, MaxLoss: f.loss / 100}
	out := func(n int) bool { return n < 1 || n > mostAtOnce }
	if !(f.loss >= 0) || slices.ContainsFunc(append(slices.Clone(f.threads), f.slots...), out) {
		return usage(fmt.Errorf("--threads and --slots are from 1 to %d, --max-loss 0 or more", mostAtOnce))
	}
	slices.Sort(o.Threads)
	slices.Sort(o.Slots)
	for _, kind := range f.kinds {
		recipe, err := quantize.Named(kind)
		if err != nil {
			return usage(fmt.Errorf("--types: %w", err))
		}
		o.Recipes = append(o.Recipes, recipe)
	}
	if f.text != "" {
		text, err := server.ReadText(f.text)
		if err != nil {
			return usage(err)
		}
		o.Text = text
	}
	got, err := w.TuneText(c.Context(), name, o, func(t tune.TextTrial) {
		if r.out == "table" {
			fmt.Fprintf(os.Stderr, "%s, %d threads, %d slots: %.0f tokens/s of %d callers\n", t.Type, t.Threads, t.Slots, t.Total, t.Callers)
		}
	})
	if err != nil {
		return ended(c.Context(), err)
	}
	if err := r.emit(got, func(out io.Writer) error { return textTuned(out, got) }); err != nil {
		return err
	}
	b := &got.Best
	if b.Type != got.Type {
		again := ""
		if f.again {
			again = " --requantize"
		}
		fmt.Fprintf(os.Stderr, "%s is faster within the loss allowed: serval model quantize %s OUT --type %s%s\n", b.Type, got.Source, b.Type, again)
	}
	if dry {
		return nil
	}
	file, err := w.WriteTextSettings(name, b.TextCandidate)
	if err == nil {
		fmt.Fprintf(os.Stderr, "threads: %d, text: {slots: %d} written to %s; 'serval model load %s' puts it in force\n", b.Threads, b.Slots, file, name)
	}
	return err
}

func textTuned(out io.Writer, got *server.TextTuned) error {
	fmt.Fprintf(out, "TYPE\tTHREADS\tSLOTS\tPERPLEXITY\tLOSS\t%d CALLERS\tFIRST TOKEN\t1 ANSWER\tPROMPT\t\n", got.Best.Callers)
	for _, t := range got.Trials {
		mark := ""
		switch {
		case t.TextCandidate == got.Best.TextCandidate:
			mark = "<- best"
		case !t.Meets:
			mark = "loses too much"
		}
		fmt.Fprintf(out, "%s\t%d\t%d\t%.3f\t%+.2f %%\t%.0f/s\t%v\t%.0f/s\t%.0f/s\t%s\n", t.Type, t.Threads, t.Slots, t.Perplexity, 100*t.Loss, t.Total, t.First.Round(time.Millisecond), t.One, t.Prompt, mark)
	}
	for _, n := range got.Notes {
		fmt.Fprintf(out, "note: %s\n", n)
	}
	return nil
}
