package gguf

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"serval"
	"serval/engine"
	"serval/llm/gguf"
)

// Engine loads .gguf files. It holds nothing.
type Engine struct{}

// New returns the engine.
func New() *Engine { return &Engine{} }

// Name is the word for it in model.yaml.
func (e *Engine) Name() string { return "gguf" }

// Platform is what the Open Inference Protocol calls it.
func (e *Engine) Platform() string { return "serval_gguf" }

// Detect wants one model of .gguf in the folder, perhaps in several parts, that begins as GGUF files do. It is loaded only
// where the settings name this engine.
func (e *Engine) Detect(dir fs.FS) (engine.Rank, error) {
	name, err := artefact(dir, "")
	if err != nil {
		return engine.NotMine, err
	}
	file, err := dir.Open(name)
	if err != nil {
		return engine.NotMine, err
	}
	defer file.Close()
	magic := make([]byte, 4)
	if _, err := io.ReadFull(file, magic); err != nil || string(magic) != "GGUF" {
		return engine.NotMine, fmt.Errorf("gguf: %s is no GGUF file: it begins with %q", name, magic)
	}
	return engine.OnlyIfAsked, nil
}

const usualName = "model.gguf"

// laterPart is how the parts of a split model after the first are called.
var laterPart = regexp.MustCompile(`-(\d{5})-of-\d{5}\.gguf$`)

// artefact is the name of the model's (first) file in a version folder: the one asked for, or what the folder holds.
func artefact(dir fs.FS, asked string) (string, error) {
	if asked != "" {
		asked = filepath.ToSlash(asked)
		if _, err := fs.Stat(dir, asked); err != nil {
			return "", fmt.Errorf("gguf: the folder has no %s", asked)
		}
		return asked, nil
	}
	entries, err := fs.ReadDir(dir, ".")
	if err != nil {
		return "", err
	}
	var found []string
	for _, entry := range entries {
		name := entry.Name()
		if name == usualName {
			return name, nil
		}
		later := laterPart.FindStringSubmatch(name)
		if entry.IsDir() || !strings.EqualFold(filepath.Ext(name), ".gguf") || strings.HasPrefix(name, "mmproj") || later != nil && later[1] != "00001" {
			continue
		}
		found = append(found, name)
	}
	switch len(found) {
	case 0:
		return "", errors.New("gguf: the folder has no .gguf file, or not the first part of one")
	case 1:
		return found[0], nil
	}
	return "", fmt.Errorf("gguf: the folder has %d .gguf files (%s) and none is called %s; name the one to serve as file: in model.yaml, or move the others away",
		len(found), strings.Join(found, ", "), usualName)
}

// openFile opens the model's file.
func openFile(spec *engine.Spec) (*gguf.File, error) {
	name, err := artefact(os.DirFS(spec.Dir), spec.Settings.File)
	if err != nil {
		return nil, serval.Errorf(serval.InvalidArgument, "%w", err)
	}
	f, err := gguf.Open(filepath.Join(spec.Dir, filepath.FromSlash(name)))
	if err != nil {
		return nil, serval.Errorf(serval.InvalidArgument, "%w", err)
	}
	return f, nil
}

// Open loads the folder's model. It returns an engine.Decoder that is an engine.Language too.
func (e *Engine) Open(ctx context.Context, spec engine.Spec) (engine.Model, error) {
	if err := checkSettings(&spec); err != nil {
		return nil, err
	}
	f, err := openFile(&spec)
	if err != nil {
		return nil, fmt.Errorf("model '%s': %w", spec.Name, err)
	}
	d, err := open(ctx, f, &spec)
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return d, nil
}

// open loads the model in f, which the decoder then owns.
func open(ctx context.Context, f *gguf.File, spec *engine.Spec) (*decoder, error) {
	x, err := shapeOf(f)
	if err != nil {
		return nil, err
	}
	p, err := makePlan(x, &spec.Settings, engine.FreeMemory("/"))
	if err != nil {
		return nil, err
	}
	if err := p.err(spec.Name); err != nil {
		return nil, err
	}
	w, err := load(ctx, f, x)
	if err != nil {
		return nil, err
	}
	return newDecoder(w, p, spec)
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
