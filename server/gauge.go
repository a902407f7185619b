package server

import (
	"cmp"
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	"serval"
	"serval/engine"
	"serval/llm/gguf"
	"serval/llm/vocab"
	"serval/registry"
	"serval/schedule"
	"serval/schedule/gauge"
)

// TextMeasure says how a model of text is measured.
type TextMeasure struct {
	Text     string                // whose perplexity is taken; "": one that comes with Serval
	Most     int                   // tokens of it that are read; 0: 2,048
	Threads  int                   // 0: all cores
	Callers  int                   // together; 0: 16
	Slots    int                   // answers that are stepped together; 0: Callers
	Rounds   int                   // of each speed; 0: 2
	NoPPL    bool                  // only the speed
	Progress func(done, total int) // pieces of the text; nil: nobody looks
}

// TextMeasured is how well and how fast a model of text computes on this machine.
type TextMeasured struct {
	Engine     string  `json:"engine"`
	Threads    int     `json:"threads"`
	Perplexity float64 `json:"perplexity,omitempty"`
	Positions  int     `json:"positions,omitempty"` // of the text that perplexity was taken over
	Memory     int64   `json:"memory_bytes"`
	gauge.Speed
}

// What a model of text is opened with to be measured: prompts of one window or of what speed takes, and an answer.
const (
	measuredContext = 512
	measuredWindow  = 256
	measuredTokens  = 2048
)

// MeasureText opens the GGUF model at a path, as the engine that would serve it does, and measures it.
func (w *Workbench) MeasureText(ctx context.Context, path string, m TextMeasure) (*TextMeasured, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	src := registry.Source{Name: filepath.Base(path), Version: "1", Root: filepath.Dir(path), Dir: filepath.Dir(path)}
	src.Settings.File = filepath.Base(path)
	eng, err := w.loader.pick(src)
	if err != nil {
		return nil, err
	}
	return w.measureText(ctx, eng, engine.Spec{Name: src.Name, Version: src.Version, Dir: src.Dir, Root: src.Root, Settings: src.Settings}, m)
}

func (w *Workbench) measureText(ctx context.Context, eng engine.Engine, spec engine.Spec, m TextMeasure) (out *TextMeasured, err error) {
	if m.Callers <= 0 {
		m.Callers = 16
	}
	spec.Settings.Threads = m.Threads
	text := serval.TextSettings{}
	if spec.Settings.Text != nil {
		text = *spec.Settings.Text
	}
	text.Context, text.Slots, text.Cache = measuredContext, cmp.Or(m.Slots, m.Callers), max(2048, 128*m.Callers)
	spec.Settings.Text = &text
	spec.Settings.Queue = serval.QueueSettings{MaxWait: time.Hour} // nobody is refused
	opened, err := schedule.Open(ctx, eng, spec, w.cores)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, opened.Loaded.Close()) }()
	if opened.Language == nil || !opened.Language.Generate {
		return nil, serval.Errorf(serval.InvalidArgument, "%s is no model that generates text", spec.Name).At("model")
	}
	windows, err := windowsOf(opened.Language.File, m)
	if err != nil {
		return nil, err
	}
	out = &TextMeasured{Engine: eng.Name(), Threads: opened.Settings.Threads, Memory: opened.Memory.Bytes}
	if !m.NoPPL {
		if out.Perplexity, out.Positions, err = gauge.Perplexity(ctx, opened.Loaded, windows, m.Progress); err != nil {
			return nil, err
		}
	}
	var all []int32
	for _, w := range windows {
		all = append(all, w...)
	}
	out.Speed, err = gauge.Measure(ctx, opened.Loaded, opened.Language.Context, gauge.Load{Tokens: all, Callers: m.Callers, Rounds: m.Rounds})
	return out, err
}

// windowsOf are the pieces of the text as tokens of the model in file.
func windowsOf(file string, m TextMeasure) ([][]int32, error) {
	f, err := gguf.Open(file)
	if err != nil {
		return nil, err
	}
	words, err := vocab.FromGGUF(f)
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	text, most := m.Text, m.Most
	if text == "" {
		text = gauge.Text
	}
	if most <= 0 {
		most = measuredTokens
	}
	list, err := gauge.Windows(words, text, measuredWindow, max(1, most/measuredWindow))
	if err != nil {
		return nil, serval.Errorf(serval.InvalidArgument, "%w", err).At("text")
	}
	return list, nil
}

// ReadText reads a file of text to measure a model with.
func ReadText(path string) (string, error) {
	const most = 64 << 20
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return "", err
	case !info.Mode().IsRegular():
		return "", serval.Errorf(serval.InvalidArgument, "%s is no file of text", path).At("text")
	case info.Size() > most:
		return "", serval.Errorf(serval.InvalidArgument, "%s has %d MB; 64 are read at most, and 100 kB are enough", path, info.Size()>>20).At("text")
	}
	b, err := os.ReadFile(path)
	if err == nil && len(b) == 0 {
		return "", serval.Errorf(serval.InvalidArgument, "%s is empty; without it a text that comes with Serval is taken", path).At("text")
	}
	return string(b), err
}
