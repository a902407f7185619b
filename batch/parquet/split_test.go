package parquet

import (
	"testing"

	"serval/internal/column/columntest"
)

func TestSplit(t *testing.T) {
	data := columntest.Memory(columntest.Seed(t, Format{}, map[string]string{"row_group": "20"}))
	for n, want := range map[int]int{1: 1, 2: 2, 4: 4, 100: 7} {
		if parts := columntest.Split(t, Format{}, data, nil, n); parts != want {
			t.Errorf("%d parts of 7 groups, where %d were asked for", parts, n)
		}
	}
}
