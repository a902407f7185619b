package triton

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"

	"serval"
	"serval/wire/inference"
)

var update = flag.Bool("update", false, "write the golden files anew")

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs; got:\n%s\nwant:\n%s", file, got, want)
	}
}

func read(t *testing.T, file string) (*inference.ModelConfig, serval.ModelSettings, error) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	c, err := ReadText(data, FileName)
	if err != nil {
		return nil, serval.ModelSettings{}, err
	}
	s, err := Settings(c, FileName)
	return c, s, err
}

// shown is what a settings' golden file holds: the fields that are set.
func shown(t *testing.T, s serval.ModelSettings) string {
	t.Helper()
	s.Declared = nil
	raw, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatal(err)
	}
	raw, err = json.MarshalIndent(without(v), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return string(raw) + "\n"
}

// without leaves out what is not set.
func without(v any) any {
	if list, ok := v.([]any); ok {
		for i := range list {
			list[i] = without(list[i])
		}
	}
	m, ok := v.(map[string]any)
	if !ok {
		return v
	}
	for k, e := range m {
		switch e := without(e).(type) {
		case nil, bool, float64, string:
			if e == nil || e == false || e == 0.0 || e == "" {
				delete(m, k)
			}
		case map[string]any:
			if len(e) == 0 {
				delete(m, k)
			}
		}
	}
	return m
}

func TestGood(t *testing.T) {
	files, _ := filepath.Glob("testdata/good/*.pbtxt")
	if len(files) < 7 {
		t.Fatal("where are the files?")
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			c, s, err := read(t, file)
			if err != nil {
				t.Fatal(err)
			}
			golden(t, strings.TrimSuffix(file, "pbtxt")+"json", shown(t, s))
			var back inference.ModelConfig
			if err := proto.Unmarshal(s.Declared, &back); err != nil || !proto.Equal(c, &back) {
				t.Errorf("the declared configuration came back as\n%s\n%v", prototext.Format(&back), err)
			}
		})
	}
}

func TestBad(t *testing.T) {
	files, _ := filepath.Glob("testdata/bad/*.pbtxt")
	if len(files) < 20 {
		t.Fatal("where are the files?")
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			_, _, err := read(t, file)
			if err == nil {
				t.Fatal("no error")
			}
			golden(t, strings.TrimSuffix(file, "pbtxt")+"want", err.Error()+"\n")
		})
	}
}

func TestReadJSON(t *testing.T) {
	c, err := ReadJSON(`{"max_batch_size":"16","parameters":{},"dynamic_batching":{},"metric_tags":{},"platform":"","input":[],"response_cache":null}`)
	if err != nil || c.MaxBatchSize != 16 || c.GetDynamicBatching() == nil {
		t.Errorf("%v, %v", c, err)
	}
	for text, want := range map[string]string{
		``:                              "not a JSON object",
		`[]`:                            "not a JSON object",
		`null`:                          "not a JSON object",
		`{"max_batch_size":"many"}`:     "not a model configuration",
		`{"nonsense":1}`:                "nonsense",
		`{"name":"a","name":"b"}`:       "not a model configuration",
		strings.Repeat(`{"a":`, 100000): "not a JSON object",
		strings.Repeat(" ", maxFile+1):  "at most",
	} {
		if _, err := ReadJSON(text); err == nil || !strings.Contains(err.Error(), want) || serval.AsError(err).Code != serval.InvalidArgument {
			t.Errorf("%.40s: %v, want %q", text, err, want)
		}
	}
}

// FuzzReadText: whatever is in a config.pbtxt, it is read or refused with a place, and what is read is settings or an error.
func FuzzReadText(f *testing.F) {
	for _, pattern := range []string{"testdata/good/*.pbtxt", "testdata/bad/*.pbtxt"} {
		files, _ := filepath.Glob(pattern)
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := ReadText(data, "f")
		if err != nil {
			if !strings.HasPrefix(err.Error(), "f:") {
				t.Fatalf("no place: %v", err)
			}
			return
		}
		s, err := Settings(c, "f")
		if err != nil {
			if serval.AsError(err).Code != serval.InvalidArgument {
				t.Fatal(err)
			}
			return
		}
		info := serval.ModelInfo{Name: "m", Engine: "onnx", Settings: s, Signature: serval.Signature{
			Inputs: []serval.TensorInfo{{Name: "x", DType: serval.FP32, Shape: []int64{-1}}}, Outputs: []serval.TensorInfo{{Name: "y"}}}}
		info.Settings = Fill(info.Settings, info.Signature)
		if Complete(info) == nil && len(s.Declared) > 0 {
			t.Fatal("what was declared cannot be shown")
		}
		Parameters(s.Declared)
	})
}

// docs/triton.md says of every field what becomes of it.
func TestEveryFieldIsDocumented(t *testing.T) {
	raw, err := os.ReadFile("../../docs/triton.md")
	if err != nil {
		t.Fatal(err)
	}
	fields := (&inference.ModelConfig{}).ProtoReflect().Descriptor().Fields()
	for i := range fields.Len() {
		if name := string(fields.Get(i).Name()); !strings.Contains(string(raw), "`"+name+"`") {
			t.Errorf("%s is not in docs/triton.md", name)
		}
	}
}

// Where the configuration leaves the tensors to the artefact, a row of one value is [1] to clients, as at Triton.
func TestFill(t *testing.T) {
	sig := serval.Signature{
		Inputs:  []serval.TensorInfo{{Name: "a", DType: serval.FP32, Shape: []int64{-1}}, {Name: "b", DType: serval.Bytes, Shape: []int64{-1, 3}, Optional: true}},
		Outputs: []serval.TensorInfo{{Name: "y", DType: serval.Int64, Shape: []int64{-1}}},
	}
	c, err := ReadJSON(`{"max_batch_size":4}`)
	if err != nil {
		t.Fatal(err)
	}
	s, err := Settings(c, "config")
	if err != nil {
		t.Fatal(err)
	}
	s = Fill(s, sig)
	golden(t, "testdata/fill.json", shown(t, s))
	info := serval.ModelInfo{Name: "m", Engine: "onnx", Settings: s, Batching: serval.Batching{On: true}, Signature: serval.Signature{
		Inputs:  []serval.TensorInfo{{Name: "a", DType: serval.FP32, Shape: []int64{-1, 1}}, {Name: "b", DType: serval.Bytes, Shape: []int64{-1, 3}, Optional: true}},
		Outputs: []serval.TensorInfo{{Name: "y", DType: serval.Int64, Shape: []int64{-1, 1}}}}}
	var want inference.ModelConfig
	if err := prototext.Unmarshal([]byte(`
		name: "m" backend: "onnxruntime" platform: "onnxruntime_onnx" default_model_filename: "model.onnx" max_batch_size: 4
		version_policy { latest { num_versions: 1 } }
		input { name: "a" data_type: TYPE_FP32 dims: 1 reshape { } }
		input { name: "b" data_type: TYPE_STRING dims: 3 optional: true }
		output { name: "y" data_type: TYPE_INT64 dims: 1 reshape { } }
		dynamic_batching { preferred_batch_size: 4 }
		instance_group { name: "m" kind: KIND_CPU count: 1 }
		optimization { input_pinned_memory { enable: true } output_pinned_memory { enable: true } }`), &want); err != nil {
		t.Fatal(err)
	}
	if got := Complete(info); !proto.Equal(got, &want) {
		t.Errorf("shown as\n%s\nwant\n%s", prototext.Format(got), prototext.Format(&want))
	}
}
