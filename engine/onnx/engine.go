package onnx

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"

	"serval"
	"serval/engine"
)

// Engine loads .onnx files. It opens ONNX Runtime at the first Open and keeps it until the process ends.
type Engine struct {
	libraries engine.Libraries
	options   Options

	mu      sync.Mutex
	library *library // nil until it was opened; an error is not kept, so that a library installed later is found

	loads   atomic.Int64 // being loaded now
	started atomic.Int64 // ever begun; tells a load whether it was alone
}

// New returns the engine. Nothing is opened yet.
func New(libs engine.Libraries, options Options) *Engine {
	return &Engine{libraries: libs, options: options}
}

// Name is the word for it in model.yaml.
func (e *Engine) Name() string { return "onnx" }

// Platform is the Open Inference Protocol's name.
func (e *Engine) Platform() string { return "onnxruntime_onnx" }

// Native says that ONNX Runtime's C++ runs in this process; see engine.Native.
func (e *Engine) Native() {}

// Detect wants one .onnx file in the folder, or one that is named model.onnx.
func (e *Engine) Detect(dir fs.FS) (engine.Rank, error) {
	if _, err := artefact(dir, ""); err != nil {
		return engine.NotMine, err
	}
	return engine.Preferred, nil
}

const usualName = "model.onnx"

// artefact is the path of the model's file in a version folder: the one asked for, or else what the folder holds. Where the
// name is a folder's, as Triton lays out models whose data stands beside them, the file is the model.onnx in it.
func artefact(dir fs.FS, asked string) (string, error) {
	if asked == "" {
		var err error
		if asked, err = find(dir); err != nil {
			return "", err
		}
	}
	asked = filepath.ToSlash(asked)
	info, err := fs.Stat(dir, asked)
	if err != nil {
		return "", fmt.Errorf("onnx: the folder has no %s", asked)
	}
	if info.IsDir() {
		inside := path.Join(asked, usualName)
		if _, err := fs.Stat(dir, inside); err != nil {
			return "", fmt.Errorf("onnx: %s is a folder without a %s in it", asked, usualName)
		}
		return inside, nil
	}
	return asked, nil
}

// find is the name of a version folder's artefact.
func find(dir fs.FS) (string, error) {
	entries, err := fs.ReadDir(dir, ".")
	if err != nil {
		return "", err
	}
	var found []string
	for _, entry := range entries {
		if entry.Name() == usualName {
			return usualName, nil
		}
		if !entry.IsDir() && strings.EqualFold(filepath.Ext(entry.Name()), ".onnx") {
			found = append(found, entry.Name())
		}
	}
	switch len(found) {
	case 0:
		return "", fmt.Errorf("onnx: the folder has no .onnx file")
	case 1:
		return found[0], nil
	}
	return "", fmt.Errorf("onnx: the folder has %d .onnx files (%s) and none is called %s; rename the one to serve to %s, name it as file: in model.yaml, or move the others away", len(found), strings.Join(found, ", "), usualName, usualName)
}

// ready opens ONNX Runtime if it was not opened yet.
func (e *Engine) ready() (*library, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.library != nil {
		return e.library, nil
	}
	path, err := e.libraries.Find("onnxruntime")
	if err != nil {
		return nil, fmt.Errorf("ONNX Runtime is needed to load .onnx files: %w", err)
	}
	l, err := openLibrary(path)
	if err != nil {
		return nil, err
	}
	e.library = l
	return l, nil
}

// Open loads the folder's model. It returns an engine.Batcher that is an engine.Sharer too.
func (e *Engine) Open(ctx context.Context, spec engine.Spec) (engine.Model, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	root, err := filepath.Abs(spec.Dir)
	if err != nil {
		return nil, err
	}
	spec.Dir = root
	file, err := artefact(os.DirFS(root), spec.Settings.File)
	if err != nil {
		return nil, serval.Errorf(serval.InvalidArgument, "model '%s': %w", spec.Name, err)
	}
	path := filepath.Join(root, filepath.FromSlash(file))
	plan, err := makePlan(e.options, spec)
	if err != nil {
		return nil, err
	}
	found, size, err := inspect(filepath.Dir(path), path)
	if err != nil {
		return nil, err
	}
	l, err := e.ready()
	if err != nil {
		return nil, err
	}
	began := e.started.Add(1)
	alone := e.loads.Add(1) == 1
	defer e.loads.Add(-1)
	before, measured := l.libc.inUse()
	s, err := l.openSession(ctx, path, plan)
	if err != nil {
		l.freed(3 * size)
		return nil, err
	}
	s.name = spec.Name
	s.label(found.classes)
	s.memory = engine.Memory{Bytes: size, Estimated: true}
	if after, _ := l.libc.inUse(); measured && alone && e.started.Load() == began && after-before >= size/2 {
		s.memory = engine.Memory{Bytes: after - before}
	}
	l.freed(3 * size) // loading takes about three times the model, for a moment
	return newInstance(s), nil
}
