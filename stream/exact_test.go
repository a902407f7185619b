package stream

import (
	"log/slog"
	"testing"
	"time"
)

// TestRoundThatTakesTooLong: a transaction that could not be finished is not begun again with as many messages; those behind it grow
// again where there is time.
func TestRoundThatTakesTooLong(t *testing.T) {
	t.Parallel()
	r := newRun(New(Options{Name: "slow", Log: slog.New(slog.DiscardHandler)}))
	defer r.close()
	turn := func(since time.Duration, taken, done int) {
		t.Helper()
		o := &r.round
		o.used, o.closing, o.taken, o.since, o.done = true, true, taken, time.Now().Add(-since), make([]*item, done)
		for i := range o.done {
			o.done[i] = &item{}
		}
		asked := make(chan job, 1)
		go func() { asked <- <-r.writes }()
		r.turn(time.Now())
		j := <-asked
		r.writing = false
		if err := r.ended(result{job: j, committed: j.kind == commit}); err != nil {
			t.Fatal(err)
		}
	}
	r.round = round{on: true, length: time.Millisecond, most: roundMost}
	for i, c := range []struct {
		since       time.Duration
		taken, done int
		most        int
	}{
		{roundLimit + time.Second, 8192, 400, 200},
		{roundLimit / 2, 200, 200, 200}, // there is no time for more
		{roundLimit / 8, 200, 200, 400},
		{roundLimit / 8, 100, 100, 400}, // there were no more
		{roundLimit + time.Second, 400, 0, 1},
		{0, 1, 1, 2},
	} {
		if turn(c.since, c.taken, c.done); r.round.most != c.most {
			t.Errorf("%d: behind a transaction of %d messages, %d of them written after %v, the next takes %d, not %d", i, c.taken, c.done, c.since, r.round.most, c.most)
		}
	}
	r.round.most = 3
	r.round.taken = 1
	asked := make(chan int, 1)
	go func() { asked <- (<-r.asks).max }()
	r.read(time.Now().Add(time.Minute)) // the last failure is long over
	r.reading()
	if n := <-asked; n != 2 {
		t.Errorf("with 1 of 3 messages taken %d are read", n)
	}
}
