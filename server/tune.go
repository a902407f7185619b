package server

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"serval"
	"serval/config"
	"serval/engine"
	"serval/registry"
	"serval/schedule"
	"serval/schedule/tune"
)

// A Workbench measures models of a configuration in this process; no server runs.
type Workbench struct {
	models *registry.Registry // never loads
	loader loader
	cores  int
}

// NewWorkbench makes a Workbench.
func NewWorkbench(cfg *config.Config, engines []engine.Engine, cores int) *Workbench {
	files := &reader{engines: engines, name: cfg.ModelName, log: slog.New(slog.DiscardHandler)}
	models := registry.New(registry.Options{Roots: cfg.ModelDirs, Settings: cfg.Models, Read: files.read, Name: files.named, Alone: files.alone, Version: files.version, Merge: merge})
	return &Workbench{models: models, loader: loader{engines: engines, cores: cores}, cores: cores}
}

// find is the newest version of a model, with the engine that loads it.
func (w *Workbench) find(name string) (engine.Engine, engine.Spec, error) {
	src, err := w.models.Newest(name)
	if err != nil {
		return nil, engine.Spec{}, err
	}
	eng, err := w.loader.pick(src)
	if err != nil {
		return nil, engine.Spec{}, err
	}
	device, err := engine.ParseDevice(src.Settings.Device)
	if err != nil {
		return nil, engine.Spec{}, err
	}
	return eng, engine.Spec{Name: src.Name, Version: src.Version, Dir: src.Dir, Root: src.Root, Settings: src.Settings, Device: device}, nil
}

// Profile measures a model's engine by batch size, threads and instances.
func (w *Workbench) Profile(ctx context.Context, name string, o tune.ProfileOptions) ([]tune.Point, error) {
	eng, spec, err := w.find(name)
	if err != nil {
		return nil, err
	}
	o.Cores = w.cores
	return tune.Profile(ctx, eng, spec, o)
}

// Layers says where a call's time goes inside the model, by its nodes.
func (w *Workbench) Layers(ctx context.Context, name string, rows int) ([]engine.Layer, error) {
	eng, spec, err := w.find(name)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "serval-profile-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir) // only the sums are kept
	return schedule.Layers(ctx, eng, spec, rows, dir)
}

// Tune searches for settings by a plan. progress is told of each trial.
func (w *Workbench) Tune(ctx context.Context, name string, o tune.Options, plan tune.Plan, progress func(tune.Trial)) (tune.Trial, []tune.Trial, error) {
	eng, spec, err := w.find(name)
	if err != nil {
		return tune.Trial{}, nil, err
	}
	spec.Settings.Instances, spec.Settings.Threads = 1, 1
	opened, err := schedule.Open(ctx, eng, spec, 1)
	if err != nil {
		return tune.Trial{}, nil, err
	}
	batches := opened.Loaded.Batching().On
	o.Load.Inputs = schedule.Samples(opened.Signature, spec.Settings.Dims)
	if err := opened.Loaded.Close(); err != nil {
		return tune.Trial{}, nil, err
	}
	space := tune.Space{Cores: w.cores}.Upto(o.Load.InFlight())
	if !batches {
		space.Batches = []int{1}
	}
	measure := tune.Measurer(eng, spec, o)
	told := func(ctx context.Context, c tune.Candidate, best *tune.Trial) (tune.Trial, error) {
		t, err := measure(ctx, c, best)
		if err == nil && progress != nil {
			progress(t)
		}
		return t, err
	}
	return plan.Run(ctx, space, told)
}

// WriteSettings writes what Tune found into the model's model.yaml, whose other lines stay as they are.
func (w *Workbench) WriteSettings(name string, c tune.Candidate) (string, error) {
	return w.write(name, fmt.Sprintf("instances: %d, threads: %d, batching: {max: %d}", c.Instances, c.Threads, c.MaxBatch), []config.Setting{
		{Path: "instances", Value: c.Instances}, {Path: "threads", Value: c.Threads}, {Path: "batching.max", Value: c.MaxBatch},
	})
}

// write sets settings in a model's model.yaml; words says them for a person.
func (w *Workbench) write(name, words string, list []config.Setting) (string, error) {
	src, err := w.models.Newest(name)
	if err != nil {
		return "", err
	}
	file := filepath.Join(src.Root, ownFile)
	raw, err := os.ReadFile(file)
	if err != nil && !os.IsNotExist(err) {
		return "", err
	}
	if other := foreignFile(src.Root); err != nil && other != "" { // a model.yaml would stand in its place
		return "", serval.Errorf(serval.Conflict, "the model's settings stand in %s, which Serval does not write; set %s there in its own words, or under models: in serval.yaml", other, words)
	}
	if raw, err = config.SetModel(raw, file, list); err != nil {
		return "", err
	}
	tmp := file + ".new"
	if err := os.WriteFile(tmp, raw, 0o644); err != nil {
		return "", err
	}
	return file, os.Rename(tmp, file)
}
