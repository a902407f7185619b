package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"serval"
	"serval/config"
	"serval/engine"
	"serval/engine/gguf/kernel"
	"serval/llm/gguf"
	"serval/llm/quantize"
	"serval/schedule/tune"
)

// TextTune says how settings of a model of text are searched for.
type TextTune struct {
	Recipes    []quantize.Recipe // tried beside what the model's file is
	Requantize bool              // also from a file that is quantised already
	Threads    []int             // nil: powers of two up to the cores
	Slots      []int             // nil: a quarter of Callers, half of them, all
	Callers    int               // that ask at the same time
	Text       string            // for perplexity; "": one that comes with Serval
	MaxLoss    float64           // of perplexity: 0.03 is 3 %
}

// TextTuned is what was found.
type TextTuned struct {
	Source string           `json:"file"` // the model's
	Type   string           `json:"type"` // what it is now
	Best   tune.TextTrial   `json:"best"`
	Trials []tune.TextTrial `json:"trials"`
	Notes  []string         `json:"notes,omitempty"`
}

// textModel is a model of text under measurement.
type textModel struct {
	w      *Workbench
	eng    engine.Engine
	spec   engine.Spec
	o      *TextTune
	dir    string // temporary, for variants
	source string
	kind   string
	kept   string // the variant that is on disk
}

// Generates tells whether a model is one of text whose file TuneText can make variants of.
func (w *Workbench) Generates(name string) (bool, error) {
	_, spec, err := w.find(name)
	if err != nil {
		return false, err
	}
	_, err = modelFile(&spec)
	return err == nil, nil
}

// modelFile is the GGUF file that a model is loaded from.
func modelFile(spec *engine.Spec) (string, error) {
	name, err := gguf.Find(os.DirFS(spec.Dir), spec.Settings.File)
	if err == nil && filepath.Ext(name) != ".gguf" {
		err = fmt.Errorf("%s is no GGUF file", name)
	}
	return filepath.Join(spec.Dir, filepath.FromSlash(name)), err
}

// TuneText measures types, threads and slots of a model of text. progress is told of each trial.
func (w *Workbench) TuneText(ctx context.Context, name string, o TextTune, progress func(tune.TextTrial)) (_ *TextTuned, err error) {
	eng, spec, err := w.find(name)
	if err != nil {
		return nil, err
	}
	m := &textModel{w: w, eng: eng, spec: spec, o: &o}
	if m.source, err = modelFile(&spec); err != nil {
		return nil, serval.Errorf(serval.InvalidArgument, "model '%s': %w", name, err).At("model")
	}
	out := &TextTuned{Source: m.source}
	types, err := m.types(out)
	if err != nil {
		return nil, err
	}
	if m.dir, err = os.MkdirTemp("", "serval-tune-"); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(m.dir)) }()
	o.Callers = cmp.Or(o.Callers, 16)
	space := tune.TextSpace{Types: types, Threads: o.Threads, Slots: o.Slots, MaxLoss: o.MaxLoss}
	if len(space.Threads) == 0 {
		for n := 1; n < w.cores; n *= 2 {
			space.Threads = append(space.Threads, n)
		}
		space.Threads = append(space.Threads, w.cores)
	}
	if len(space.Slots) == 0 {
		space.Slots = slices.Compact([]int{max(1, o.Callers/4), max(1, o.Callers/2), o.Callers})
	}
	out.Best, out.Trials, err = tune.SearchText(ctx, space, func(ctx context.Context, c tune.TextCandidate, perplexity bool) (tune.TextTrial, error) {
		t, err := m.measure(ctx, c, perplexity)
		if err == nil && progress != nil {
			progress(t)
		}
		return t, err
	})
	return out, err
}

// types are the names of the types to try, the source's first; what cannot be tried is noted.
func (m *textModel) types(out *TextTuned) ([]string, error) {
	f, err := gguf.Open(m.source)
	if err != nil {
		return nil, err
	}
	defer f.Close() // it was only read
	if len(f.Tensors) == 0 {
		return nil, serval.Errorf(serval.InvalidArgument, "%s has no tensors", m.source).At("model")
	}
	m.kind = mainType(f)
	out.Type = m.kind
	list := []string{m.kind}
	for _, r := range m.o.Recipes {
		if slices.Contains(list, r.Name) {
			continue
		}
		if _, err := m.plan(f, r); errors.Is(err, quantize.ErrQuantized) {
			out.Notes = append(out.Notes, fmt.Sprintf("other types were not tried: %v", err))
			break
		} else if err != nil {
			return nil, serval.Errorf(serval.InvalidArgument, "%s: %w", m.source, err).At("types")
		}
		list = append(list, r.Name)
	}
	return list, nil
}

func (m *textModel) plan(f *gguf.File, r quantize.Recipe) (*quantize.Job, error) {
	return quantize.Plan(f, quantize.Options{Recipe: r, Requantize: m.o.Requantize, Threads: m.w.cores, Decode: kernel.Dequantize})
}

// measure opens the model with a candidate's settings. One variant is on disk at a time.
func (m *textModel) measure(ctx context.Context, c tune.TextCandidate, perplexity bool) (tune.TextTrial, error) {
	spec := m.spec
	if c.Type != m.kind {
		file := filepath.Join(m.dir, c.Type+".gguf")
		if err := m.make(ctx, c.Type, file); err != nil {
			return tune.TextTrial{}, fmt.Errorf("%s: %w", c.Type, err)
		}
		spec.Dir, spec.Settings.File = m.dir, filepath.Base(file)
	}
	got, err := m.w.measureText(ctx, m.eng, spec, TextMeasure{Text: m.o.Text, Threads: c.Threads, Callers: m.o.Callers, Slots: c.Slots, NoPPL: !perplexity})
	if err != nil {
		return tune.TextTrial{}, fmt.Errorf("%s, %d threads, %d slots: %w", c.Type, c.Threads, c.Slots, err)
	}
	return tune.TextTrial{TextCandidate: c, Perplexity: got.Perplexity, Speed: got.Speed}, nil
}

// make writes a variant, unless it is there, in the place of the one before.
func (m *textModel) make(ctx context.Context, kind, file string) error {
	if m.kept == file {
		return nil
	}
	if m.kept != "" {
		if err := os.Remove(m.kept); err != nil {
			return err
		}
		m.kept = ""
	}
	f, err := gguf.Open(m.source)
	if err != nil {
		return err
	}
	defer f.Close() // it was only read
	r, err := quantize.Named(kind)
	if err != nil {
		return err
	}
	job, err := m.plan(f, r)
	if err != nil {
		return err
	}
	if err := job.Save(ctx, gguf.Saving{Path: file}); err != nil {
		return err
	}
	m.kept = file
	return nil
}

// WriteTextSettings writes what TuneText found into the model's model.yaml: threads and slots. Its file stays what it is.
func (w *Workbench) WriteTextSettings(name string, c tune.TextCandidate) (string, error) {
	return w.write(name, fmt.Sprintf("threads: %d, text: {slots: %d}", c.Threads, c.Slots), []config.Setting{
		{Path: "threads", Value: c.Threads}, {Path: "text.slots", Value: c.Slots},
	})
}
