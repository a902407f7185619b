package triton

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"serval"
)

// What the fil backend calls its tensors.
const filOutput = "output__0"

// treeOwn are the tree engine's own options.
var treeOwn = []string{"input", "output", "output_type", "iterations", "missing"}

// tree reads the parameters of the fil backend: which library the file comes from, and whether clients get values, each
// class's probability, or the class. Those that change how fast fil is, and not what it answers, are let pass: algo, layout,
// storage_type, chunk_size, blocks_per_sm, threads_per_tree, transfer_threshold.
func (r *reader) tree() {
	p := map[string]string{}
	for name, v := range r.c.Parameters {
		p[name] = v.GetStringValue()
	}
	classifier := r.flag(p, "is_classifier") || r.flag(p, "output_class") // the second is the older name
	proba := r.flag(p, "predict_proba")
	for _, name := range slices.Sorted(maps.Keys(p)) {
		v := p[name]
		switch {
		case name == "model_type":
			r.modelType(v)
		case name == "threshold":
			n, err := strconv.ParseFloat(v, 64)
			if err != nil || n != n {
				r.fail("parameters.threshold", "%q must be a number", v)
			}
		case slices.Contains(treeOwn, name):
			r.option(name, v)
		}
	}
	if r.onGPU() {
		r.note("instance_group", "asks for a GPU; trees are computed on the CPU here")
	}
	r.s.Device = ""
	out := slices.IndexFunc(r.s.Outputs, func(t serval.TensorSettings) bool { return t.Name == filOutput })
	switch {
	case !classifier: // the value, as the model's objective transforms it
	case proba:
		// A model of two classes has one column or two, as dims say.
		if out < 0 || !slices.Equal(r.s.Outputs[out].Shape, []int64{-1, 1}) {
			r.option("output", "probability")
		}
	default:
		r.option("output", "probability")
		class := serval.TensorSettings{Name: filOutput, Datatype: "FP32", Class: true, Shape: []int64{-1, 1}}
		if n, err := strconv.ParseFloat(p["threshold"], 64); err == nil {
			class.Threshold = n
		}
		if out >= 0 {
			r.s.Outputs[out] = class
		} else {
			r.s.Outputs = append(r.s.Outputs, class)
		}
	}
}

// flag reads a parameter that is true or false.
func (r *reader) flag(p map[string]string, name string) bool {
	switch v := strings.ToLower(p[name]); v {
	case "true", "1":
		return true
	case "", "false", "0":
	default:
		r.fail("parameters."+name, "%q must be true or false", p[name])
	}
	return false
}

// modelType refuses what the tree engine does not read. What it reads, it tells apart by the file's content.
func (r *reader) modelType(v string) {
	const at = "parameters.model_type"
	switch v {
	case "xgboost_json", "xgboost_ubj", "lightgbm":
	case "xgboost":
		r.fail(at, `"xgboost" is XGBoost's old binary format, which is not read; load it with XGBoost, save it with save_model("xgboost.ubj"), and write xgboost_ubj`)
	case "treelite_checkpoint":
		r.fail(at, "Treelite's checkpoints are not read; serve the file that XGBoost or LightGBM saved")
	default:
		r.fail(at, "%s; use xgboost_json, xgboost_ubj or lightgbm", fmt.Sprintf("%q is not known", v))
	}
}
