package gguf

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"serval"
	"serval/engine"
	"serval/engine/gguf/kernel"
	"serval/engine/gguf/packed"
	"serval/llm/gguf"
)

// Engine loads .gguf files.
type Engine struct{ kept *packed.Store }

// Options are the operator's settings of the engine; the zero value is the default.
type Options struct {
	PackedMiB int `yaml:"packed_mib" doc:"how much the weights that are kept in the cache folder for the next start may take together, in MiB; those that were not used for longest go first; -1: none are kept (default: 16384)"`
}

// New returns an engine that keeps nothing.
func New() *Engine { return &Engine{} }

// NewKeeping returns one that keeps packed weights in the folder that libs may have for it.
func NewKeeping(libs engine.Libraries, o Options) *Engine {
	e := New()
	if has, ok := libs.(engine.Folders); ok && o.PackedMiB >= 0 {
		if dir := has.Folder("weights"); dir != "" {
			e.kept = packed.New(dir, int64(o.PackedMiB)<<20)
		}
	}
	return e
}

// Name is the word for it in model.yaml.
func (e *Engine) Name() string { return "gguf" }

// Platform is what the Open Inference Protocol calls it.
func (e *Engine) Platform() string { return "serval_gguf" }

// Knows says which options a model may set; see engine.Optioned.
func (e *Engine) Knows(option string) bool { return option == "kv_type" }

// Detect wants one model of .gguf in the folder, perhaps in several parts, that begins as GGUF files do. Whether it is loaded where
// the settings do not name this engine is for Claim to say.
func (e *Engine) Detect(dir fs.FS) (engine.Rank, error) {
	if err := gguf.Holds(dir); err != nil {
		return engine.NotMine, fmt.Errorf("gguf: %w", err)
	}
	return engine.OnlyIfAsked, nil
}

// openFile opens the model's file.
func openFile(spec *engine.Spec) (*gguf.File, error) {
	name, err := gguf.Find(os.DirFS(spec.Dir), spec.Settings.File)
	if err != nil {
		return nil, serval.Errorf(serval.InvalidArgument, "gguf: %w", err)
	}
	f, err := gguf.Open(filepath.Join(spec.Dir, filepath.FromSlash(name)))
	if err != nil {
		return nil, serval.Errorf(serval.InvalidArgument, "%w", err)
	}
	return f, nil
}

// Open loads the folder's model. It returns an engine.Decoder that is an engine.Language too: one that makes text, or an encoder.
func (e *Engine) Open(ctx context.Context, spec engine.Spec) (engine.Model, error) {
	if err := checkSettings(&spec); err != nil {
		return nil, err
	}
	f, err := openFile(&spec)
	if err != nil {
		return nil, fmt.Errorf("model '%s': %w", spec.Name, err)
	}
	m, err := openAny(ctx, source{f, e.kept}, &spec)
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return m, nil
}

// openAny loads the model in f, which the model then owns.
func openAny(ctx context.Context, f source, spec *engine.Spec) (engine.Model, error) {
	if isBert(f.File) {
		e, err := openEncoder(ctx, f, spec)
		if err != nil {
			return nil, err
		}
		return e, nil
	}
	d, err := open(ctx, f, spec)
	if err != nil {
		return nil, err
	}
	return d, nil
}

// openEncoder loads a model that makes vectors.
func openEncoder(ctx context.Context, f source, spec *engine.Spec) (*encoder, error) {
	x, err := bertOf(f.File)
	if err != nil {
		return nil, err
	}
	p, err := makeBertPlan(x, &spec.Settings, threadsOf(spec), engine.FreeMemory("/"))
	if err != nil {
		return nil, err
	}
	if err := p.err(spec.Name); err != nil {
		return nil, err
	}
	team := kernel.NewTeam(p.workers)
	w, err := loadBert(ctx, f, x, kernel.Best(), team)
	if err != nil {
		team.Close()
		return nil, err
	}
	return newEncoder(w, p, team, spec)
}

// known declines a file whose net this engine does not know.
func known(f *gguf.File) (err error) {
	if isBert(f) {
		_, err = bertOf(f)
	} else {
		_, err = shapeOf(f)
	}
	return err
}

// open loads a model that makes text.
func open(ctx context.Context, f source, spec *engine.Spec) (*decoder, error) {
	x, err := shapeOf(f.File)
	if err != nil {
		return nil, err
	}
	p, err := makePlan(x, &spec.Settings, threadsOf(spec), engine.FreeMemory("/"))
	if err != nil {
		return nil, err
	}
	if err := p.err(spec.Name); err != nil {
		return nil, err
	}
	team := kernel.NewTeam(p.workers)
	w, err := load(ctx, f, x, team)
	if err != nil {
		team.Close()
		return nil, err
	}
	return newDecoder(w, p, team, spec)
}

// checkSettings refuses what this engine cannot do.
func checkSettings(spec *engine.Spec) error {
	if kind := spec.Device.Kind; kind != "cpu" && kind != "" {
		return serval.Errorf(serval.InvalidArgument, "device %s: engine gguf computes on the CPU; use engine: llama", spec.Device).At("device")
	}
	if spec.Settings.Text == nil {
		return nil
	}
	for name := range spec.Settings.Text.Adapters {
		return serval.Errorf(serval.InvalidArgument, "text.adapters.%s: engine gguf has no adapters; use engine: llama", name).At("text.adapters." + name)
	}
	return nil
}

// threadsOf is what the settings say, or every core.
func threadsOf(spec *engine.Spec) int {
	if spec.Settings.Threads == 0 && spec.Cores > 0 {
		return spec.Cores
	}
	return max(spec.Threads, 1)
}
