package chat

import (
	"maps"
	"sync"
	"time"

	"serval/bench/load"
)

// recorder counts a run's requests. It is safe for concurrent use.
type recorder struct {
	o *Options

	mu                         sync.Mutex
	sum                        Result // without its distributions
	last                       time.Time
	ttft, itl, tpot, e2e, wait *load.Times
}

func newRecorder(o *Options) *recorder {
	return &recorder{
		o: o, sum: Result{FailuresBy: map[string]uint64{}},
		ttft: load.NewTimes(), itl: load.NewTimes(), tpot: load.NewTimes(), e2e: load.NewTimes(), wait: load.NewTimes(),
	}
}

// add counts a request that has ended.
func (r *recorder) add(c *Call) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := &r.sum
	s.Requests++
	s.Reconnects += uint64(c.reconnects)
	s.Retried += uint64(c.retried)
	s.Sent += uint64(c.sent)
	s.Received += uint64(c.received)
	if c.End.After(r.last) {
		r.last = c.End
	}
	r.wait.Add(c.Sent.Sub(c.Due))
	if c.Failure != "" {
		s.Failures++
		s.FailuresBy[c.Failure]++
		if s.FirstFailure == "" {
			s.FirstFailure = c.Failure + ": " + c.Detail
		}
	} else {
		r.success(c)
	}
	if r.o.Each != nil {
		r.o.Each(*c)
	}
}

func (r *recorder) success(c *Call) {
	s := &r.sum
	s.PromptTokens += uint64(c.PromptTokens)
	s.CachedTokens += uint64(c.CachedTokens)
	s.OutputTokens += uint64(c.OutputTokens)
	s.Deltas += uint64(c.Deltas)
	s.Texts += uint64(c.Texts)
	s.CacheKnown = s.CacheKnown || c.cacheKnown
	if r.o.SLO.met(c) {
		s.Good++
	}
	r.e2e.Add(c.E2E())
	if r.o.API == Embeddings {
		return
	}
	if c.MaxTokens > 0 && c.OutputTokens < int64(c.MaxTokens) {
		s.Short++
	}
	if c.First.IsZero() {
		s.Empty++
		return
	}
	r.ttft.Add(c.TTFT())
	for _, gap := range c.Gaps {
		r.itl.Add(gap)
	}
	if c.OutputTokens > 1 {
		r.tpot.Add(c.TPOT())
	}
}

// giveUp counts a request that the end of the run cut off.
func (r *recorder) giveUp(measured bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if measured {
		r.sum.GivenUp++
	}
}

func (r *recorder) counts() (requests, failures uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.sum.Requests, r.sum.Failures
}

// result is what a run measured, once all of its callers have ended.
func (r *run) result() *Result {
	r.record.mu.Lock()
	defer r.record.mu.Unlock()
	rec, o := r.record, r.o
	s := rec.sum
	s.FailuresBy = maps.Clone(s.FailuresBy)
	s.URL, s.Model, s.API, s.Workload = o.URL, o.Model, o.API, o.Workload.describe(o.API)
	s.Concurrency, s.Rate, s.SLO = o.Concurrency, o.Rate, o.SLO
	s.ArrivedDeltas = r.deltas.Load()
	s.TTFT, s.ITL, s.TPOT, s.E2E = rec.ttft.Latency(), rec.itl.Latency(), rec.tpot.Latency(), rec.e2e.Latency()
	if o.Rate > 0 {
		s.Arrivals, s.Wait = o.Arrivals, rec.wait.Latency()
	}
	// A closed loop of a fixed duration fills it; everything else lasts until its last answer.
	s.Elapsed = rec.last.Sub(r.at().measure)
	if o.Duration > 0 && !r.cancelled.Load() && (o.Count == 0 || r.left.Load() >= 0) {
		s.Elapsed = max(s.Elapsed, o.Duration)
	}
	s.Elapsed = max(s.Elapsed, 0)
	return &s
}
