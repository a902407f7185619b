package storetest

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"testing"
	"time"

	"serval/batch"
	"serval/protocol"
)

// counter is a Runner that counts how often each piece is run; a piece takes a while.
type counter struct {
	mu    sync.Mutex
	runs  map[string]int
	delay time.Duration
	put   map[string]bool // pieces that are given back once, for a while
}

func (c *counter) Kind() string { return "data" }

func (c *counter) Remove(context.Context, *batch.Record) error { return nil }

func (c *counter) Run(ctx context.Context, t *batch.Turn) batch.Outcome {
	key := fmt.Sprint(t.Job.Name, " ", t.Piece.Stage, " ", t.Piece.Number)
	c.mu.Lock()
	c.runs[key]++
	back := c.put[key]
	delete(c.put, key)
	c.mu.Unlock()
	switch t.Piece.Stage {
	case batch.Plan:
		return batch.Outcome{Next: make([]batch.Piece, 4)}
	case batch.Close:
		return batch.Outcome{}
	}
	if back {
		return batch.Outcome{Again: true, After: 3 * time.Second}
	}
	for i := range 10 {
		t.Progress(batch.Measure{Rows: int64(i), Done: float64(i) / 10})
		select {
		case <-time.After(c.delay / 10):
		case <-ctx.Done():
			return batch.Outcome{Again: true}
		}
	}
	return batch.Outcome{Measure: batch.Measure{Rows: 10, Done: 1}}
}

// Clock has two processes do jobs while the wall clock jumps by hours: no piece is taken from a worker that lives, none is done twice, and
// none is left lying that a killed worker had. An event that was put off for a moment does not wait for hours. open opens the same data each time; jump moves the clock that the store goes by.
func Clock(t *testing.T, open func() Store, jump func(time.Duration)) {
	s := open()
	postponed(t, s, jump)
	work := &counter{runs: map[string]int{}, delay: 1500 * time.Millisecond, put: map[string]bool{"before 1 2": true}}
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	const lease = 4 * time.Second // renewed each second
	ctx, stop := context.WithCancel(t.Context())
	var all sync.WaitGroup
	begin := func(name string) {
		db := open()
		w := batch.NewWorker(batch.WorkerOptions{Name: name, Queue: db, Jobs: db, Runners: []batch.Runner{work}, Width: 5, Lease: lease, Poll: 10 * time.Millisecond, Log: log})
		all.Go(func() { w.Run(ctx) })
	}
	defer all.Wait()
	defer stop()
	dead, given := add(t, s, &batch.Record{Name: "dead"}), add(t, s, &batch.Record{Name: "given up"})
	for range 2 {
		l, err := s.Claim(t.Context(), "killed", kinds, lease) // and it never says a word
		if err != nil || l == nil || l.Job.ID != dead.ID && l.Job.ID != given.ID {
			t.Fatalf("%+v %v", l, err)
		}
	}
	jump(-time.Hour) // its leases end in an hour and four seconds
	if j, err := s.Change(t.Context(), "", given.ID, batch.Cancel); err != nil || j.State != batch.Cancelling {
		t.Fatalf("%+v %v", j, err)
	}
	before := add(t, s, &batch.Record{Name: "before"})
	begin("one")
	begin("two")
	for _, d := range []time.Duration{time.Hour, time.Hour, -3 * time.Hour, 2 * time.Hour, time.Hour, -time.Hour} {
		time.Sleep(300 * time.Millisecond)
		jump(d)
	}
	for _, id := range []string{dead.ID, before.ID, given.ID} {
		for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
			j, err := s.Job(t.Context(), "a", id)
			if err != nil {
				t.Fatal(err)
			}
			if j.State.Ended() {
				want, rows := batch.Succeeded, int64(40)
				if id == given.ID {
					want, rows = batch.Cancelled, 0
				}
				if j.State != want || j.Tally.Rows != rows {
					t.Errorf("%+v", j)
				}
				break
			}
			if time.Now().After(end) {
				t.Fatalf("still %+v", j)
			}
		}
	}
	stop()
	all.Wait()
	work.mu.Lock()
	defer work.mu.Unlock()
	for key, n := range work.runs {
		want := 1
		if key == "before 1 2" { // it was given back
			want = 2
		}
		if n != want {
			t.Errorf("%s was run %d times, want %d", key, n, want)
		}
	}
	if len(work.runs) != 12 {
		t.Errorf("%d pieces: %v", len(work.runs), work.runs)
	}
}

// postponed: an event that waits for a second when the clock goes back by hours is due at once.
func postponed(t *testing.T, s Store, jump func(time.Duration)) {
	t.Helper()
	b := &protocol.Batch{Tenant: "a"}
	if added, err := s.AddBatch(t.Context(), b, &batch.Record{ID: "batch_clock", Tenant: "a", Kind: "none"}, 0); err != nil || !added {
		t.Fatal(added, err)
	}
	if done, err := s.EndBatch(t.Context(), b, nil, []*protocol.Event{{ID: "evt", Hook: "h", Tenant: "a", Type: "batch.failed", Subject: b.ID}}); err != nil || !done {
		t.Fatal(done, err)
	}
	jump(3 * time.Hour)
	list, err := s.ClaimEvents(t.Context(), time.Minute)
	if err != nil || len(list) != 1 {
		t.Fatalf("%+v %v", list, err)
	}
	if err := s.DelayEvent(t.Context(), list[0], time.Second); err != nil {
		t.Fatal(err)
	}
	jump(-3 * time.Hour)
	if list, err = s.ClaimEvents(t.Context(), time.Minute); err != nil || len(list) != 1 {
		t.Errorf("%+v %v", list, err)
	}
}
