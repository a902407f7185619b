package starter

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"serval"
	"serval/client"
	"serval/client/input"
	"serval/client/output"
	"serval/engine"
	"serval/engine/onnx"
	"serval/native"
	"serval/schedule"
	"serval/task/predict"
)

// store keeps the packages between test runs.
func store(t *testing.T) *native.Store {
	t.Helper()
	user, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	return native.New(native.Options{Cache: filepath.Join(user, "serval"), Progress: os.Stderr})
}

func TestInstall(t *testing.T) {
	ctx, s, models := t.Context(), store(t), filepath.Join(t.TempDir(), "new", "models")
	var told strings.Builder
	first, err := Install(ctx, s, models, func(i Installed) { told.WriteString(i.String() + "\n") })
	if err != nil {
		t.Fatal(err)
	}
	if lines := strings.Count(told.String(), " Try: "); lines != len(Models()) || len(first) != lines {
		t.Errorf("%d returned, told:\n%s", len(first), told.String())
	}
	for _, m := range first {
		if !m.Fresh {
			t.Errorf("%s: not fresh", m.Name)
		}
		if _, err := os.Stat(m.Example); err != nil {
			t.Error(err)
		}
	}
	left, err := filepath.Glob(filepath.Join(models, ".*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}

	edited := filepath.Join(models, "credit", "model.yaml")
	if err := os.WriteFile(edited, []byte("instances: 1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	again, err := Install(ctx, s, models, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range again {
		if m.Fresh {
			t.Errorf("%s was laid out twice", m.Name)
		}
	}
	if data, _ := os.ReadFile(edited); string(data) != "instances: 1\n" {
		t.Error("a user's model.yaml was overwritten")
	}

	if err := os.Truncate(filepath.Join(models, "ocr", "1", "model.onnx"), 1000); err != nil {
		t.Fatal(err)
	}
	some, err := Install(ctx, s, models, nil)
	if e := serval.AsError(err); e == nil || e.Code != serval.Conflict || !strings.Contains(e.Message, "1/model.onnx differs from the starter model ocr") || len(some) != 2 {
		t.Errorf("a damaged model: %d, %v", len(some), err)
	}
}

// failing is a Fetcher that gives a folder without the files, or an error.
type failing struct {
	dir string
	err error
}

func (f failing) Fetch(context.Context, native.Package) (string, error) { return f.dir, f.err }

func TestInstallLeavesNothingHalfDone(t *testing.T) {
	wrong := t.TempDir()
	for _, m := range Models() {
		for _, f := range m.files {
			if f.from == "" {
				continue
			}
			path := filepath.Join(wrong, f.from)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte("{}"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	offline := errors.New("no network")
	for _, f := range []failing{{err: offline}, {dir: t.TempDir()}, {dir: wrong}} {
		models := t.TempDir()
		if _, err := Install(t.Context(), f, models, nil); err == nil || f.err != nil && !errors.Is(err, offline) {
			t.Errorf("%+v: %v", f, err)
		}
		if left, err := os.ReadDir(models); err != nil || len(left) > 0 {
			t.Errorf("%+v left %v behind (%v)", f, left, err)
		}
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	m := credit()
	if _, err := m.install(gone, failing{}, t.TempDir()); serval.AsError(err).Code != serval.Canceled {
		t.Errorf("cancelled: %v", err)
	}
}

// TestRightAnswers runs every model on its example, through the recipe, the tensors and ONNX Runtime. The answers were made
// in Python: the magika package's own for mystery, ONNX Runtime with Pillow and the dictionary for line.png (which shows that
// text), ONNX Runtime on the raw columns for the applicants, silero-vad's own get_speech_timestamps for speech.wav.
func TestRightAnswers(t *testing.T) {
	s := store(t)
	if _, err := s.Ensure(t.Context(), "onnxruntime"); err != nil {
		t.Fatal(err)
	}
	models, err := Install(t.Context(), s, t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][][]any{
		"file-types": {{"rust", 0.99998}},
		"ocr":        {{"Serval reads this line: 42 cats, 7 dogs.", 0.9961}},
		"credit":     {{"Ada", "good", 0.01662}, {"Ben", "bad", 0.92313}, {"Cleo", "good", 0.44052}, {"Dov", "good", 0.03432}, {"Eve", "bad", 0.61674}},
		"vad":        {{0.514, 1.598}, {2.466, 3.838}},
	}
	for _, m := range models {
		if m.Name == "chat" { // test/ asks it, with the field's clients
			continue
		}
		t.Run(m.Name, func(t *testing.T) {
			got := answer(t, s, m)
			if len(got.Rows) < len(want[m.Name]) || m.Name != "file-types" && len(got.Rows) > len(want[m.Name]) {
				t.Fatalf("%d rows, want %d", len(got.Rows), len(want[m.Name]))
			}
			for i, row := range want[m.Name] { // the runners-up of file-types are no part of the answer
				for j, cell := range row {
					if f, ok := cell.(float64); ok {
						if have, ok := number(got.Rows[i][j]); !ok || math.Abs(have-f) > 1e-3 {
							t.Errorf("row %d, %s is %v, want %v", i, got.Columns[j], got.Rows[i][j], f)
						}
					} else if got.Rows[i][j] != cell {
						t.Errorf("row %d, %s is %v, want %v", i, got.Columns[j], got.Rows[i][j], cell)
					}
				}
			}
		})
	}
}

func number(cell any) (float64, bool) {
	switch v := cell.(type) {
	case float32:
		return float64(v), true
	case float64:
		return v, true
	}
	return 0, false
}

// settings reads a model.yaml as strictly as the server does, and its recipe with the lists in place.
func settings(t *testing.T, folder fs.FS) (s serval.ModelSettings) {
	t.Helper()
	data, err := fs.ReadFile(folder, "model.yaml")
	if err != nil {
		t.Fatal(err)
	}
	d := yaml.NewDecoder(bytes.NewReader(data))
	d.KnownFields(true)
	if err := d.Decode(&s); err != nil {
		t.Fatal(err)
	}
	if s.Recipe, err = s.Recipe.Inline(folder, s.Labels); err != nil {
		t.Fatal(err)
	}
	return s
}

// answer is the answer for the model's example.
func answer(t *testing.T, libs engine.Libraries, m Installed) *output.Table {
	t.Helper()
	set := settings(t, os.DirFS(m.Dir))
	model, err := schedule.Open(t.Context(), onnx.New(libs, onnx.Options{}), engine.Spec{
		Name: m.Name, Version: "1", Dir: filepath.Join(m.Dir, "1"), Settings: set, Device: engine.Device{Kind: "cpu"}}, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer model.Loaded.Close()
	in, err := input.ReadFile(m.Example, input.Model{Signature: model.Signature, Recipe: set.Recipe})
	if err != nil {
		t.Fatal(err)
	}
	requests := [][]serval.Tensor{in.Tensors}
	if in.Sequence {
		if !model.Loaded.Batching().On {
			t.Errorf("streams do not share batches: %s", model.Loaded.Batching().Reason)
		}
		requests = client.Batches(in.Tensors, 1)
	}
	h := predict.New(m.Name, "1", model.Signature, model.Loaded.Batching().On, model.Loaded)
	var parts [][]serval.Tensor
	for i, list := range requests {
		req := &serval.Request{Input: &serval.Tensors{List: list}}
		if in.Sequence {
			req.Sequence = serval.Sequence{ID: "1", Start: i == 0, End: i == len(requests)-1}
		}
		if err := h.Handle(t.Context(), req, serval.SinkFunc(func(c *serval.Chunk) error {
			part, err := client.Join([][]serval.Tensor{c.Output.(*serval.Tensors).List}) // a copy
			parts = append(parts, part)
			return err
		})); err != nil {
			t.Fatal(err)
		}
	}
	outputs, err := client.Join(parts)
	if err != nil {
		t.Fatal(err)
	}
	table, err := output.Answer(outputs, set.Recipe, in.Length)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range in.Extra {
		table.Carry(c.Name, c.Texts)
	}
	return table
}
