package stream

import (
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"serval"
)

// counts are a stream's numbers since the server started. Safe for concurrent use.
type counts struct {
	read, written, dropped, aborted, calls, handed atomic.Uint64
	passed                                         atomic.Uint64 // calls that were answered

	mu            sync.Mutex // guards what follows
	dead, retries map[string]uint64
	aged          uint64
	age           float64 // seconds: a million messages of a day ago are more than a time.Duration holds
	last          time.Time
}

func (c *counts) retried(code serval.Code, n int) {
	c.mu.Lock()
	c.retries[code.String()] += uint64(n)
	c.mu.Unlock()
}

// wrote counts a batch whose results and dead letters were written.
func (c *counts) wrote(batch []*item) {
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	n := uint64(0)
	for _, it := range batch {
		switch {
		case it.dropped:
			c.dropped.Add(1)
		case it.failed != nil:
			c.dead[it.failed.Code.String()]++
		default:
			n++
			if t := it.msg.Time; !t.IsZero() {
				c.aged++
				c.age += max(0, now.Sub(t).Seconds())
			}
		}
	}
	if n > 0 {
		c.written.Add(n)
		c.last = now
	}
}

func (c *counts) status() serval.StreamStatus {
	c.mu.Lock()
	defer c.mu.Unlock()
	return serval.StreamStatus{
		Read: c.read.Load(), Written: c.written.Load(), Dropped: c.dropped.Load(), Aborted: c.aborted.Load(), Calls: c.calls.Load(),
		Rebalance: c.handed.Load(), Dead: maps.Clone(c.dead), Retries: maps.Clone(c.retries), Aged: c.aged, Age: c.age, Last: c.last,
	}
}
