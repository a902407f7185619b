package schedule

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"serval"
)

// TestBackgroundYields: a call takes the place of one in the background, the other one stands still meanwhile, and goes on after.
func TestBackgroundYields(t *testing.T) {
	d := &counting{slots: 2, step: time.Millisecond}
	m := streams(t, d, serval.ModelSettings{})
	ctx, stop := context.WithCancel(t.Context())
	var tokens [2]atomic.Int64
	refused := make(chan error, 2)
	var all sync.WaitGroup
	for i := range tokens {
		all.Go(func() {
			req := generate(1 << 30)
			req.Priority = serval.Background
			err := m.Handle(ctx, req, serval.SinkFunc(func(*serval.Chunk) error { tokens[i].Add(1); return nil }))
			if ctx.Err() == nil {
				refused <- err
			}
		})
	}
	both := func(n int64) bool { return tokens[0].Load() >= n && tokens[1].Load() >= n }
	for !both(5) {
		time.Sleep(time.Millisecond)
	}
	var before, after int64
	begun := time.Time{}
	got := 0
	err := m.Handle(t.Context(), generate(300), serval.SinkFunc(func(*serval.Chunk) error {
		if got++; got == 20 { // by now the one is gone, and what the other one had on its way has come
			before, begun = tokens[0].Load()+tokens[1].Load(), time.Now()
		}
		after = tokens[0].Load() + tokens[1].Load()
		return nil
	}))
	most := int64(time.Since(begun)/trickleEvery) + 2
	if err != nil || got != 300 || after-before > most {
		t.Errorf("%v: %d tokens, and %d in the background meanwhile, want %d at most", err, got, after-before, most)
	}
	if e := serval.AsError(<-refused); e == nil || e.Code != serval.Unavailable {
		t.Errorf("the one that lost its place: %v", e)
	}
	end := tokens[0].Load() + tokens[1].Load()
	for tokens[0].Load()+tokens[1].Load() < end+50 {
		time.Sleep(time.Millisecond)
	}
	stop()
	all.Wait()
	if m.urgent.Load() != 0 || len(refused) != 0 {
		t.Errorf("%d calls are counted that there are not, %d more were refused", m.urgent.Load(), len(refused))
	}
}

// TestBackgroundGetsOn: one call in the background gets on beside others that never end.
func TestBackgroundGetsOn(t *testing.T) {
	m := streams(t, &counting{slots: 4, step: time.Millisecond}, serval.ModelSettings{})
	ctx, stop := context.WithCancel(t.Context())
	var all sync.WaitGroup
	all.Go(func() {
		_ = m.Handle(ctx, generate(1<<30), serval.SinkFunc(func(*serval.Chunk) error { return nil }))
	})
	for m.urgent.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	for range 2 {
		req := generate(3)
		req.Priority = serval.Background
		if err := m.Handle(t.Context(), req, serval.SinkFunc(func(*serval.Chunk) error { return nil })); err != nil {
			t.Error(err)
		}
	}
	stop()
	all.Wait()
}
