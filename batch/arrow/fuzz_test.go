package arrow

import (
	"testing"

	"serval/batch"
	"serval/internal/column/columntest"
)

func FuzzReader(f *testing.F) {
	for _, c := range []string{"zstd", "none"} {
		f.Add(columntest.Seed(f, Format{}, map[string]string{"compression": c, "rows": "70"}))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		_, _ = columntest.ReadAll(Format{}, columntest.Memory(data))
		_, _ = columntest.ReadAll(Format{}, columntest.InOrder{Memory: data})
	})
}

func TestDamaged(t *testing.T) {
	for _, c := range []string{"zstd", "none"} {
		seed := columntest.Seed(t, Format{}, map[string]string{"compression": c, "rows": "70"})
		columntest.Damage(t, Format{}, seed, func(b []byte) batch.Object { return columntest.Memory(b) }, false)
		columntest.Damage(t, Format{}, seed, func(b []byte) batch.Object { return columntest.InOrder{Memory: b} }, false)
	}
}
