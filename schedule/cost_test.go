package schedule

import (
	"testing"
	"time"
)

func TestCostFindsFixedAndRowCost(t *testing.T) {
	var c cost
	if c.of(3, 3) != 0 {
		t.Error("nothing seen, yet it costs something")
	}
	for range 50 {
		c.seen(1, time.Millisecond)
	}
	if got := c.of(1, 64).Round(time.Microsecond); got != time.Millisecond {
		t.Errorf("only single rows seen: 64 rows cost %v, want the optimistic 1ms", got)
	}
	for i := range 200 {
		n := int64(1 + i%64)
		c.seen(n, time.Millisecond+time.Duration(n)*100*time.Microsecond)
	}
	for _, x := range []struct{ batches, rows int64 }{{1, 1}, {1, 64}, {4, 256}} {
		want := time.Duration(x.batches)*time.Millisecond + time.Duration(x.rows)*100*time.Microsecond
		if got := c.of(x.batches, x.rows); got < want*9/10 || got > want*11/10 {
			t.Errorf("%d batches of %d rows: %v, want about %v", x.batches, x.rows, got, want)
		}
	}
}
