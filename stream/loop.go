package stream

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"serval"
)

// run is a worker between the opening of its source and its closing. One goroutine, loop, decides everything and owns every
// field that is not a channel; a reader, the callers and a writer do what it asks for, and tell it what came of it.
type run struct {
	w       *Worker
	src     Source
	dst     Target
	session Session // nil: at-least-once
	dead    Target  // nil: there is no place for dead letters

	asks     chan ask
	arrived  chan arrival
	work     chan []*item
	finished chan []*item
	writes   chan job
	written  chan result
	commands chan func()
	over     chan struct{} // closed when nobody listens to commands any more
	once     sync.Once

	hard    context.Context // of calls and writes; ends when the time to drain is over
	cut     context.CancelFunc
	paused  bool
	drain   bool
	reading context.CancelFunc // nil: nothing is being read
	calm    time.Time          // after an error: not read again before
	wait    time.Duration      // the last one after an error of the source
	calling int                // groups that callers have
	ailing  atomic.Bool        // the model's fault: callers said so
	group   atomic.Int64       // most messages in a call, as callers found
	writing bool
	leaving int // calls of Revoke that wait

	todo     []*item // to be called, oldest first
	later    delayed // to be called again when it is time
	ready    []*item // to be written
	gathered gathered
	inFlight int
	bytes    int64
	average  int64 // of a message's size
	lanes    map[*Lane]struct{}

	round round
	aside aside
}

// state is where an item stands.
type state uint8

const (
	waiting   state = iota // in todo
	called                 // a caller has it
	postponed              // in later
	answered               // it has a result, or a dead letter
	dropped                // its lane is somebody else's, or its transaction was undone
)

// item is a message under way. A caller owns it while it is called, the writer while it is written, else the loop.
type item struct {
	msg      Message
	state    state
	call     Call
	out      Message       // the result
	failed   *serval.Error // why there is none
	dropped  bool          // and there is no dead letter either
	after    time.Duration // of a failure that is tried again: when; 0: it is not
	attempts int           // that count against it
	wait     time.Duration // before the last attempt
	passed   uint64        // calls that had been answered then
	due      time.Time
	size     int64
}

// ask has the reader read.
type ask struct {
	ctx context.Context
	max int
}

// arrival is what it read.
type arrival struct {
	list []Message
	err  error
}

func newRun(w *Worker) *run {
	r := &run{
		w: w, asks: make(chan ask), arrived: make(chan arrival, 1), work: make(chan []*item, w.opt.Calls), finished: make(chan []*item, w.opt.Calls),
		writes: make(chan job), written: make(chan result, 1), commands: make(chan func()), over: make(chan struct{}),
		lanes: map[*Lane]struct{}{},
	}
	r.hard, r.cut = context.WithCancel(context.Background())
	return r
}

// close ends what may still wait for the loop.
func (r *run) close() { r.once.Do(func() { r.cut(); close(r.over) }) }

// do has the loop run f; false: the loop has ended and will not.
func (r *run) do(f func()) bool {
	select {
	case r.commands <- f:
		return true
	case <-r.over:
		return false
	}
}

// loop works until ctx ends and all is finished, or until the source or the session is broken.
func (r *run) loop(ctx context.Context) error {
	var helpers sync.WaitGroup
	helpers.Go(r.reader)
	helpers.Go(r.writer)
	for range r.w.opt.Calls {
		helpers.Go(r.caller)
	}
	err := r.decide(ctx)
	r.cut()
	if r.reading != nil {
		r.reading()
	}
	close(r.asks)
	close(r.work)
	close(r.writes)
	r.close() // a source that waits in Revoke inside Read must not wait for us
	helpers.Wait()
	return err
}

func (r *run) decide(ctx context.Context) error {
	r.w.mu.Lock()
	r.paused = r.w.paused
	r.w.mu.Unlock()
	if err := r.begin(); err != nil {
		return err
	}
	stop := ctx.Done()
	alarm := time.NewTimer(time.Hour)
	defer alarm.Stop()
	for {
		now := time.Now()
		r.wake(now)
		r.dispatch(now)
		r.write(now)
		r.turn(now)
		r.read(now)
		if r.drain && r.idle() {
			return nil
		}
		alarm.Reset(r.next(now))
		select {
		case a := <-r.arrived:
			if err := r.arrive(a); err != nil {
				return err
			}
		case group := <-r.finished:
			r.finish(group)
			r.more()
		case res := <-r.written:
			if err := r.wrote(res); err != nil {
				return err
			}
		case f := <-r.commands:
			f()
		case <-alarm.C:
		case <-stop:
			stop = nil
			r.drain = true
			r.w.set(serval.StreamDraining, "")
			limit := time.AfterFunc(r.w.opt.Drain, func() { r.do(func() { r.abandon() }) })
			defer limit.Stop()
		}
	}
}

// more takes what else has finished, so that it is written together.
func (r *run) more() {
	for range cap(r.finished) {
		select {
		case group := <-r.finished:
			r.finish(group)
		default:
			return
		}
	}
}

// idle says whether nothing is under way.
func (r *run) idle() bool {
	return r.inFlight == 0 && r.reading == nil && !r.writing && r.calling == 0 && !r.round.used
}

// next is how long the loop may sleep.
func (r *run) next(now time.Time) time.Duration {
	d := time.Hour
	at := func(t time.Time) {
		if !t.IsZero() {
			d = min(d, max(t.Sub(now), 0))
		}
	}
	if len(r.later) > 0 {
		at(r.later[0].due)
	}
	if r.calm.After(now) {
		at(r.calm)
	}
	if len(r.todo) > 0 && r.calling == 0 && r.aside.next.After(now) {
		at(r.aside.next)
	}
	at(r.round.alarm(now))
	if r.gathered.count > 0 && !r.writing {
		at(r.gathered.due)
	}
	return d
}

// abandon gives up what is under way: the time to drain is over.
func (r *run) abandon() {
	r.cut()
	r.dropAll()
}

// oldest is when the oldest message under way was made.
func (r *run) oldest() (t time.Time) {
	t = r.gathered.oldest
	see := func(list []*item) {
		for _, it := range list {
			if m := it.msg.Time; it.state != dropped && !m.IsZero() && (t.IsZero() || m.Before(t)) {
				t = m
			}
		}
	}
	for l := range r.lanes {
		see(l.queue[:min(1, len(l.queue))])
	}
	see(r.todo[:min(1, len(r.todo))])
	see(r.later[:min(1, len(r.later))])
	see(r.ready[:min(1, len(r.ready))])
	return t
}

// broken says whether an error asks for a new source.
func broken(err error) bool { return errors.Is(err, ErrBroken) }
