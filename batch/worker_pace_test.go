package batch

import (
	"testing"
	"time"

	"serval"
)

// TestPaceRows: pieces compute for about as long as they may, whatever a call and a row cost.
func TestPaceRows(t *testing.T) {
	for name, c := range map[string]struct {
		fixed, row, block time.Duration
		least, most       int64
	}{
		"cheap rows":             {5 * time.Microsecond, time.Microsecond, 2 * time.Millisecond, 1024, 1024},
		"while busy":             {5 * time.Microsecond, time.Microsecond, 200 * time.Microsecond, 128, 128},
		"dear rows":              {0, 5 * time.Millisecond, 2 * time.Millisecond, 1, 1},
		"dear calls":             {2 * time.Millisecond, 10 * time.Microsecond, 2 * time.Millisecond, 128, 512},
		"rows that cost nothing": {2 * time.Millisecond, 0, 2 * time.Millisecond, 1 << 16, 1 << 16},
	} {
		p, m := &Pace{}, serval.Ref{Name: "m"}
		var rows int64
		for range 50 {
			rows = p.most(m, c.block)
			p.took(m, rows, c.fixed+time.Duration(rows)*c.row)
		}
		if rows < c.least || rows > c.most {
			t.Errorf("%s: %d rows, want %d to %d", name, rows, c.least, c.most)
		}
	}
}
