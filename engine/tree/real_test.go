package tree

import (
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"serval"
	"serval/engine"
)

var realModels = flag.String("trees", "", "folder of models that bench/trees/train.py made of real data, or of one of them")

// real is a model of bench/trees/train.py.
type real struct {
	dir  string
	x    []byte
	want wanted
	meta struct {
		Name                         string
		Rows, Features, Trees, Nodes int
		Outputs                      map[string]packed
	}
}

func eachReal(t testing.TB, use func(r real)) {
	t.Helper()
	if *realModels == "" {
		t.Skip("-trees names no folder; bench/trees/run.sh does")
	}
	found, _ := filepath.Glob(filepath.Join(*realModels, "*", "meta.json"))
	if one := filepath.Join(*realModels, "meta.json"); len(found) == 0 {
		found = []string{one}
	}
	for _, path := range found {
		r := real{dir: filepath.Dir(path)}
		raw := read(t, path)
		if err := json.Unmarshal(raw, &r.meta); err != nil {
			t.Fatal(err)
		}
		r.x = read(t, filepath.Join(r.dir, "rows.f32"))
		r.want.Rows = r.meta.Rows
		if text, err := os.ReadFile(filepath.Join(r.dir, "categories.txt")); err == nil {
			for line := range strings.Lines(string(text)) {
				r.want.Categories = append(r.want.Categories, strings.Split(strings.TrimSuffix(line, "\n"), "\t"))
			}
		}
		use(r)
	}
}

func read(t testing.TB, path string) []byte {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// load opens the model, from a folder that holds nothing else.
func (r real) load(t testing.TB, options map[string]string) engine.Batcher {
	t.Helper()
	dir := t.TempDir()
	models, _ := filepath.Glob(filepath.Join(r.dir, "model.*"))
	if err := os.Symlink(models[0], filepath.Join(dir, filepath.Base(models[0]))); err != nil {
		t.Fatal(err)
	}
	return open(t, dir, options, 1)
}

// TestRealModels compares all outputs of models of 300 to 1,000 deep trees over 50,000 rows with missing and unseen values.
func TestRealModels(t *testing.T) {
	eachReal(t, func(r real) {
		t.Run(filepath.Base(r.dir), func(t *testing.T) {
			kinds := []string{"prediction", "margin", "probability", "leaf"}
			start := time.Now()
			m := r.load(t, map[string]string{"output": strings.Join(kinds, ","), "output_type": "fp64"})
			t.Logf("%s, %s: %d trees, %d nodes, %.1f MB in memory, loaded in %d ms", filepath.Base(r.dir), r.meta.Name, r.meta.Trees, r.meta.Nodes, float64(m.Memory().Bytes)/1e6, time.Since(start).Milliseconds())
			worst, same := map[string]float64{}, map[string]int{}
			want := map[string][]byte{}
			for _, k := range kinds {
				want[k] = read(t, filepath.Join(r.dir, k+".bin"))
			}
			for lo := 0; lo < r.meta.Rows; lo += 1000 {
				n := min(1000, r.meta.Rows-lo)
				c := r.want.call(r.x, lo, lo+n, m.Signature())
				if err := m.Execute(t.Context(), []*engine.Call{c}); err != nil || c.Err != nil {
					t.Fatal(err, c.Err)
				}
				for i, k := range kinds {
					o := r.meta.Outputs[k]
					size := int(o.DType[1] - '0')
					part := want[k][lo*o.Columns*size : (lo+n)*o.Columns*size]
					if err := differ(o, part, c.Outputs[i], k, worst, same); err != nil {
						t.Fatalf("rows from %d on: %s: %v", lo, k, err)
					}
				}
				c.Reset()
			}
			for _, k := range kinds {
				if o := r.meta.Outputs[k]; worst[k] > 1e-6 || (k == "leaf" || k == "margin") && worst[k] != 0 {
					t.Errorf("%s differs by up to %g relative", k, worst[k])
				} else {
					t.Logf("%-11s %d of %d values equal to the last bit, the others within %.1g", k, same[k], r.meta.Rows*o.Columns, worst[k])
				}
			}
		})
	})
}

// differ notes by how much an answer differs.
func differ(o packed, want []byte, got serval.Tensor, kind string, worst map[string]float64, same map[string]int) error {
	n := int(got.Shape[0] * got.Shape[1])
	at := func(b []byte, dtype string, i int) float64 {
		switch dtype {
		case "f4", "FP32":
			return float64(math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:])))
		case "f8", "FP64":
			return math.Float64frombits(binary.LittleEndian.Uint64(b[8*i:]))
		case "i4", "INT32":
			return float64(int32(binary.LittleEndian.Uint32(b[4*i:])))
		case "u2":
			return float64(binary.LittleEndian.Uint16(b[2*i:]))
		case "i8", "INT64":
			return float64(int64(binary.LittleEndian.Uint64(b[8*i:])))
		}
		return math.NaN()
	}
	if int(got.Shape[1]) != o.Columns {
		return fmt.Errorf("%d columns, want %d", got.Shape[1], o.Columns)
	}
	for i := range n {
		a, b := at(want, o.DType, i), at(got.Data, got.DType.String(), i)
		if a == b {
			same[kind]++
		} else if off := math.Abs(a-b) / math.Abs(a); !(off <= worst[kind]) {
			worst[kind] = off
		}
	}
	return nil
}
