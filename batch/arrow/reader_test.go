package arrow

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"serval/internal/column/columntest"
)

// Files and streams of pyarrow are read as pyarrow reads them, also from any place on.
func TestReadsPyarrow(t *testing.T) {
	dir := t.TempDir()
	columntest.Python(t, "make.py", "arrow", dir)
	raw, err := os.ReadFile(filepath.Join(dir, "expected.json"))
	if err != nil {
		t.Fatal(err)
	}
	want := columntest.Expected(t, raw)
	var files []string
	for _, pattern := range []string{"file_*", "stream_*", "feather*", "sliced*"} {
		found, _ := filepath.Glob(filepath.Join(dir, pattern))
		files = append(files, found...)
	}
	if len(files) < 8 {
		t.Fatalf("%d files", len(files))
	}
	for _, path := range files {
		columntest.Compare(t, filepath.Base(path), columntest.Values(t, Format{}, path, nil, 1000, 0), want)
		columntest.Compare(t, filepath.Base(path)+", in pieces", columntest.Values(t, Format{}, path, nil, 37, 5), want)
	}
	var k []any
	if raw, err = os.ReadFile(filepath.Join(dir, "dictionaries.json")); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &k); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"replaced.arrows", "delta.arrow"} {
		columntest.Compare(t, name, columntest.Values(t, Format{}, filepath.Join(dir, name), nil, 2, 1), map[string][]any{"k": k})
	}
}
