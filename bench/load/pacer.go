package load

import (
	"context"
	"math/rand/v2"
	"time"
)

// pacer hands out the times at which an open loop's requests are due. Whoever is free takes the next; when nobody is,
// requests wait, and their latency counts from when they were due.
type pacer struct {
	due chan time.Time // closed when the schedule ends
	gap func() time.Duration
}

// pacerBacklog bounds the requests that are due and wait for a caller. A full backlog loses nothing: the rest is handed
// out later, with the times at which it was due.
const pacerBacklog = 1 << 12

func newPacer(o *Options) *pacer {
	p := &pacer{due: make(chan time.Time, pacerBacklog)}
	mean := float64(time.Second) / o.Rate
	if o.Arrivals == Poisson {
		random := rand.New(rand.NewPCG(o.Seed, 1))
		p.gap = func() time.Duration { return time.Duration(random.ExpFloat64() * mean) }
		return p
	}
	var n, last float64 // gaps are differences of exact times, so that rounding does not add up
	p.gap = func() time.Duration {
		n++
		d := time.Duration(n*mean) - time.Duration(last)
		last = n * mean
		return d
	}
	return p
}

// run hands out the times from start on; it ends when ctx does or when the schedule reaches end (zero: never).
func (p *pacer) run(ctx context.Context, start, end time.Time) {
	defer close(p.due)
	for at := start; end.IsZero() || at.Before(end); at = at.Add(p.gap()) {
		for wait := time.Until(at); wait > 0; wait = time.Until(at) {
			if ctx.Err() != nil {
				return
			}
			sleep(min(wait, 50*time.Millisecond))
		}
		select {
		case p.due <- at:
		case <-ctx.Done():
			return
		}
	}
}
