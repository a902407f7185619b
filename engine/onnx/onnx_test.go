package onnx_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"serval"
	"serval/engine"
	"serval/engine/onnx"
	"serval/native"
)

// shared keeps what finds the library, which is fetched once.
var shared struct {
	once sync.Once
	libs engine.Libraries
	err  error
}

// libraries is the cache of the user that runs the tests; the library is fetched into it if need be.
func libraries(t testing.TB) engine.Libraries {
	t.Helper()
	shared.once.Do(func() {
		cache, err := os.UserCacheDir()
		if err != nil {
			shared.err = err
			return
		}
		store := native.New(native.Options{Cache: filepath.Join(cache, "serval"), Progress: os.Stderr})
		_, shared.err = store.Ensure(context.Background(), "onnxruntime")
		shared.libs = store
	})
	if shared.err != nil {
		t.Fatalf("ONNX Runtime: %v", shared.err)
	}
	return shared.libs
}

// folder makes a version folder that holds copies of files of testdata; the first becomes model.onnx.
func folder(t testing.TB, names ...string) string {
	t.Helper()
	dir := t.TempDir()
	for i, name := range names {
		data, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			name = "model.onnx"
		}
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// extra is what a model needs besides its .onnx file.
var extra = map[string][]string{"external": {"external.weights"}}

// open loads a model of testdata.
func open(t testing.TB, name string) engine.Batcher {
	t.Helper()
	dir := folder(t, append([]string{name + ".onnx"}, extra[name]...)...)
	model, err := onnx.New(libraries(t), onnx.Options{}).Open(context.Background(), engine.Spec{Name: name, Version: "1", Dir: dir, Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := model.Close(); err != nil {
			t.Error(err)
		}
	})
	return model.(engine.Batcher)
}

// refused opens a model that must not load and returns the error.
func refused(t *testing.T, dir string, o onnx.Options, settings serval.ModelSettings, device engine.Device) error {
	t.Helper()
	if device.Kind == "" {
		device.Kind = "cpu"
	}
	model, err := onnx.New(libraries(t), o).Open(context.Background(), engine.Spec{Name: "m", Dir: dir, Settings: settings, Device: device, Threads: 1})
	if err == nil {
		model.Close()
		t.Fatal("the model was loaded")
	}
	return err
}

type wireTensor struct {
	Name     string   `json:"name"`
	Datatype string   `json:"datatype"`
	Shape    []int64  `json:"shape"`
	Data     string   `json:"data"`
	Labels   []string `json:"labels"`
}

func (w wireTensor) tensor(t testing.TB) serval.Tensor {
	t.Helper()
	d, ok := serval.ParseDType(w.Datatype)
	data, err := base64.StdEncoding.DecodeString(w.Data)
	if !ok || err != nil {
		t.Fatalf("expected.json: %s: %v", w.Name, err)
	}
	return serval.Tensor{Name: w.Name, DType: d, Shape: w.Shape, Data: data, Labels: w.Labels}
}

type wireCase struct {
	Model   string       `json:"model"`
	Note    string       `json:"note"`
	Inputs  []wireTensor `json:"inputs"`
	Outputs []wireTensor `json:"outputs"`
}

func cases(t testing.TB) []wireCase {
	t.Helper()
	data, err := os.ReadFile("testdata/expected.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Cases []wireCase `json:"cases"`
	}
	if err := json.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	return file.Cases
}

// call makes a Call with the given inputs in the signature's order.
func call(m engine.Model, inputs ...serval.Tensor) *engine.Call {
	signature := m.Signature()
	c := &engine.Call{Inputs: make([]serval.Tensor, len(signature.Inputs)), Rows: 1}
	for _, in := range inputs {
		c.Inputs[signature.Input(in.Name)] = in
		c.Rows = in.Rows()
	}
	return c
}

// execute runs one call and returns its outputs.
func execute(t testing.TB, m engine.Batcher, inputs ...serval.Tensor) []serval.Tensor {
	t.Helper()
	c := call(m, inputs...)
	if err := m.Execute(context.Background(), []*engine.Call{c}); err != nil {
		t.Fatal(err)
	}
	if c.Err != nil {
		t.Fatal(c.Err)
	}
	return c.Outputs
}

// same fails where two tensors differ; floats may differ by a few units in the last place.
func same(t testing.TB, got, want serval.Tensor) {
	t.Helper()
	if got.Name != want.Name || got.DType != want.DType || !slices.Equal(got.Shape, want.Shape) {
		t.Fatalf("output is '%s' %s %s, Python says '%s' %s %s", got.Name, got.DType, serval.ShapeString(got.Shape), want.Name, want.DType, serval.ShapeString(want.Shape))
	}
	if want.Labels != nil && !slices.Equal(got.Labels, want.Labels) {
		t.Errorf("output '%s' has the labels %q, Python says %q", got.Name, got.Labels, want.Labels)
	}
	if len(got.Data) != len(want.Data) {
		t.Fatalf("output '%s' holds %d bytes, Python's %d", got.Name, len(got.Data), len(want.Data))
	}
	if want.DType == serval.FP32 {
		a, b := floats(got.Data), floats(want.Data)
		for i := range a {
			if x, y := float64(a[i]), float64(b[i]); x != y && !(math.IsNaN(x) && math.IsNaN(y)) && !(math.Abs(x-y) <= 1e-5*math.Max(1, math.Abs(y))) {
				t.Errorf("output '%s' element %d is %v, Python says %v", got.Name, i, x, y)
			}
		}
		return
	}
	if string(got.Data) != string(want.Data) {
		t.Errorf("output '%s' is %x, Python says %x", got.Name, got.Data, want.Data)
	}
}

// TestLikePython compares every answer with that of ONNX Runtime's own Python binding (testdata/make.py).
func TestLikePython(t *testing.T) {
	for _, c := range cases(t) {
		t.Run(c.Model+" "+c.Note, func(t *testing.T) {
			m := open(t, c.Model)
			var inputs []serval.Tensor
			for _, in := range c.Inputs {
				inputs = append(inputs, in.tensor(t))
			}
			for range 3 { // the buffers are used again
				got := execute(t, m, inputs...)
				if len(got) != len(c.Outputs) {
					t.Fatalf("%d outputs, Python gives %d", len(got), len(c.Outputs))
				}
				for i := range got {
					same(t, got[i], c.Outputs[i].tensor(t))
				}
			}
		})
	}
}
