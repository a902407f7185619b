package load

import (
	"context"
	"math/rand/v2"
	"time"
)

// Pacer hands out the times at which an open loop's requests are due. Whoever is free takes the next; when nobody is,
// requests wait, and their latency counts from when they were due.
type Pacer struct {
	due chan time.Time // closed when the schedule ends
	gap func() time.Duration
}

// pacerBacklog bounds the requests that are due and wait for a caller. A full backlog loses nothing: the rest is handed
// out later, with the times at which it was due.
const pacerBacklog = 1 << 12

// NewPacer makes a schedule of rate requests a second, above 0. The seed is of Poisson arrivals.
func NewPacer(rate float64, arrivals Arrivals, seed uint64) *Pacer {
	p := &Pacer{due: make(chan time.Time, pacerBacklog)}
	mean := float64(time.Second) / rate
	if arrivals == Poisson {
		random := rand.New(rand.NewPCG(seed, 1))
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

// Due is where the times arrive; it is closed when the schedule ends.
func (p *Pacer) Due() <-chan time.Time { return p.due }

// Run hands out the times from start on, once; it ends when ctx does or when the schedule reaches end (zero: never).
func (p *Pacer) Run(ctx context.Context, start, end time.Time) {
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
