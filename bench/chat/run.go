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
	for range o.Concurrency {
		r.clients = append(r.clients, newClient(&o, t, r.arrived))
	}
	defer context.AfterFunc(ctx, func() { r.cancelled.Store(true); r.abort() })()

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var watch sync.WaitGroup
	apart := o.Rate == 0 && o.Count > 0 && o.WarmUp > 0
	r.begin(o.WarmUp, apart)
	if o.Progress != nil {
		watch.Go(func() { r.report(ctx) })
	}
	if apart {
		r.warmUp(ctx)
		r.begin(0, false)
	}
	if w := r.at(); o.Rate > 0 {
		r.pacer = load.NewPacer(o.Rate, o.Arrivals, o.Workload.Seed)
		watch.Go(func() { r.pacer.Run(ctx, w.start, w.end) })
	} else if !w.end.IsZero() {
		defer time.AfterFunc(time.Until(w.end), r.abort).Stop()
	}
	r.work(func(c *client) {
		defer c.disconnect()
		if o.Rate > 0 {
			r.open(ctx, c)
		} else {
			r.closed(ctx, c)
		}
	})
	cancel()
	watch.Wait()
	return r.result(), nil
}

// work runs f for every caller and waits for all.
func (r *run) work(f func(*client)) {
	var all sync.WaitGroup
	for _, c := range r.clients {
		all.Go(func() { f(c) })
	}
	all.Wait()
}

// warmUp is the load before a count of requests. It ends with its last answer: were the count begun before, the time that
// the server still spends on the warm-up would be counted with none of its tokens.
func (r *run) warmUp(ctx context.Context) {
	r.work(func(c *client) { r.closed(ctx, c) })
}

// run is the state that a run's goroutines share.
type run struct {
	o       *Options
	target  *target
	shared  []byte
	clients []*client
	record  *recorder
	pacer   *load.Pacer

	window atomic.Pointer[window]

	left      atomic.Int64  // requests of Count that nobody has claimed
	next      atomic.Uint64 // conversations begun in the measurement
	warm      atomic.Uint64 // and in the warm-up
	deltas    atomic.Uint64 // that arrived within the measurement
	stopped   atomic.Bool   // the run is over
	cancelled atomic.Bool   // before its time
}

// window is when a run begins and ends.
type window struct {
	start   time.Time // of the load
	measure time.Time // of the measurement
	end     time.Time // of both; zero where only a count ends them
	warming bool      // nothing is measured; what is still asked when measure has come is the last of it
}

// before says whether something that was due then is part of the warm-up.
func (w *window) before(due time.Time) bool { return w.warming || due.Before(w.measure) }

// begin sets the window: the measurement begins after a while, or, with warming, in another window.
func (r *run) begin(after time.Duration, warming bool) {
	w := &window{start: time.Now(), warming: warming}
	w.measure = w.start.Add(after)
	if r.o.Duration > 0 {
		w.end = w.measure.Add(r.o.Duration)
	}
	r.window.Store(w)
}

func (r *run) at() *window { return r.window.Load() }

// abort ends the run: requests in flight are given up.
func (r *run) abort() {
	r.stopped.Store(true)
	for _, c := range r.clients {
		c.abort()
	}
}

// arrived counts a delta.
func (r *run) arrived(now time.Time) {
	if w := r.at(); !w.before(now) && (w.end.IsZero() || !now.After(w.end)) {
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
	var talk *conversation
	var spoken []byte
	for turn := range r.o.Workload.Turns {
		sent := time.Now()
		if due.IsZero() || turn > 0 {
			due = sent
		}
		w := r.at()
		measured := !w.before(due)
		if r.stopped.Load() || (measured && !r.take()) || (w.warming && !due.Before(w.measure)) {
			return false
		}
		if turn == 0 {
			talk = r.conversation(measured)
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
	w := r.at()
	if r.o.Rate > 0 || r.o.Count > 0 {
		return measured && (r.o.Rate > 0 || w.end.IsZero() || !call.End.After(w.end))
	}
	return !w.before(call.End) && !call.End.After(w.end)
}

// conversation begins one. Those of the warm-up have indexes of their own, so that a seed and a count always measure the same.
func (r *run) conversation(measured bool) *conversation {
	var index uint64
	if measured {
		index = r.next.Add(1) - 1
	} else {
		index = warmUp + r.warm.Add(1) - 1
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
			w := r.at()
			p := load.Progress{WarmUp: w.before(now), Elapsed: now.Sub(w.measure)}
			if p.WarmUp {
				p.Elapsed = now.Sub(w.start)
			}
			p.Requests, p.Errors = r.record.counts()
			r.o.Progress(p)
		}
	}
}
