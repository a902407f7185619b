package chat

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"serval/bench/load"
)

// afterFailure is how long a closed loop's caller waits after a request that failed, lest it spins.
const afterFailure = 5 * time.Millisecond

// Run puts the load on the server and measures it. It returns when the run is over and every goroutine of it has ended. A
// server that refuses or fails is a result, not an error; an error says that the options are wrong. When ctx ends early,
// requests in flight are given up and what was measured so far is returned.
func Run(ctx context.Context, o Options) (*Result, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	t, err := newTarget(&o)
	if err != nil {
		return nil, err
	}
	r := &run{o: &o, target: t, shared: o.Workload.shared(), record: newRecorder(&o)}
	r.left.Store(o.Count)
	r.begin()
	for range o.Concurrency {
		r.clients = append(r.clients, newClient(&o, t, r.arrived))
	}
	defer context.AfterFunc(ctx, func() { r.cancelled.Store(true); r.abort() })()

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if o.Rate > 0 {
		r.pacer = load.NewPacer(o.Rate, o.Arrivals, o.Workload.Seed)
	} else if !r.end.IsZero() {
		defer time.AfterFunc(time.Until(r.end), r.abort).Stop()
	}
	var work, watch sync.WaitGroup
	for _, c := range r.clients {
		work.Go(func() {
			defer c.disconnect()
			if o.Rate > 0 {
				r.open(ctx, c)
			} else {
				r.closed(ctx, c)
			}
		})
	}
	if o.Rate > 0 {
		watch.Go(func() { r.pacer.Run(ctx, r.start, r.end) })
	}
	if o.Progress != nil {
		watch.Go(func() { r.report(ctx) })
	}
	work.Wait()
	cancel()
	watch.Wait()
	return r.result(), nil
}

// run is the state that a run's goroutines share.
type run struct {
	o       *Options
	target  *target
	shared  []byte
	clients []*client
	record  *recorder
	pacer   *load.Pacer

	start   time.Time // of the load
	measure time.Time // of the measurement
	end     time.Time // of both; zero where only a count ends them

	left      atomic.Int64  // requests of Count that nobody has claimed
	next      atomic.Uint64 // conversations begun in the measurement
	warm      atomic.Uint64 // and in the warm-up
	deltas    atomic.Uint64 // that arrived within the measurement
	stopped   atomic.Bool   // the run is over
	cancelled atomic.Bool   // before its time
}

func (r *run) begin() {
	r.start = time.Now()
	r.measure = r.start.Add(r.o.WarmUp)
	if r.o.Duration > 0 {
		r.end = r.measure.Add(r.o.Duration)
	}
}

// abort ends the run: requests in flight are given up.
func (r *run) abort() {
	r.stopped.Store(true)
	for _, c := range r.clients {
		c.abort()
	}
}

// arrived counts a delta.
func (r *run) arrived(now time.Time) {
	if !now.Before(r.measure) && (r.end.IsZero() || !now.After(r.end)) {
		r.deltas.Add(1)
	}
}

// take claims one of Count measured requests; it reports false when there is none left.
func (r *run) take() bool { return r.o.Count == 0 || r.left.Add(-1) >= 0 }

// closed holds one conversation after the other.
func (r *run) closed(ctx context.Context, c *client) {
	for r.talk(ctx, c, time.Time{}) {
	}
}

// open begins a conversation when it is due.
func (r *run) open(ctx context.Context, c *client) {
	for due := range r.pacer.Due() {
		if !r.talk(ctx, c, due) {
			return
		}
	}
}

// talk holds a conversation; due is zero in a closed loop. It reports false when the run is over.
func (r *run) talk(ctx context.Context, c *client, due time.Time) bool {
	talk := r.conversation(due)
	var spoken []byte
	for turn := range r.o.Workload.Turns {
		sent := time.Now()
		if due.IsZero() || turn > 0 {
			due = sent
		}
		measured := !due.Before(r.measure)
		if r.stopped.Load() || (measured && !r.take()) {
			return false
		}
		spoken = talk.ask(spoken[:0], r.shared)
		call := &Call{Index: talk.index, Turn: turn, MaxTokens: talk.limit, Due: due, Sent: sent}
		if r.o.API == Embeddings {
			call.Texts = max(1, r.o.Workload.Batch)
		}
		c.do(ctx, call, spoken)
		if call.End.IsZero() {
			call.End = time.Now()
		}
		if r.stopped.Load() && call.Failure != "" || ctx.Err() != nil {
			r.record.giveUp(measured)
			return false
		}
		if r.counts(call, measured) {
			r.record.add(call)
		}
		if call.Failure != "" {
			if r.o.Rate == 0 {
				time.Sleep(afterFailure)
			}
			return true
		}
		talk.answer(call.Sentence)
	}
	return true
}

// counts says whether a request is one of those that are measured: of a count or an open loop those that were due in the
// measurement, else those that ended in it.
func (r *run) counts(call *Call, measured bool) bool {
	if r.o.Rate > 0 || r.o.Count > 0 {
		return measured && (r.o.Rate > 0 || r.end.IsZero() || !call.End.After(r.end))
	}
	return !call.End.Before(r.measure) && !call.End.After(r.end)
}

// conversation begins one. Those of the warm-up have indexes of their own, so that a seed and a count always measure the same.
func (r *run) conversation(due time.Time) *conversation {
	if due.IsZero() {
		due = time.Now()
	}
	var index uint64
	if due.Before(r.measure) {
		index = warmUp + r.warm.Add(1) - 1
	} else {
		index = r.next.Add(1) - 1
	}
	return r.o.Workload.start(r.o.API, index, r.shared)
}

// report tells Progress where the run stands until ctx ends.
func (r *run) report(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			p := load.Progress{WarmUp: now.Before(r.measure), Elapsed: now.Sub(r.measure)}
			if p.WarmUp {
				p.Elapsed = now.Sub(r.start)
			}
			p.Requests, p.Errors = r.record.counts()
			r.o.Progress(p)
		}
	}
}
