package parquet

import (
	"testing"

	"serval/internal/column/columntest"
)

func TestWriter(t *testing.T) {
	for _, codec := range []string{"zstd", "snappy", "gzip", "none"} {
		t.Run(codec, func(t *testing.T) {
			columntest.Writer(t, Format{}, ".parquet", map[string]string{"row_group": "700", "compression": codec})
		})
	}
}
