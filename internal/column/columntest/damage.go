package columntest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"serval"
	"serval/batch"
)

// Memory is an Object.
type Memory []byte

// Name is that of no file.
func (m Memory) Name() string { return "memory" }

// Size in bytes.
func (m Memory) Size() int64 { return int64(len(m)) }

// Version is not known.
func (m Memory) Version() string { return "" }

// At reads anywhere.
func (m Memory) At() io.ReaderAt { return bytes.NewReader(m) }

// Open reads from a place on.
func (m Memory) Open(_ context.Context, offset int64) (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(m[min(int64(len(m)), offset):])), nil
}

// InOrder is an Object that can be read in order only.
type InOrder struct{ Memory }

// At is nil.
func (InOrder) At() io.ReaderAt { return nil }

// Size is not known.
func (InOrder) Size() int64 { return -1 }

// ReadAll reads what can be read of a file, as it stands and as floats, 5 blocks at most: a file of a few bytes may have billions
// of equal rows. Errors are fine, panics are not.
func ReadAll(f batch.Format, o batch.Object) (rows int, err error) {
	for _, floats := range []bool{false, true} {
		n, err := readSome(f, o, floats)
		if rows += n; err != nil {
			return rows, err
		}
	}
	return rows, nil
}

func readSome(f batch.Format, o batch.Object, floats bool) (rows int, err error) {
	var columns []batch.Column
	var r batch.Reader
	for tries := 0; ; tries++ {
		if r, err = f.Open(context.Background(), o, nil); err != nil {
			return 0, err
		}
		defer r.Close()
		if tries == 0 {
			columns = r.Columns()
			for i := range columns {
				if floats {
					columns[i].Type = serval.FP32
				}
			}
		}
		var e *serval.Error
		if err = r.Select(columns, nil); err == nil {
			break
		} else if !errors.As(err, &e) || tries > 100 {
			return 0, err
		}
		columns = slices.DeleteFunc(columns, func(c batch.Column) bool { return c.Name == e.Param })
	}
	var b batch.Block
	for blocks := 0; blocks < 5; blocks++ {
		if err = r.Read(context.Background(), &b, 1000); err != nil {
			break
		}
		rows += b.Rows
		for i := range b.Vectors {
			Column(&b.Vectors[i], b.Rows-len(b.Bad))
		}
	}
	if err == io.EOF {
		err = nil
	}
	return rows, err
}

// Seed is a small file with values of all types.
func Seed(t testing.TB, f batch.Format, options map[string]string) []byte {
	vectors, _ := Table(130)
	path := filepath.Join(t.TempDir(), "seed")
	w, err := f.Create(path, nil, options)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Write(vectors, 130); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// Damage changes bytes all over a small file, and cuts it off: there is an error, or there are rows, in bounded memory. with
// makes the object; ends says that a file that is cut off must be refused.
func Damage(t *testing.T, f batch.Format, seed []byte, with func([]byte) batch.Object, ends bool) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if rows, err := ReadAll(f, with(seed)); err != nil || rows != 260 {
		t.Fatalf("%d rows, %v", rows, err)
	}
	for at := 0; at < len(seed); at += 211 {
		for _, b := range []byte{0xff, seed[at] ^ 1} {
			d := slices.Clone(seed)
			d[at] = b
			if _, err := ReadAll(f, with(d)); err != nil && strings.Contains(err.Error(), "runtime error") {
				t.Errorf("byte %d: %v", at, err)
			}
		}
	}
	for at := 0; at < len(seed); at += 1997 {
		if _, err := ReadAll(f, with(seed[:at])); err == nil && ends {
			t.Errorf("the first %d bytes are read as a file", at)
		}
	}
	runtime.ReadMemStats(&after)
	if after.Sys > before.Sys+(2<<30) {
		t.Errorf("%d MiB of memory for files of a few KiB", (after.Sys-before.Sys)>>20)
	}
}
