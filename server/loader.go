package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"serval"
	"serval/engine"
	"serval/registry"
	"serval/schedule"
	"serval/task/predict"
)

// loader turns a version folder into a Handler: it picks the engine, tries an unknown artefact in a child process, opens
// it, and puts the task before it.
type loader struct {
	engines []engine.Engine
	cores   int
	probe   *prober // nil: unknown artefacts are loaded without trying them in a child
}

// Load implements registry.Loader.
func (l *loader) Load(ctx context.Context, src registry.Source) (registry.Loaded, error) {
	eng, err := l.pick(src)
	if err != nil {
		return nil, err
	}
	device, err := engine.ParseDevice(src.Settings.Device)
	if err != nil {
		return nil, err
	}
	spec := engine.Spec{Name: src.Name, Version: src.Version, Dir: src.Dir, Root: src.Root, Settings: src.Settings, Device: device}
	if _, native := eng.(engine.Native); native && l.probe != nil {
		if err := l.probe.try(ctx, eng.Name(), spec); err != nil {
			return nil, err
		}
	}
	opened, err := schedule.Open(ctx, eng, spec, l.cores)
	if err != nil {
		return nil, err
	}
	sig := opened.Signature
	folder, err := openFolder(src.Root)
	if err != nil {
		_ = opened.Loaded.Close()
		return nil, err
	}
	defer folder.Close()
	if err := readLabels(src, folder, &sig); err != nil {
		_ = opened.Loaded.Close()
		return nil, err
	}
	if r := opened.Settings.Recipe; r != nil {
		if opened.Settings.Recipe, err = r.Inline(folder, opened.Settings.Labels); err != nil {
			_ = opened.Loaded.Close()
			return nil, err
		}
	}
	batching := opened.Loaded.Batching()
	return &loaded{
		Loaded: opened.Loaded,
		task:   predict.New(src.Name, src.Version, sig, batching.On, opened.Loaded),
		info: serval.ModelInfo{
			Name: src.Name, Version: src.Version, Engine: eng.Name(), Platform: eng.Platform(), Path: src.Dir,
			Signature: sig, Settings: opened.Settings, Batching: batching, Memory: opened.Memory.Bytes,
		},
	}, nil
}

// pick finds the engine that recognises the artefact best, or the one that model.yaml names.
func (l *loader) pick(src registry.Source) (engine.Engine, error) {
	dir := os.DirFS(src.Dir)
	if want := src.Settings.Engine; want != "" {
		for _, e := range l.engines {
			if e.Name() == want {
				if rank, err := e.Detect(dir); rank == engine.NotMine {
					return nil, fmt.Errorf("engine %s, which model.yaml names, cannot load %s: %w", want, src.Dir, err)
				}
				return e, nil
			}
		}
		return nil, fmt.Errorf("engine: %q is not built in; there are %s", want, l.names())
	}
	best, rank := []engine.Engine(nil), engine.OnlyIfAsked
	var reasons []string
	for _, e := range l.engines {
		r, err := e.Detect(dir)
		if r <= engine.OnlyIfAsked {
			if err == nil {
				err = errors.New("only if model.yaml names it")
			}
			reasons = append(reasons, fmt.Sprintf("%s: %v", e.Name(), err))
			continue
		}
		switch {
		case r > rank:
			best, rank = []engine.Engine{e}, r
		case r == rank:
			best = append(best, e)
		}
	}
	switch len(best) {
	case 0:
		return nil, fmt.Errorf("no engine loads %s (%s)", src.Dir, strings.Join(reasons, "; "))
	case 1:
		return best[0], nil
	}
	return nil, fmt.Errorf("%s: the engines %s and %s both accept it; name one as engine: in model.yaml", src.Dir, best[0].Name(), best[1].Name())
}

func (l *loader) names() string {
	var list []string
	for _, e := range l.engines {
		list = append(list, e.Name())
	}
	return strings.Join(list, ", ")
}

// readLabels fills in the class names that model.yaml's labels point to: one a line, in the model's folder.
func readLabels(src registry.Source, folder fs.FS, sig *serval.Signature) error {
	for output, file := range src.Settings.Labels {
		at := sig.Output(output)
		if at < 0 {
			return fmt.Errorf("labels.%s: the model has no such output", output)
		}
		if !filepath.IsLocal(file) {
			return fmt.Errorf("labels.%s: %q must be a path inside the model's folder", output, file)
		}
		raw, err := fs.ReadFile(folder, filepath.ToSlash(file))
		if err != nil {
			return fmt.Errorf("labels.%s: %w", output, err)
		}
		sig.Outputs[at].Labels = strings.Split(strings.TrimRight(strings.ReplaceAll(string(raw), "\r\n", "\n"), "\n"), "\n")
	}
	return nil
}

// loaded is one version as the registry holds it.
type loaded struct {
	schedule.Loaded
	task *predict.Model
	info serval.ModelInfo
}

// Handle starts with the task, which hands on to schedule.
func (l *loaded) Handle(ctx context.Context, req *serval.Request, sink serval.Sink) error {
	return l.task.Handle(ctx, req, sink)
}

// Info describes the version.
func (l *loaded) Info() serval.ModelInfo { return l.info }
