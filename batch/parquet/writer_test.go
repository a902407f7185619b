package parquet

import (
	"testing"

	"serval/internal/column/columntest"
)

func TestWriter(t *testing.T) {
	for codec, kills := range map[string]uint64{"zstd": 12, "snappy": 1, "gzip": 1, "none": 4} {
		t.Run(codec, func(t *testing.T) {
			columntest.Writer(t, Format{}, ".parquet", map[string]string{"row_group": "700", "compression": codec}, kills)
		})
	}
}
