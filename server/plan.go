package server

import (
	"errors"
	"os"
	"path/filepath"

	"serval"
	"serval/engine"
)

// Plan says what a model will take in memory before it is loaded: a model of the configuration by its name, or one that stands
// at a path, a file or a version folder.
func (w *Workbench) Plan(model string) (*engine.Plan, error) {
	if info, err := os.Stat(model); err == nil {
		return w.planPath(model, info.IsDir())
	}
	eng, spec, err := w.find(model)
	if err != nil {
		return nil, err
	}
	planner, ok := eng.(engine.Planner)
	if !ok {
		return nil, serval.Errorf(serval.Unimplemented, "model '%s' is loaded by engine %s, which cannot say before a load what a model takes", model, eng.Name()).At("model")
	}
	return planner.Plan(spec)
}

func (w *Workbench) planPath(path string, folder bool) (*engine.Plan, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	spec := engine.Spec{Name: filepath.Base(path), Dir: path}
	if !folder {
		spec.Dir, spec.Settings.File = filepath.Dir(path), filepath.Base(path)
	}
	var failed []error
	for _, eng := range w.loader.engines {
		planner, ok := eng.(engine.Planner)
		if !ok {
			continue
		}
		if folder {
			if rank, err := eng.Detect(os.DirFS(path)); rank == engine.NotMine {
				failed = append(failed, err)
				continue
			}
		}
		if claimed, ok := engine.Claimed(w.loader.engines, eng, spec.Dir, &spec.Settings).(engine.Planner); ok {
			planner = claimed
		}
		return planner.Plan(spec)
	}
	return nil, serval.Errorf(serval.InvalidArgument, "%s: no engine can say what it takes: %w", path, errors.Join(failed...)).At("model")
}
