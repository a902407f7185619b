package parquet

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"

	"serval"
	"serval/batch"
	"serval/internal/column/columntest"
)

// memory is an Object.
type memory []byte

func (m memory) Name() string    { return "fuzz.parquet" }
func (m memory) Size() int64     { return int64(len(m)) }
func (m memory) Version() string { return "" }
func (m memory) At() io.ReaderAt { return bytes.NewReader(m) }
func (m memory) Open(context.Context, int64) (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(m)), nil
}

// readAll reads all that can be read: as it stands, and as floats.
func readAll(data []byte) (rows int, err error) {
	for _, floats := range []bool{false, true} {
		r, err := Format{}.Open(context.Background(), memory(data), nil)
		if err != nil {
			return rows, err
		}
		var columns []batch.Column
		for _, c := range r.Columns() {
			if floats {
				c.Type = serval.FP32
			}
			probe, err := Format{}.Open(context.Background(), memory(data), nil)
			if err != nil {
				return rows, err
			}
			if probe.Select([]batch.Column{c}, nil) == nil {
				columns = append(columns, c)
			}
		}
		if err := r.Select(columns, nil); err != nil {
			return rows, err
		}
		var b batch.Block
		for blocks := 0; blocks < 200; blocks++ { // a file of a few bytes may have billions of equal rows
			if err = r.Read(context.Background(), &b, 1000); err != nil {
				break
			}
			rows += b.Rows
			for i := range b.Vectors {
				columntest.Column(&b.Vectors[i], b.Rows-len(b.Bad))
			}
		}
		if err != nil && err != io.EOF {
			return rows, err
		}
	}
	return rows, nil
}

// seeds are small files of ours, with all types.
func seeds(t testing.TB) [][]byte {
	var out [][]byte
	vectors, _ := columntest.Table(150)
	for _, codec := range []string{"zstd", "snappy", "gzip", "none"} {
		path := filepath.Join(t.TempDir(), codec+".parquet")
		w, err := Format{}.Create(path, nil, map[string]string{"compression": codec, "row_group": "70"})
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Write(vectors, 150); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, raw)
	}
	return out
}

func FuzzReader(f *testing.F) {
	for _, s := range seeds(f) {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, data []byte) { _, _ = readAll(data) }) // errors are fine, panics are not
}

// TestDamaged flips and cuts bytes at every place of small files: there is an error or there are rows, in bounded memory.
func TestDamaged(t *testing.T) {
	var before runtime.MemStats
	runtime.ReadMemStats(&before)
	for _, s := range seeds(t) {
		if rows, err := readAll(s); err != nil || rows != 300 {
			t.Fatalf("%d rows, %v", rows, err)
		}
		for at := 0; at < len(s); at += 37 {
			for _, b := range []byte{0xff, s[at] ^ 1} {
				d := slices.Clone(s)
				d[at] = b
				_, _ = readAll(d)
			}
		}
		for at := 0; at < len(s); at += 997 {
			if _, err := readAll(s[:at]); err == nil {
				t.Errorf("the first %d bytes are read as a file", at)
			}
		}
	}
	var after runtime.MemStats
	runtime.ReadMemStats(&after)
	if after.Sys-before.Sys > 2<<30 {
		t.Errorf("%d MiB of memory for files of a few KiB", (after.Sys-before.Sys)>>20)
	}
}
