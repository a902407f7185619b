package parquet

import (
	"os"
	"path/filepath"
	"testing"

	"serval/internal/column/columntest"
)

// Files of pyarrow, in many codecs, encodings and page sizes, are read as pyarrow reads them, also from any place on.
func TestReadsPyarrow(t *testing.T) {
	dir := t.TempDir()
	columntest.Python(t, "make.py", "parquet", dir)
	raw, err := os.ReadFile(filepath.Join(dir, "expected.json"))
	if err != nil {
		t.Fatal(err)
	}
	want := columntest.Expected(t, raw)
	files, _ := filepath.Glob(filepath.Join(dir, "*.parquet"))
	if len(files) < 10 {
		t.Fatalf("%d files", len(files))
	}
	for _, path := range files {
		name := filepath.Base(path)
		if name == "old.parquet" { // its moments have no time zone
			for i, v := range want["us"] {
				if text, ok := v.(string); ok {
					want["us"][i] = text[:len(text)-1]
				}
			}
		}
		columntest.Compare(t, name, columntest.Values(t, Format{}, path, nil, 1000, 0), want)
		columntest.Compare(t, name+", in pieces", columntest.Values(t, Format{}, path, nil, 37, 5), want)
		if name == "old.parquet" {
			for i, v := range want["us"] {
				if text, ok := v.(string); ok {
					want["us"][i] = text + "Z"
				}
			}
		}
	}
}
