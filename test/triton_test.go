package test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"serval/internal/testkit"
)

// tritonModels are the artefacts of repositories/triton: where each stands, and which fixture it is. A model of repositories
// that is not here has none; one that is here and not there comes without a configuration.
var tritonModels = map[string]string{
	"credit/1/model.onnx":                      "engine/onnx/testdata/mlp.onnx",
	"credit/3/model.onnx":                      "engine/onnx/testdata/mlp.onnx",
	"alone/1/model.onnx":                       "engine/onnx/testdata/mlp.onnx",
	"labelled/1/model.onnx/model.onnx":         "engine/onnx/testdata/external.onnx",
	"labelled/1/model.onnx/external.weights":   "engine/onnx/testdata/external.weights",
	"reshaped/1/model.onnx":                    "engine/onnx/testdata/add_int32.onnx",
	"optional/1/model.onnx":                    "engine/onnx/testdata/optional.onnx",
	"scalar/1/model.onnx":                      "engine/onnx/testdata/scalar.onnx",
	"part/1/model.onnx":                        "engine/onnx/testdata/mlp.onnx",
	"words/1/model.onnx":                       "engine/onnx/testdata/concat.onnx",
	"named/1/first.onnx":                       "engine/onnx/testdata/scalar.onnx",
	"named/1/second.onnx":                      "engine/onnx/testdata/mlp.onnx",
	"urgent/1/model.onnx":                      "engine/onnx/testdata/mlp.onnx",
	"warmed/1/model.onnx":                      "engine/onnx/testdata/mlp.onnx",
	"bare/1/model.onnx":                        "engine/onnx/testdata/mlp.onnx",
	"simple_sequence/1/model.onnx":             "schedule/testdata/accumulate.onnx",
	"simple_dyna_sequence/1/model.onnx":        "schedule/testdata/controls.onnx",
	"simple_string_dyna_sequence/1/model.onnx": "schedule/testdata/named.onnx",
	"fil_proba/1/xgboost.json":                 "engine/tree/testdata/xgb_multi_softprob.json",
	"fil_class/1/model.txt":                    "engine/tree/testdata/lgb_binary.txt",
	"fil_value/1/xgboost.ubj":                  "engine/tree/testdata/xgb_reg_squarederror.ubj",
}

// tritonRepository lays a Triton repository out.
func tritonRepository(t *testing.T) string {
	t.Helper()
	root := filepath.Join(t.TempDir(), "repository")
	if err := os.CopyFS(root, os.DirFS(filepath.Join(testkit.Root(), "test", "repositories", "triton"))); err != nil {
		t.Fatal(err)
	}
	for to, from := range tritonModels {
		copyFile(t, filepath.Join(testkit.Root(), from), filepath.Join(root, to))
	}
	return root
}

// TestTritonRepository serves a repository that is laid out by NVIDIA's guides alone.
func TestTritonRepository(t *testing.T) {
	t.Parallel()
	root := tritonRepository(t)
	out, errs, code := testkit.Run(t.Context(), t, "config", "check", filepath.Join(root, "credit", "config.pbtxt"), filepath.Join(testkit.Root(), "wire", "triton", "testdata", "bad", "twice.pbtxt"))
	if code != 2 || !strings.Contains(out, "credit/config.pbtxt: ok") || !strings.Contains(out, "twice.pbtxt:4:1: max_batch_size: is given twice") {
		t.Errorf("config check: exit code %d\n%s%s", code, out, errs)
	}
	s := testkit.Serve(t, testkit.Options{Race: true, Models: root})
	pytestOn(t, s, root, "triton", "test_triton_repository.py")
	for _, want := range []string{"no effect"} {
		if strings.Contains(s.Log(), want) {
			t.Errorf("the log has %q", want)
		}
	}
}

// TestBadTritonModels serves configurations that cannot be honoured: each says which field, where it can the line, and why.
func TestBadTritonModels(t *testing.T) {
	t.Parallel()
	const io = `input { name: "x" data_type: TYPE_FP32 dims: 30 } output { name: "y" data_type: TYPE_FP32 dims: 1 }` + "\n"
	bad := map[string]struct{ config, want string }{
		"unknown-field":   {"max_batch_size: 4\nmax_batchsize: 4\n", "config.pbtxt:2:1: max_batchsize: unknown field"},
		"twice":           {"max_batch_size: 4\n" + io + "max_batch_size: 4\n", "config.pbtxt:3:1: max_batch_size: is given twice"},
		"other-name":      {"name: \"model\"\n", `name: is "model", the model's folder is "other-name"`},
		"unknown-backend": {"backend: \"nonsense\"\n", `backend "nonsense": engine not built in; there are`},
		"python":          {"backend: \"python\"\n", "backend python: engine not built in; served are onnxruntime"},
		"ensemble":        {"platform: \"ensemble\"\nensemble_scheduling { step { model_name: \"a\" } }\n", "ensemble_scheduling: pipelines come with a later version"},
		"dims":            {"max_batch_size: 4\n" + strings.Replace(io, "30", "31", 1), "input 'x' is declared as FP32 [-1,31], the model has FP32 [batch,30]"},
		"out-dims":        {"max_batch_size: 4\n" + strings.Replace(io, "dims: 1", "dims: [ 1, 1 ]", 1), "output 'y' is declared as FP32 [-1,1,1], the model has FP32 [batch,1]"},
		"batch-in-dims":   {"max_batch_size: 4\n" + strings.Replace(io, "30", "[ -1, 30 ]", 1), "input 'x' is declared as FP32 [-1,-1,30]"},
		"type":            {strings.Replace("max_batch_size: 4\n"+io, "TYPE_FP32 dims: 30", "TYPE_FP64 dims: 30", 1), "input 'x' is declared as FP64 [-1,30], the model has FP32 [batch,30]"},
		"wrong-input":     {strings.Replace("max_batch_size: 4\n"+io, `"x"`, `"X"`, 1), "input 'X' is declared, but the model has no input 'X'; it takes 'x' FP32 [batch,30]"},
		"wrong-output":    {strings.Replace("max_batch_size: 4\n"+io, `"y"`, `"Y"`, 1), "output 'Y' is declared, but the model has no output 'Y'"},
		"no-labels":       {strings.Replace("max_batch_size: 4\n"+io, "dims: 1 ", `dims: 1 label_filename: "labels.txt" `, 1), "labels.y"},
		"warmup":          {"max_batch_size: 4\n" + io + `model_warmup { name: "w" batch_size: 1 inputs { key: "x" value: { data_type: TYPE_FP32 dims: 31 zero_data: true } } }`, "warmup 'w' failed"},
		"warmup-file":     {"max_batch_size: 4\n" + io + `model_warmup { name: "w" batch_size: 1 inputs { key: "x" value: { data_type: TYPE_FP32 dims: 30 input_data_file: "row" } } }`, "warmup 'w': input 'x'"},
		"no-file":         {"default_model_filename: \"other.onnx\"\n", "other.onnx"},
		"cache":           {"response_cache { enable: true }\n", "response_cache: answers are not cached"},
		"custom-ops":      {"model_operations { op_library_filename: \"ops.so\" }\n", "engines.onnx.custom_ops"},
		"control":         {"max_batch_size: 4\nsequence_batching { control_input { name: \"START\" control { kind: CONTROL_SEQUENCE_START int32_false_true: [ 0, 1 ] } } }\n", "the model has no input 'START'"},
	}
	root := t.TempDir()
	for name, b := range bad {
		put(t, filepath.Join(root, name), "1", "mlp")
		write(t, filepath.Join(root, name, "config.pbtxt"), b.config)
	}
	put(t, filepath.Join(root, "no-batch"), "1", "scalar")
	write(t, filepath.Join(root, "no-batch", "config.pbtxt"), `max_batch_size: 4 input { name: "x" data_type: TYPE_FP32 dims: 1 } output { name: "y" data_type: TYPE_FP32 dims: 1 }`)
	bad["no-batch"] = struct{ config, want string }{"", "for batches its first dimension must be one that requests choose"}
	s := testkit.Serve(t, testkit.Options{Race: true, Models: root, Unset: true})
	s.Await("the end of loading", func() bool { return strings.Contains(s.Log(), "not ready: some models failed") })
	got := index(t, s)
	for name, b := range bad {
		m, ok := got[name+" 1"]
		if !ok {
			m, ok = got[name]
		}
		if !ok || m.State != "UNAVAILABLE" || !strings.Contains(m.Reason, b.want) {
			t.Errorf("%s: %+v, want %q", name, m, b.want)
		}
	}
	// A configuration that comes with the load stands in the place of the file.
	body, err := json.Marshal(map[string]any{"parameters": map[string]string{"config": `{"backend":"onnxruntime","max_batch_size":4}`}})
	if err != nil {
		t.Fatal(err)
	}
	ask(t, "POST", s.URL("/v2/repository/models/python/load"), string(body)).want(t, 200)
	if m := index(t, s)["python 1"]; m.State != "READY" {
		t.Errorf("python, loaded with another configuration: %+v", m)
	}
}
