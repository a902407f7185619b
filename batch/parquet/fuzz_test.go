package parquet

import (
	"testing"

	"serval/batch"
	"serval/internal/column/columntest"
)

var codecs = []string{"zstd", "snappy", "gzip", "none"}

func FuzzReader(f *testing.F) {
	for _, c := range codecs {
		f.Add(columntest.Seed(f, Format{}, map[string]string{"compression": c, "row_group": "70"}))
	}
	f.Fuzz(func(t *testing.T, data []byte) { _, _ = columntest.ReadAll(Format{}, columntest.Memory(data)) })
}

func TestDamaged(t *testing.T) {
	for _, c := range codecs {
		seed := columntest.Seed(t, Format{}, map[string]string{"compression": c, "row_group": "70"})
		columntest.Damage(t, Format{}, seed, func(b []byte) batch.Object { return columntest.Memory(b) }, true)
	}
}
