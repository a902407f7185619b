package batch

import (
	"context"
	"sync"
	"sync/atomic"
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

// TestPaceTurn: while online calls come one call runs at a time; those that wait go on once none come, though that one takes long.
func TestPaceTurn(t *testing.T) {
	var quiet atomic.Int64
	p := &Pace{Quiet: func() time.Duration { return time.Duration(quiet.Load()) }, Online: func() int64 { return 0 }}
	running, release := make(chan struct{}), make(chan struct{})
	h := p.Handler(serval.HandlerFunc(func(context.Context, *serval.Request, serval.Sink) error {
		running <- struct{}{}
		<-release
		return nil
	}))
	var all sync.WaitGroup
	for range 3 {
		all.Go(func() {
			if err := h.Handle(t.Context(), &serval.Request{Input: &serval.Chat{}}, nil); err != nil {
				t.Error(err)
			}
		})
	}
	<-running
	select {
	case p.turn <- struct{}{}:
		t.Fatal("a second call could run")
	default:
	}
	quiet.Store(int64(time.Hour))
	<-running
	<-running
	close(release)
	all.Wait()
}
