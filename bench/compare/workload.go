package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"

	"serval"
	"serval/bench/load"
)

// workload is a model, the requests for it and who serves it besides Serval.
type workload struct {
	name  string // of the model, at every server
	title string // what the table says of it
	// section names the part of the Markdown file that -write replaces.
	section string
	setup   []string // a command that prepares what follows; may be empty
	model   string   // the file that Serval loads, as a version folder holds it
	peers   []peer
	rows    func() ([]serval.Tensor, error) // requests of one input each, sent in turns
}

// peer is a server to compare with; run is followed by its two ports after the first word.
type peer struct {
	key, name  string
	setup, run []string
}

// workloads are what -workload may name.
func workloads() []workload {
	cache := cacheFolder()
	return []workload{
		{
			name: "mlp", title: "one row of 30 features a request", section: "bench/compare", model: "bench/mlp/model.onnx",
			rows: func() ([]serval.Tensor, error) {
				signature := serval.Signature{Inputs: []serval.TensorInfo{{Name: "x", DType: serval.FP32, Shape: []int64{-1, 30}}}}
				return load.Tensors(signature, load.Sample{Rows: 1, Seed: 1})
			},
			peers: []peer{
				{"triton", "Triton, Python backend", []string{"bench/peers/setup.sh", "triton"}, []string{"bench/peers/triton.sh"}},
				{"triton-c", "Triton, C backend", []string{"bench/triton_c/build.sh"}, []string{"bench/peers/triton.sh", "c"}},
				{"mlserver", "MLServer", []string{"bench/peers/setup.sh", "mlserver"}, []string{"bench/peers/mlserver.sh"}},
			},
		},
		treeWorkload("trees", "XGBoost, 1,000 trees of depth 10", filepath.Join(cache, "trees", "flights-xgboost")),
		treeWorkload("trees-small", "XGBoost, 300 trees of depth 6", filepath.Join(cache, "trees", "flights-xgboost-small")),
	}
}

// treeWorkload is a model of bench/trees/train.py, which MLServer runs with XGBoost itself.
func treeWorkload(name, what, folder string) workload {
	const rows = 64
	model := filepath.Join(folder, "model.ubj")
	return workload{
		name: name, title: fmt.Sprintf("%s; one row a request, %d rows in turns", what, rows), section: "bench/compare " + name,
		setup: []string{"bench/trees/setup.sh"}, model: model,
		rows: func() ([]serval.Tensor, error) { return treeRows(folder, rows) },
		peers: []peer{
			{"mlserver", "MLServer", []string{"bench/peers/setup.sh", "mlserver-trees"}, []string{"bench/peers/mlserver-trees.sh", name, model}},
		},
	}
}

// cacheFolder is where bench's scripts keep peers and models.
func cacheFolder() string {
	if dir := os.Getenv("XDG_CACHE_HOME"); dir != "" {
		return filepath.Join(dir, "serval-bench")
	}
	home, err := os.UserHomeDir()
	if err != nil {
		home = "."
	}
	return filepath.Join(home, ".cache", "serval-bench")
}

// treeRows are the first n rows of bench/trees/train.py without missing values, which MLServer's JSON cannot carry.
func treeRows(folder string, n int) ([]serval.Tensor, error) {
	raw, err := os.ReadFile(filepath.Join(folder, "rows.f32"))
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(filepath.Join(folder, "meta.json"))
	if err != nil {
		return nil, err
	}
	var meta struct{ Features int64 }
	if err := json.Unmarshal(text, &meta); err != nil {
		return nil, fmt.Errorf("%s: %w", folder, err)
	}
	width := int(meta.Features) * 4
	var list []serval.Tensor
	for ; len(raw) >= width && len(list) < n; raw = raw[width:] {
		t := serval.Tensor{Name: "input__0", DType: serval.FP32, Shape: []int64{1, meta.Features}, Data: raw[:width]}
		if !missing(&t) {
			list = append(list, t)
		}
	}
	if len(list) < n {
		return nil, fmt.Errorf("%s: %d rows without missing values, want %d", folder, len(list), n)
	}
	return list, nil
}

func missing(t *serval.Tensor) bool {
	for i := 0; i < len(t.Data); i += 4 {
		bits := uint32(t.Data[i]) | uint32(t.Data[i+1])<<8 | uint32(t.Data[i+2])<<16 | uint32(t.Data[i+3])<<24
		if v := float64(math.Float32frombits(bits)); math.IsNaN(v) || math.IsInf(v, 0) {
			return true
		}
	}
	return false
}

// payloads writes the requests in a format.
func (w *workload) payloads(format load.Format) ([]load.Payload, error) {
	rows, err := w.rows()
	if err != nil {
		return nil, err
	}
	var list []load.Payload
	for _, row := range rows {
		p, err := load.Body(format, serval.Ref{Name: w.name}, []serval.Tensor{row})
		if err != nil {
			return nil, err
		}
		list = append(list, p)
	}
	return list, nil
}

// prepare runs the workload's setup.
func (w *workload) prepare(ctx context.Context) error {
	if len(w.setup) == 0 {
		return nil
	}
	return setup(ctx, w.setup...)
}
