package stream

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"serval"
)

// Worker is one stream. New makes it, Run runs it to its end; the other methods are for any goroutine.
type Worker struct {
	opt   Options
	ample bool // Options have no MaxInFlight
	count counts

	mu     sync.Mutex // guards what follows
	paused bool
	state  serval.StreamState
	reason string
	now    *run // nil: the broker is not reached
	exact  bool
}

// New makes a worker that has not begun.
func New(o Options) *Worker {
	w := &Worker{opt: o.filled(), ample: o.MaxInFlight <= 0, state: serval.StreamStopped}
	w.count.dead, w.count.retries = map[string]uint64{}, map[string]uint64{}
	return w
}

// Name is the stream's.
func (w *Worker) Name() string { return w.opt.Name }

// Run works until ctx ends; then it reads no more, finishes what is under way within Options.Drain, and returns. What was not
// finished by then is given out again by the broker.
func (w *Worker) Run(ctx context.Context) {
	defer w.set(serval.StreamStopped, "")
	wait := time.Duration(0)
	for ctx.Err() == nil {
		w.set(serval.StreamStarting, "")
		began := time.Now()
		err := w.session(ctx)
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) > time.Minute {
			wait = 0
		}
		wait = w.opt.Retry.next(wait)
		w.opt.Log.Warn("stream: starting anew", "stream", w.opt.Name, "error", err, "after", wait.String())
		w.set(serval.StreamWaiting, err.Error())
		sleep(ctx, wait)
	}
}

// session opens the ends and works until ctx ends or an end is of no more use.
func (w *Worker) session(ctx context.Context) (err error) {
	r := newRun(w)
	defer r.close()
	var dead Target
	if w.opt.Dead != nil {
		if dead, err = w.opt.Dead(ctx, r); err != nil {
			return fmt.Errorf("dead letters: %w", err)
		}
		defer func() { err = errors.Join(err, dead.Close()) }()
	}
	src, dst, err := w.opt.Open(ctx, r)
	if err != nil {
		return err
	}
	// A Session is both ends, and closed once. The source goes first: what it still acks was written.
	s, exact := src.(Session)
	if exact {
		defer func() { err = errors.Join(err, s.Close()) }()
	} else {
		defer func() { err = errors.Join(err, src.Close(), dst.Close()) }()
	}
	r.src, r.dst, r.dead = src, dst, dead
	if _, ok := dst.(Deferred); ok && w.ample {
		w.opt.MaxInFlight = gatherMost
	}
	if exact {
		r.session = s
		if l, ok := src.(Lettered); ok && dead == nil {
			if letters := l.Letters(); letters != nil {
				r.dead = letters
			}
		}
	}
	w.attach(r)
	defer w.attach(nil)
	err = r.loop(ctx)
	r.close() // closing the source may call Revoke, which must not wait for a loop that has ended
	return err
}

func (w *Worker) attach(r *run) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.now = r; r != nil {
		w.state, w.reason, w.exact = serval.StreamRunning, "", r.session != nil
	}
}

// set notes the state; w.paused shows through in Status.
func (w *Worker) set(s serval.StreamState, reason string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.state, w.reason = s, reason
}

// trouble notes why the stream waits; "" says that it works again.
func (w *Worker) trouble(reason string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case reason != "" && (w.state == serval.StreamRunning || w.state == serval.StreamWaiting):
		w.state, w.reason = serval.StreamWaiting, reason
	case reason == "" && w.state == serval.StreamWaiting:
		w.state, w.reason = serval.StreamRunning, ""
	}
}

// Pause stops reading; what is under way is finished. Resume reads on where it stopped.
func (w *Worker) Pause()  { w.pause(true) }
func (w *Worker) Resume() { w.pause(false) } // Resume undoes Pause.

func (w *Worker) pause(on bool) {
	w.mu.Lock()
	w.paused = on
	r := w.now
	w.mu.Unlock()
	if r != nil {
		r.do(func() { r.paused = on })
	}
}

// Status says what is known of the stream now.
func (w *Worker) Status() serval.StreamStatus {
	s := w.count.status()
	o := &w.opt
	s.Name, s.Tenant, s.Model, s.From, s.To, s.Lag, s.Delivery = o.Name, o.Tenant, o.Model.String(), o.From, o.To, -1, "at-least-once"
	w.mu.Lock()
	r := w.now
	s.State, s.Reason = w.state, w.reason
	if w.exact || o.Once {
		s.Delivery = "exactly-once"
	}
	if w.paused && (s.State == serval.StreamRunning || s.State == serval.StreamWaiting) {
		s.State = serval.StreamPaused
	}
	w.mu.Unlock()
	if r != nil {
		s.Lag = r.src.Lag()
		reply := make(chan serval.StreamStatus, 1)
		if r.do(func() { reply <- serval.StreamStatus{InFlight: r.inFlight, Bytes: r.bytes, Oldest: r.oldest()} }) {
			now := <-reply
			s.InFlight, s.Bytes, s.Oldest = now.InFlight, now.Bytes, now.Oldest
		}
	}
	return s
}

// next is the wait after one of d: doubled, and a little off, so that many do not come back at once.
func (r *Retry) next(d time.Duration) time.Duration {
	d = min(max(2*d, r.Min), r.Max)
	return d - time.Duration(rand.Int64N(int64(d)/5+1))
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
