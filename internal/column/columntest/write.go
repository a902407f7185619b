package columntest

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"serval"
	"serval/batch"
)

// Table makes rows of every type, with missing values from row 100 on, and what they are, by column.
func Table(rows int) ([]batch.Vector, map[string][]any) {
	rng := rand.New(rand.NewPCG(1, 2))
	var vectors []batch.Vector
	add := func(name string, d serval.DType, shape []int64, nulls bool, one func(row int) []byte) {
		v := batch.Vector{Name: name, DType: d, Shape: shape}
		each, _ := serval.Elements(shape)
		for row := range rows {
			null := nulls && row >= 100 && rng.IntN(5) == 0
			if nulls {
				v.Null = append(v.Null, null)
			}
			for range each {
				b := one(row)
				if null {
					clear(b)
					if d == serval.Bytes {
						b = b[:4]
					}
				}
				v.Data = append(v.Data, b...)
			}
		}
		vectors = append(vectors, v)
	}
	le := binary.LittleEndian
	number := func(size int) func(int) []byte {
		return func(int) []byte { return le.AppendUint64(nil, rng.Uint64())[:size] }
	}
	for d := serval.Uint8; d <= serval.Int64; d++ {
		add(d.String(), d, nil, d%2 == 0, number(d.Size()))
	}
	add("flag", serval.Bool, nil, true, func(int) []byte { return []byte{byte(rng.IntN(2))} })
	add("half", serval.FP16, nil, false, func(int) []byte { return le.AppendUint16(nil, uint16(rng.IntN(0x7c00))) })
	add("brain", serval.BF16, nil, true, func(int) []byte { return le.AppendUint16(nil, uint16(0x3f80+rng.IntN(0x100))) })
	add("float", serval.FP32, nil, true, func(int) []byte { return le.AppendUint32(nil, math.Float32bits(rng.Float32())) })
	add("double", serval.FP64, nil, false, func(int) []byte { return le.AppendUint64(nil, math.Float64bits(rng.NormFloat64())) })
	add("text", serval.Bytes, nil, true, func(int) []byte {
		return serval.AppendString(nil, []string{"", "ä€", "one \"word\"", "two\nlines"}[rng.IntN(4)])
	})
	add("many", serval.Bytes, nil, false, func(row int) []byte { return serval.AppendString(nil, fmt.Sprintf("row %d", row)) })
	add("vector", serval.FP32, []int64{3}, true, func(int) []byte { return le.AppendUint32(nil, math.Float32bits(rng.Float32())) })
	add("matrix", serval.Int64, []int64{2, 2}, false, number(8))
	add("words", serval.Bytes, []int64{2}, false, func(row int) []byte { return serval.AppendString(nil, []string{"a", "bb"}[rng.IntN(2)]) })
	want := map[string][]any{}
	for i := range vectors {
		want[vectors[i].Name] = Column(&vectors[i], rows)
	}
	return vectors, want
}

// Slice is the rows from from to to, as a Writer is given them.
func Slice(vectors []batch.Vector, from, to int) []batch.Vector {
	out := slices.Clone(vectors)
	for i := range out {
		v := &out[i]
		each := 1
		if v.Shape != nil {
			n, _ := serval.Elements(v.Shape)
			each = int(n)
		}
		skip := func(data []byte, rows int) int {
			if v.DType != serval.Bytes {
				return rows * each * v.DType.Size()
			}
			n := 0
			for range rows * each {
				e, _, _ := serval.NextBytes(data[n:])
				n += 4 + len(e)
			}
			return n
		}
		at := skip(v.Data, from)
		v.Data = v.Data[at : at+skip(v.Data[at:], to-from)]
		if v.Null != nil {
			if v.Null = v.Null[from:to]; !slices.Contains(v.Null, true) {
				v.Null = nil // as where nothing is missing
			}
		}
	}
	return out
}

// Writer checks a format's Writer: what it writes is read back the same, by us and by pyarrow; and when it is cut off at any
// point, in as many runs as kills, the file is the same afterwards, byte for byte. options make small groups.
func Writer(t *testing.T, f batch.Format, ext string, options map[string]string, kills uint64) {
	const rows = 5000
	vectors, want := Table(rows)
	dir := t.TempDir()
	whole := filepath.Join(dir, "whole"+ext)
	write(t, f, whole, options, vectors, rows, nil)
	var columns []batch.Column
	for _, v := range vectors {
		columns = append(columns, batch.Column{Name: v.Name, Type: v.DType, Shape: v.Shape})
	}
	Compare(t, "read by us", Values(t, f, whole, columns, 600, 3), want)

	var seen struct {
		Columns map[string][]any  `json:"columns"`
		Types   map[string]string `json:"types"`
	}
	if err := json.Unmarshal(Python(t, "check.py", whole), &seen); err != nil {
		t.Fatal(err)
	}
	Compare(t, "read by pyarrow", seen.Columns, want)
	t.Log(seen.Types)

	empty(t, f, filepath.Join(dir, "empty"+ext), vectors)

	undisturbed, err := os.ReadFile(whole)
	if err != nil {
		t.Fatal(err)
	}
	for seed := range kills {
		path := filepath.Join(dir, fmt.Sprintf("cut%d%s", seed, ext))
		rng := rand.New(rand.NewPCG(seed, 1))
		write(t, f, path, options, vectors, rows, rng)
		again, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(again, undisturbed) {
			t.Errorf("seed %d: a file of %d bytes after kills, %d undisturbed", seed, len(again), len(undisturbed))
		}
		if left, _ := filepath.Glob(path + "?*"); len(left) > 0 {
			t.Errorf("seed %d: left behind: %v", seed, left)
		}
	}
}

// empty writes no rows: of columns that are known, and of none.
func empty(t *testing.T, f batch.Format, path string, vectors []batch.Vector) {
	t.Helper()
	for _, columns := range [][]batch.Vector{Slice(vectors, 0, 0), nil} {
		_ = os.Remove(path) // there is none at first
		w, err := f.Create(path, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if columns != nil {
			err = w.Write(columns, 0)
		}
		if err := errors.Join(err, w.Close()); err != nil {
			t.Fatal(err)
		}
		r := Open(t, f, path)
		if len(r.Columns()) != len(columns) {
			t.Errorf("%d columns of %d", len(r.Columns()), len(columns))
		}
		if err := r.Select(r.Columns(), nil); err != nil {
			t.Fatal(err)
		}
		if err := r.Read(t.Context(), &batch.Block{}, 10); err != io.EOF && columns != nil {
			t.Errorf("of an empty file: %v", err)
		}
		if columns != nil {
			Python(t, "check.py", path)
		}
	}
}

// write writes all rows; with rng it is killed, and goes on at the last Mark that was kept, now and then, also after Close.
func write(t *testing.T, f batch.Format, path string, options map[string]string, vectors []batch.Vector, rows int, rng *rand.Rand) {
	t.Helper()
	w, err := f.Create(path, nil, options)
	if err != nil {
		t.Fatal(err)
	}
	var mark batch.Mark
	at, kept, step, kills := 0, 0, 100, 0
	for {
		if at == rows {
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			if rng == nil || mark == nil || kills > 8 {
				return
			}
		}
		if rng != nil && mark != nil && (at == rows || rng.IntN(12) == 0) { // killed: nothing is closed
			kills++
			if rng.IntN(2) == 0 && at < rows {
				if err := w.Abandon(); err != nil {
					t.Fatal(err)
				}
			}
			if w, err = f.Create(path, mark, options); err != nil {
				t.Fatal(err)
			}
			if at = kept; at == rows {
				continue
			}
		}
		if rng != nil {
			step = 1 + rng.IntN(300)
		}
		to := min(rows, at+step)
		if err := w.Write(Slice(vectors, at, to), to-at); err != nil {
			t.Fatal(err)
		}
		at = to
		if rng != nil && rng.IntN(3) == 0 {
			m, err := w.Sync()
			if err != nil {
				t.Fatal(err)
			}
			if rng.IntN(8) > 0 { // else it is killed before it is kept
				mark, kept = slices.Clone(m), at
			} else {
				if w, err = f.Create(path, mark, options); mark != nil && err != nil {
					t.Fatal(err)
				}
				if mark == nil {
					_ = os.Remove(path)
					if w, err = f.Create(path, nil, options); err != nil {
						t.Fatal(err)
					}
				}
				at = kept
			}
		}
	}
}
