package llama

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"

	"serval"
	"serval/engine"
	"serval/llm/gguf"
)

// Engine loads .gguf files. It opens libllama at the first Open and keeps it until the process ends.
type Engine struct {
	libraries engine.Libraries

	mu   sync.Mutex
	open map[string]*library // by the library's name; an error is not kept, so that one installed later is found
}

// New returns the engine. Nothing is opened yet.
func New(libs engine.Libraries) *Engine {
	return &Engine{libraries: libs, open: map[string]*library{}}
}

// Name is the word for it in model.yaml.
func (e *Engine) Name() string { return "llama" }

// Platform is what the Open Inference Protocol calls it.
func (e *Engine) Platform() string { return "llamacpp_gguf" }

// Isolated says that its models run in a child process; see engine.Isolated.
func (e *Engine) Isolated() {}

// Knows says which options a model may set; see engine.Optioned.
func (e *Engine) Knows(option string) bool {
	return slices.Contains([]string{"kv", "kv_type", "gpu_layers", "mmap", "flash_attention"}, option)
}

// Detect wants one model of .gguf in the folder, perhaps in several parts, that begins as GGUF files do.
func (e *Engine) Detect(dir fs.FS) (engine.Rank, error) {
	if err := gguf.Holds(dir); err != nil {
		return engine.NotMine, fmt.Errorf("llama: %w", err)
	}
	return engine.Preferred, nil
}

func artefactIn(dir, asked string) (string, error) {
	name, err := gguf.Find(os.DirFS(dir), asked)
	if err != nil {
		return "", serval.Errorf(serval.InvalidArgument, "llama: %w", err)
	}
	return filepath.Join(dir, filepath.FromSlash(name)), nil
}

// openFile reads a model's header and refuses what is no model of text.
func openFile(path string) (*gguf.File, error) {
	f, err := gguf.Open(path)
	if err != nil {
		return nil, serval.Errorf(serval.InvalidArgument, "%w", err)
	}
	refuse := func(format string, args ...any) (*gguf.File, error) {
		_ = f.Close()
		return nil, serval.Errorf(serval.InvalidArgument, "%s: "+format, append([]any{path}, args...)...)
	}
	if f.Architecture() == "" {
		return refuse("its header does not say which architecture it has (general.architecture)")
	}
	if kind, ok := f.String("general.type"); ok && kind != "model" {
		return refuse("it holds a %s, not a model; an adapter is named in text.adapters beside its model", kind)
	}
	if f.Architecture() == "clip" {
		return refuse("it holds the part of a model that reads images, not a model of text")
	}
	return f, nil
}

// ready opens libllama, that for the device, if it was not opened yet.
func (e *Engine) ready(d engine.Device) (*library, error) {
	name := "llama"
	if d.Kind != "cpu" && d.Kind != "" {
		name = "llama-" + d.Kind
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if l := e.open[name]; l != nil {
		return l, nil
	}
	path, err := e.libraries.Find(name)
	if err != nil {
		return nil, fmt.Errorf("libllama is needed to load .gguf files: %w", err)
	}
	if err := checkCUDA(path, d); err != nil {
		return nil, err
	}
	l, err := openLibrary(path)
	if err != nil {
		return nil, err
	}
	e.open[name] = l
	return l, nil
}

// Open loads the folder's model. It returns an engine.Decoder that is an engine.Language too.
func (e *Engine) Open(ctx context.Context, spec engine.Spec) (engine.Model, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	path, err := artefactIn(spec.Dir, spec.Settings.File)
	if err != nil {
		return nil, fmt.Errorf("model '%s': %w", spec.Name, err)
	}
	f, err := openFile(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	plan, err := MakePlan(f, &spec.Settings, freeFor(spec.Device))
	if err != nil {
		return nil, err
	}
	if err := plan.Error(spec.Name); err != nil {
		return nil, err
	}
	l, err := e.ready(spec.Device)
	if err != nil {
		return nil, err
	}
	params, err := l.modelParams(&spec)
	if err != nil {
		return nil, err
	}
	w, err := l.load(ctx, spec.Name, f, params)
	if err != nil {
		return nil, err
	}
	d, err := newDecoder(w, plan, &spec)
	if err != nil {
		w.close()
		return nil, err
	}
	return d, nil
}

// modelParams are how the model's files are loaded.
func (l *library) modelParams(spec *engine.Spec) (modelParams, error) {
	p := l.modelDefaults()
	p.GPULayers = 0
	if kind := spec.Device.Kind; kind != "cpu" && kind != "" {
		if !l.supportsGPU() {
			return p, serval.Errorf(serval.Unavailable, "device %s: libllama at %s found no such device: %s", spec.Device, l.path, l.words())
		}
		p.GPULayers, p.SplitMode, p.MainGPU = -1, 0, int32(spec.Device.Index)
		if v := spec.Settings.Options["gpu_layers"]; v != "" {
			n, err := strconv.ParseInt(v, 10, 32)
			if err != nil || n < 0 {
				return p, serval.Errorf(serval.InvalidArgument, "options.gpu_layers is %q; it must be a number, 0 or more", v).At("options.gpu_layers")
			}
			p.GPULayers = int32(n)
		}
	}
	const loadNone, loadMmap = 0, 1
	switch v := spec.Settings.Options["mmap"]; v {
	case "":
	case "on":
		p.LoadMode = loadMmap
	case "off":
		p.LoadMode = loadNone
	default:
		return p, serval.Errorf(serval.InvalidArgument, "options.mmap is %q; use on or off", v).At("options.mmap")
	}
	return p, nil
}
