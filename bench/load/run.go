package load

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// afterFailure is how long a closed loop's caller waits after a call that did not reach the server.
const afterFailure = 5 * time.Millisecond

// Run puts the load on the server and measures it. It returns when the run is over and every goroutine of it has ended.
// A server that refuses or fails is a result, not an error; an error says that the options are wrong. When ctx ends
// early, calls in flight are given up and what was measured so far is returned.
func Run(ctx context.Context, o Options) (Result, error) {
	o, err := o.withDefaults()
	if err != nil {
		return Result{}, err
	}
	callers, closeAll, err := newCallers(&o)
	if err != nil {
		return Result{}, err
	}
	defer closeAll()
	r := newRun(&o)
	stopAborts := context.AfterFunc(ctx, func() {
		r.stopped.Store(true)
		for _, c := range callers {
			c.abort()
		}
	})
	defer stopAborts()

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r.begin()
	var work, watch sync.WaitGroup
	for i, c := range callers {
		rec := r.recorders[i%len(r.recorders)]
		work.Go(func() {
			if o.Rate > 0 {
				r.open(ctx, c, rec)
			} else {
				r.closed(ctx, c, rec)
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
	o         *Options
	recorders []*recorder
	pacer     *Pacer
	start     time.Time // of the load
	measure   time.Time // of the measurement
	end       time.Time // of both; zero where only a count ends them
	left      atomic.Int64
	stopped   atomic.Bool
}

func newRun(o *Options) *run {
	r := &run{o: o}
	for range min(o.Concurrency, maxRecorders) {
		r.recorders = append(r.recorders, newRecorder(o.Rate > 0))
	}
	if o.Rate > 0 {
		r.pacer = NewPacer(o.Rate, o.Arrivals, o.Seed)
	}
	r.left.Store(o.Count)
	return r
}

func (r *run) begin() {
	r.start = time.Now()
	r.measure = r.start.Add(r.o.WarmUp)
	if r.o.Duration > 0 {
		r.end = r.measure.Add(r.o.Duration)
	}
}

// take claims one of Count measured requests; it reports false when there is none left.
func (r *run) take() bool { return r.o.Count == 0 || r.left.Add(-1) >= 0 }

// closed calls again and again. What ends within the measurement counts.
func (r *run) closed(ctx context.Context, c caller, rec *recorder) {
	sent := time.Now()
	for !r.stopped.Load() {
		if r.o.Count > 0 && !sent.Before(r.measure) && !r.take() {
			return
		}
		out := c.call(ctx)
		end := time.Now()
		if (!r.end.IsZero() && end.After(r.end)) || r.stopped.Load() || givenUp(ctx, &out) {
			return
		}
		// With a count, exactly the calls that were claimed are measured.
		if (r.o.Count == 0 && !end.Before(r.measure)) || (r.o.Count > 0 && !sent.Before(r.measure)) {
			rec.add(&out, sent, sent, end)
		}
		sent = end
		if out.pause {
			time.Sleep(afterFailure)
			sent = time.Now()
		}
	}
}

// open calls when a request is due. What was due within the measurement counts, however late its answer.
func (r *run) open(ctx context.Context, c caller, rec *recorder) {
	for due := range r.pacer.Due() {
		measured := !due.Before(r.measure)
		if r.stopped.Load() || (measured && !r.take()) {
			return
		}
		sent := time.Now()
		out := c.call(ctx)
		end := time.Now()
		if measured && !r.stopped.Load() && !givenUp(ctx, &out) {
			rec.add(&out, due, sent, end)
		}
	}
}

// givenUp says whether the call failed because the run was ended early: gRPC's calls hear of that before stopped is set.
func givenUp(ctx context.Context, out *outcome) bool { return out.failure != "" && ctx.Err() != nil }

// report tells Progress where the run stands until ctx ends.
func (r *run) report(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			p := Progress{WarmUp: now.Before(r.measure), Elapsed: now.Sub(r.measure)}
			if p.WarmUp {
				p.Elapsed = now.Sub(r.start)
			}
			for _, rec := range r.recorders {
				requests, errors := rec.counts()
				p.Requests += requests
				p.Errors += errors
			}
			r.o.Progress(p)
		}
	}
}

func (r *run) result() Result {
	all := newRecorder(r.o.Rate > 0)
	for _, rec := range r.recorders {
		all.merge(rec)
	}
	res := Result{
		Addr: r.o.Addr, Model: r.o.Payload.Model, Format: r.o.Payload.Format, Rows: r.o.Payload.Rows,
		Concurrency: r.o.Concurrency, Rate: r.o.Rate,
		Requests: all.requests, ErrorsBy: all.errors, FirstError: all.first, Reconnects: all.reconnects,
		Sent: all.sent, Received: all.received, Latency: all.latency.Latency(), Service: all.service.Latency(),
	}
	if r.o.Rate > 0 {
		res.Arrivals = r.o.Arrivals
	}
	for _, n := range all.errors {
		res.Errors += n
	}
	// A closed loop of a fixed duration fills it; everything else lasts until its last answer.
	res.Elapsed = all.last.Sub(r.measure)
	if r.o.Duration > 0 && !r.stopped.Load() && (r.o.Count == 0 || r.left.Load() >= 0) {
		res.Elapsed = max(res.Elapsed, r.o.Duration)
	}
	res.Elapsed = max(res.Elapsed, 0)
	return res
}

// newCallers makes the clients of a run, and what closes them and all that they share.
func newCallers(o *Options) ([]caller, func(), error) {
	var list []caller
	if o.Payload.Format != Proto {
		var requests [][]byte
		for _, p := range o.payloads() {
			requests = append(requests, restRequest(o, &p))
		}
		for i := range o.Concurrency { // callers start apart, so that they do not all send the same
			list = append(list, &restCaller{o: o, requests: requests, next: i % len(requests)})
		}
		return list, func() { closeCallers(list) }, nil
	}
	conns, err := dialGRPC(o)
	if err != nil {
		return nil, nil, err
	}
	for i := range o.Concurrency {
		list = append(list, newGRPCCaller(o, conns[i%len(conns)], i))
	}
	return list, func() { closeCallers(list); closeConns(conns) }, nil
}

func closeCallers(list []caller) {
	for _, c := range list {
		c.close()
	}
}
