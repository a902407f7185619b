package onnx_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/fstest"

	"serval"
	"serval/engine"
	"serval/engine/onnx"
)

func TestDetect(t *testing.T) {
	e := onnx.New(nil, onnx.Options{})
	file := &fstest.MapFile{Data: []byte{8}}
	for _, c := range []struct {
		files []string
		rank  engine.Rank
		words []string
	}{
		{[]string{"model.onnx"}, engine.Preferred, nil},
		{[]string{"net.onnx", "labels.txt"}, engine.Preferred, nil},
		{[]string{"model.onnx", "other.onnx"}, engine.Preferred, nil},
		{[]string{"a.onnx", "b.onnx"}, engine.NotMine, []string{"2 .onnx files (a.onnx, b.onnx)", "rename"}},
		{[]string{"model.gguf"}, engine.NotMine, []string{"no .onnx file"}},
		{[]string{"x.onnx/inner"}, engine.NotMine, []string{"no .onnx file"}},
	} {
		dir := fstest.MapFS{}
		for _, f := range c.files {
			dir[f] = file
		}
		rank, err := e.Detect(dir)
		if rank != c.rank || (err == nil) != (c.words == nil) {
			t.Errorf("%v: rank %d, %v", c.files, rank, err)
		}
		for _, w := range c.words {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%v: %q lacks %q", c.files, err, w)
			}
		}
	}
}

func TestSignature(t *testing.T) {
	for name, want := range map[string]serval.Signature{
		"mlp": {
			Inputs:  []serval.TensorInfo{{Name: "x", DType: serval.FP32, Shape: []int64{-1, 30}, Symbols: []string{"batch", ""}}},
			Outputs: []serval.TensorInfo{{Name: "y", DType: serval.FP32, Shape: []int64{-1, 1}, Symbols: []string{"batch", ""}}},
		},
		"optional": {
			Inputs: []serval.TensorInfo{{Name: "x", DType: serval.FP32, Shape: []int64{-1, 2}, Symbols: []string{"n", ""}},
				{Name: "bias", DType: serval.FP32, Shape: []int64{2}, Optional: true}},
			Outputs: []serval.TensorInfo{{Name: "y", DType: serval.FP32, Shape: []int64{-1, 2}, Symbols: []string{"n", ""}}, {Name: "constant", DType: serval.Int64, Shape: []int64{2}}},
		},
		"scalar": {
			Inputs:  []serval.TensorInfo{{Name: "x", DType: serval.FP32, Shape: []int64{}}},
			Outputs: []serval.TensorInfo{{Name: "y", DType: serval.FP32, Shape: []int64{}}},
		},
		"anyrank": {
			Inputs:  []serval.TensorInfo{{Name: "x", DType: serval.FP32}},
			Outputs: []serval.TensorInfo{{Name: "y", DType: serval.FP32}},
		},
		"sequence": {
			Inputs: []serval.TensorInfo{{Name: "a", DType: serval.FP32, Shape: []int64{-1, 2}, Symbols: []string{"", ""}},
				{Name: "b", DType: serval.FP32, Shape: []int64{-1, 2}, Symbols: []string{"", ""}}},
			Outputs: []serval.TensorInfo{{Name: "y", DType: serval.FP32, Shape: []int64{-1, -1, 2}, Symbols: []string{"", "", ""}}},
		},
		"zipmap_int": {
			Inputs: []serval.TensorInfo{{Name: "x", DType: serval.FP32, Shape: []int64{-1, 4}, Symbols: []string{"", ""}}},
			Outputs: []serval.TensorInfo{{Name: "label", DType: serval.Int64, Shape: []int64{-1}, Symbols: []string{""}},
				{Name: "probability", DType: serval.FP32, Shape: []int64{-1, -1}, Labels: []string{"-2", "3", "10"}}},
		},
	} {
		if got := open(t, name).Signature(); !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\n got %+v\nwant %+v", name, got, want)
		}
	}
}

func TestRefusedTypes(t *testing.T) {
	for name, words := range map[string][]string{
		"refused_optional": {"output 'y'", "optional type"},
		"refused_float8":   {"input 'x'", "float8e4m3fn"},
		"refused_sequence": {"input 'x'", "a sequence"},
		"refused_twice":    {"two outputs have the name 'y'"},
		"refused_unnamed":  {"input 1 has no name"},
		"refused_latin1":   {"the name of input 0 is not UTF-8", `gr\xf6\xdfe`},
	} {
		wantError(t, refused(t, folder(t, name+".onnx"), onnx.Options{}, serval.ModelSettings{}, engine.Device{}), serval.Unimplemented, words...)
	}
}

func TestOptions(t *testing.T) {
	dir := folder(t, "mlp.onnx")
	for _, c := range []struct {
		options  onnx.Options
		settings map[string]string
		device   engine.Device
		code     serval.Code
		words    []string
	}{
		{settings: map[string]string{"spin": "1"}, code: serval.InvalidArgument, words: []string{`no option "spin"`, "arena", "session.intra_op.allow_spinning"}},
		{settings: map[string]string{"session.optimized_model_filepath": "/etc/x"}, code: serval.InvalidArgument, words: []string{"no option"}},
		{settings: map[string]string{"arena": "maybe"}, code: serval.InvalidArgument, words: []string{"options.arena", "on or off"}},
		{settings: map[string]string{"graph_optimization": "most"}, code: serval.InvalidArgument, words: []string{"basic"}},
		{options: onnx.Options{GraphOptimization: "most"}, code: serval.InvalidArgument, words: []string{"engines.onnx.graph_optimization"}},
		{settings: map[string]string{"custom_ops": "ops.so"}, code: serval.PermissionDenied, words: []string{"ops.so", "engines.onnx.custom_ops: true"}},
		{options: onnx.Options{CustomOps: true}, settings: map[string]string{"custom_ops": "../ops.so"}, code: serval.InvalidArgument, words: []string{"leads out"}},
		{options: onnx.Options{CustomOps: true}, settings: map[string]string{"custom_ops": "ops.so"}, code: serval.InvalidArgument, words: []string{"missing"}},
		{options: onnx.Options{CustomOps: true}, settings: map[string]string{"custom_ops": "model.onnx"}, code: serval.InvalidArgument, words: []string{"custom operators"}},
		{settings: map[string]string{"provider.x": "1"}, code: serval.InvalidArgument, words: []string{"cpu"}},
		{device: engine.Device{Kind: "cuda", Index: 1}, code: serval.Unavailable, words: []string{`"cuda:1"`, "CUDAExecutionProvider", "it has", "CPUExecutionProvider", "onnxruntime-gpu"}},
		{device: engine.Device{Kind: "tensorrt"}, code: serval.Unavailable, words: []string{"TensorrtExecutionProvider"}},
		{device: engine.Device{Kind: "rocm"}, code: serval.Unavailable, words: []string{"MIGraphX"}},
		{device: engine.Device{Kind: "openvino"}, code: serval.Unavailable, words: []string{"OpenVINO"}},
		{device: engine.Device{Kind: "coreml"}, code: serval.Unavailable, words: []string{"CoreML"}},
		{device: engine.Device{Kind: "abacus"}, code: serval.InvalidArgument, words: []string{`"abacus"`, "coreml, cpu, cuda"}},
	} {
		wantError(t, refused(t, dir, c.options, serval.ModelSettings{Options: c.settings}, c.device), c.code, c.words...)
	}
	settings := serval.ModelSettings{Options: map[string]string{"arena": "off", "memory_pattern": "off", "graph_optimization": "basic", "session.set_denormal_as_zero": "1"}}
	m, err := onnx.New(libraries(t), onnx.Options{}).Open(context.Background(), engine.Spec{Name: "m", Dir: dir, Settings: settings, Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	execute(t, m.(engine.Batcher), fp32("x", []int64{2, 30}, make([]float32, 60)...))
}

func TestCorrupt(t *testing.T) {
	whole, err := os.ReadFile("testdata/mlp.onnx")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		data  []byte
		words []string
	}{
		"empty":     {nil, []string{"empty"}},
		"half":      {whole[:len(whole)/2], []string{"cut short or is still being copied"}},
		"last byte": {whole[:len(whole)-1], []string{"cut short"}},
		"text":      {[]byte("version https://git-lfs.github.com/spec/v1\n"), []string{"not an ONNX model"}},
		"zeros":     {make([]byte, 5000), []string{"not an ONNX model"}},
		"no graph":  {[]byte{8, 10}, []string{"no graph"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "model.onnx"), c.data, 0o644); err != nil {
				t.Fatal(err)
			}
			wantError(t, refused(t, dir, onnx.Options{}, serval.ModelSettings{}, engine.Device{}), serval.InvalidArgument, append(c.words, "model.onnx")...)
		})
	}
	// An intact file that ONNX Runtime refuses: the operator's name is changed.
	dir := t.TempDir()
	changed := []byte(strings.ReplaceAll(string(whole), "Sigmoid", "Sigmund"))
	if err := os.WriteFile(filepath.Join(dir, "model.onnx"), changed, 0o644); err != nil {
		t.Fatal(err)
	}
	wantError(t, refused(t, dir, onnx.Options{}, serval.ModelSettings{}, engine.Device{}), serval.InvalidArgument, "Sigmund")
}

func TestExternalData(t *testing.T) {
	whole, err := os.ReadFile("testdata/external.onnx")
	if err != nil {
		t.Fatal(err)
	}
	const name = "external.weights"
	at := func(location string) []byte { // of the same length
		return []byte(strings.ReplaceAll(string(whole), name, location))
	}
	weights, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	for label, c := range map[string]struct {
		model []byte
		make  func(dir string) error
		words []string
	}{
		"missing":      {whole, nil, []string{"tensor 'w0'", `"external.weights"`, "is missing"}},
		"absolute":     {at("/etc/../etc/pass"), nil, []string{"/etc/../etc/pass", "not a path inside"}},
		"parent":       {at("../../etc/passwd"), nil, []string{"../../etc/passwd", "leads out"}},
		"hidden":       {at("./a/../../passwd"), nil, []string{"leads out"}},
		"cut short":    {whole, func(dir string) error { return os.WriteFile(filepath.Join(dir, name), weights[:100], 0o644) }, []string{"bytes", "cut short"}},
		"folder":       {whole, func(dir string) error { return os.Mkdir(filepath.Join(dir, name), 0o755) }, []string{"not a regular file"}},
		"link outside": {whole, func(dir string) error { return os.Symlink("/etc/hostname", filepath.Join(dir, name)) }, []string{"link that leads out"}},
		"dead link":    {whole, func(dir string) error { return os.Symlink("nowhere", filepath.Join(dir, name)) }, []string{"link to nothing"}},
	} {
		t.Run(label, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "model.onnx"), c.model, 0o644); err != nil {
				t.Fatal(err)
			}
			if c.make != nil {
				if err := c.make(dir); err != nil {
					t.Fatal(err)
				}
			}
			wantError(t, refused(t, dir, onnx.Options{}, serval.ModelSettings{}, engine.Device{}), serval.InvalidArgument, c.words...)
		})
	}
}

// TestLinkedModel allows the artefact itself, and nothing else, to stand elsewhere; links inside the folder are fine, as
// Kubernetes mounts make them.
func TestLinkedModel(t *testing.T) {
	dir := t.TempDir()
	elsewhere, err := filepath.Abs("testdata/mlp.onnx")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(elsewhere, filepath.Join(dir, "model.onnx")); err != nil {
		t.Fatal(err)
	}
	inside := folder(t, "external.onnx", "external.weights")
	for _, step := range []error{
		os.Rename(filepath.Join(inside, "external.weights"), filepath.Join(inside, "data")),
		os.Symlink("data", filepath.Join(inside, "external.weights")),
	} {
		if step != nil {
			t.Fatal(step)
		}
	}
	for _, d := range []string{dir, inside} {
		m, err := onnx.New(libraries(t), onnx.Options{}).Open(context.Background(), engine.Spec{Name: "m", Dir: d, Threads: 1})
		if err != nil {
			t.Fatal(err)
		}
		m.Close()
	}
}

// found is an engine.Libraries that always gives one answer.
type found struct {
	path string
	err  error
}

func (f found) Find(string) (string, error) { return f.path, f.err }

func TestNoLibrary(t *testing.T) {
	spec := engine.Spec{Name: "m", Dir: folder(t, "mlp.onnx"), Threads: 1}
	missing := errors.New("run serval doctor")
	if _, err := onnx.New(found{err: missing}, onnx.Options{}).Open(context.Background(), spec); !errors.Is(err, missing) {
		t.Errorf("the error is %v", err)
	}
	for path, word := range map[string]string{"testdata/mlp.onnx": "cannot be opened", "libc.so.6": "is not ONNX Runtime"} {
		_, err := onnx.New(found{path: path}, onnx.Options{}).Open(context.Background(), spec)
		wantError(t, err, serval.Unavailable, path, word)
	}
}

func TestOpenCanceled(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := onnx.New(libraries(t), onnx.Options{}).Open(ctx, engine.Spec{Name: "m", Dir: folder(t, "mlp.onnx"), Threads: 1}); !errors.Is(err, context.Canceled) {
		t.Errorf("the error is %v", err)
	}
}
