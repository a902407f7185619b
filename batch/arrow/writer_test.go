package arrow

import (
	"testing"

	"serval/internal/column/columntest"
)

func TestWriter(t *testing.T) {
	for _, pack := range []string{"none", "zstd"} {
		options := map[string]string{"rows": "700", "compression": pack}
		t.Run("file "+pack, func(t *testing.T) { columntest.Writer(t, Format{}, ".arrow", options, 6) })
		t.Run("stream "+pack, func(t *testing.T) { columntest.Writer(t, Format{Stream: true}, ".arrows", options, 6) })
	}
}
