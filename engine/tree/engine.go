package tree

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"

	"serval"
	"serval/engine"
)

// Engine loads models of XGBoost, LightGBM and CatBoost. It has no state.
type Engine struct{}

// New returns the engine.
func New() *Engine { return &Engine{} }

// Name is the word for it in model.yaml.
func (*Engine) Name() string { return "tree" }

// Platform is the Open Inference Protocol's name.
func (*Engine) Platform() string { return "serval_tree" }

// Detect wants one file whose content is a model of one of the three libraries.
func (*Engine) Detect(dir fs.FS) (engine.Rank, error) {
	if _, _, err := artefact(dir); err != nil {
		return engine.NotMine, err
	}
	return engine.Preferred, nil
}

// Open loads the folder's model. It returns an engine.Batcher that is an engine.Sharer too.
func (*Engine) Open(ctx context.Context, spec engine.Spec) (engine.Model, error) {
	name, kind, err := chosen(os.DirFS(spec.Dir), spec.Settings.File)
	if err != nil {
		return nil, serval.Errorf(serval.InvalidArgument, "model '%s': %w", spec.Name, err)
	}
	if spec.Device.Kind != "" && spec.Device.Kind != "cpu" {
		return nil, serval.Errorf(serval.InvalidArgument, "model '%s': the tree engine runs on the CPU, device is %q", spec.Name, spec.Device).At("device")
	}
	c, err := readOptions(spec)
	if err != nil {
		return nil, err
	}
	data, err := os.ReadFile(filepath.Join(spec.Dir, name))
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	e, err := parse(kind, data)
	if err != nil {
		return nil, serval.Errorf(serval.InvalidArgument, "model '%s': %s: %w", spec.Name, name, err)
	}
	m, err := newModel(e, c)
	if err != nil {
		return nil, serval.Errorf(serval.InvalidArgument, "model '%s': %s: %w", spec.Name, name, err)
	}
	return newInstance(m, spec.Threads), nil
}

// parse reads a file of a known format.
func parse(kind format, data []byte) (*ensemble, error) {
	switch kind {
	case xgbUBJ:
		return readXGBoost(newUBJ(data))
	case lightText:
		return readLightGBM(data)
	case catJSON:
		return readCatBoost(data)
	}
	return readXGBoost(newJSON(data))
}
