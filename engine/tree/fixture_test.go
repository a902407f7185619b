package tree

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"serval"
	"serval/engine"
)

// packed is an array as testdata/want.py writes it.
type packed struct {
	DType   string
	Columns int
	Data    string
}

// wanted is what a library answers for a fixture.
type wanted struct {
	Rows       int
	X          packed
	Categories [][]string
	Options    map[string]string
	Model      string
	Labels     []string
	Outputs    map[string]packed
}

func readWant(t testing.TB, name string) wanted {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", name+".want"))
	if err != nil {
		t.Fatal(err)
	}
	var w wanted
	if err := json.Unmarshal(raw, &w); err != nil {
		t.Fatal(err)
	}
	if w.Model == "" {
		w.Model = name
	}
	return w
}

// fixtures are the names of the fixtures with this prefix.
func fixtures(t testing.TB, prefix string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join("testdata", prefix+"*.want"))
	if err != nil || len(found) == 0 {
		t.Fatalf("no fixtures %s: %v", prefix, err)
	}
	for i := range found {
		found[i] = strings.TrimSuffix(filepath.Base(found[i]), ".want")
	}
	return found
}

// folder makes a version folder with the fixture's model.
func folder(t testing.TB, name string) string {
	t.Helper()
	dir := t.TempDir()
	for _, ext := range []string{".json", ".ubj", ".txt"} {
		raw, err := os.ReadFile(filepath.Join("testdata", name+ext))
		if err != nil {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, "model"+ext), raw, 0o600); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	t.Fatalf("no model %s", name)
	return ""
}

func open(t testing.TB, dir string, options map[string]string, threads int) engine.Batcher {
	t.Helper()
	m, err := New().Open(context.Background(), engine.Spec{Name: "m", Version: "1", Dir: dir, Threads: threads, Settings: serval.ModelSettings{Options: options}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	return m.(engine.Batcher)
}

func (p packed) bytes(t testing.TB) []byte {
	t.Helper()
	b, err := base64.StdEncoding.DecodeString(p.Data)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// numbers reads any of the types that fixtures have.
func numbers(t testing.TB, dtype string, b []byte) []float64 {
	t.Helper()
	var out []float64
	for len(b) > 0 {
		switch dtype {
		case "f4", "FP32":
			out = append(out, float64(math.Float32frombits(binary.LittleEndian.Uint32(b))))
			b = b[4:]
		case "f8", "FP64":
			out = append(out, math.Float64frombits(binary.LittleEndian.Uint64(b)))
			b = b[8:]
		case "i4", "INT32":
			out = append(out, float64(int32(binary.LittleEndian.Uint32(b))))
			b = b[4:]
		case "i8", "INT64":
			out = append(out, float64(int64(binary.LittleEndian.Uint64(b))))
			b = b[8:]
		case "u1", "BOOL":
			out = append(out, float64(b[0]))
			b = b[1:]
		default:
			t.Fatalf("dtype %s", dtype)
		}
	}
	return out
}

// call makes a call with rows lo to hi of a fixture; x holds rows of width bytes.
func (w wanted) call(x []byte, lo, hi int, sig serval.Signature) *engine.Call {
	c := &engine.Call{Rows: int64(hi - lo)}
	width := len(x) / max(w.Rows, 1)
	for _, in := range sig.Inputs {
		t := serval.Tensor{Name: in.Name, DType: in.DType, Shape: []int64{int64(hi - lo), in.Shape[1]}}
		if in.DType == serval.Bytes {
			for _, row := range w.Categories[lo:hi] {
				for _, s := range row {
					t.Data = serval.AppendString(t.Data, s)
				}
			}
		} else {
			t.Data = x[lo*width : hi*width]
		}
		c.Inputs = append(c.Inputs, t)
	}
	return c
}

// run executes calls of the given sizes and joins their answers, by output.
func run(t testing.TB, m engine.Batcher, w wanted, x []byte, sizes ...int) []serval.Tensor {
	t.Helper()
	var calls []*engine.Call
	at := 0
	for _, n := range sizes {
		calls = append(calls, w.call(x, at, at+n, m.Signature()))
		at += n
	}
	if err := m.Execute(context.Background(), calls); err != nil {
		t.Fatal(err)
	}
	var out []serval.Tensor
	for i, c := range calls {
		if c.Err != nil {
			t.Fatal(c.Err)
		}
		for j, o := range c.Outputs {
			if i == 0 {
				out = append(out, serval.Tensor{Name: o.Name, DType: o.DType, Shape: slices.Clone(o.Shape), Labels: o.Labels})
				out[j].Shape[0] = 0
			}
			out[j].Shape[0] += o.Shape[0]
			out[j].Data = append(out[j].Data, o.Data...)
		}
		c.Reset()
	}
	return out
}

// cuts are ways to cut n rows into calls.
func cuts(n int) [][]int {
	ones := slices.Repeat([]int{1}, n)
	return [][]int{{n}, ones, {0, 3, n - 3}, {9, 0, n - 9}, {n - 1, 1, 0}}
}

// compare says how an answer differs from what is wanted, by at most tolerance relative to the value.
func compare(t testing.TB, want packed, got serval.Tensor, tolerance float64) error {
	t.Helper()
	a, b := numbers(t, want.DType, want.bytes(t)), numbers(t, got.DType.String(), got.Data)
	if len(a) != len(b) || got.Shape[1] != int64(want.Columns) {
		return fmt.Errorf("%s: %d values in %d columns, want %d in %d", got.Name, len(b), got.Shape[1], len(a), want.Columns)
	}
	for i := range a {
		most := tolerance * math.Abs(a[i])
		if tolerance < 0 {
			most = -tolerance
		}
		if a[i] != b[i] && !(math.Abs(a[i]-b[i]) <= most) {
			return fmt.Errorf("%s: row %d, column %d is %v, want %v (%g relative)", got.Name, i/want.Columns, i%want.Columns, b[i], a[i], math.Abs(a[i]-b[i])/math.Abs(a[i]))
		}
	}
	return nil
}

// checkFixture compares all outputs of a fixture under all cuts, threads and input types. tolerance is relative, by the kind
// of output, or absolute where it is negative; 1e-6 where it says nothing.
func checkFixture(t *testing.T, name string, tolerance map[string]float64) {
	w := readWant(t, name)
	var kinds []string
	for _, k := range whatNames {
		if _, ok := w.Outputs[k]; ok {
			kinds = append(kinds, k)
		}
	}
	for _, input := range []string{"fp32", "fp64"} {
		x := w.X.bytes(t)
		if input == "fp64" && w.X.DType == "f4" {
			x = widen(x)
		}
		if input == "fp32" && w.X.DType == "f8" {
			continue
		}
		options := map[string]string{"output": strings.Join(kinds, ","), "output_type": "fp64", "input": input}
		for k, v := range w.Options {
			options[k] = v
		}
		for _, threads := range []int{1, 2} {
			m := open(t, folder(t, w.Model), options, threads)
			for _, sizes := range cuts(w.Rows) {
				out := run(t, m, w, x, sizes...)
				for i, k := range kinds {
					most, ok := tolerance[k]
					if !ok {
						most = 1e-6
					}
					if out[i].DType == serval.Bytes {
						checkLabels(t, w, out[i])
					} else if err := compare(t, w.Outputs[k], out[i], most); err != nil {
						t.Fatalf("input %s, calls of %v rows: %v", input, sizes, err)
					}
				}
			}
		}
	}
}

func checkLabels(t *testing.T, w wanted, got serval.Tensor) {
	t.Helper()
	rest := got.Data
	for i, want := range w.Labels {
		var s []byte
		if s, rest, _ = serval.NextBytes(rest); string(s) != want {
			t.Fatalf("label %d is %q, want %q", i, s, want)
		}
	}
	if len(rest) > 0 {
		t.Fatalf("%d bytes behind the labels", len(rest))
	}
}

// widen turns float32 into float64.
func widen(b []byte) []byte {
	var out []byte
	for ; len(b) > 0; b = b[4:] {
		out = binary.LittleEndian.AppendUint64(out, math.Float64bits(float64(math.Float32frombits(binary.LittleEndian.Uint32(b)))))
	}
	return out
}
