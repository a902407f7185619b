package batch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"serval"
)

// Runner does the jobs of one kind. Safe for concurrent use.
type Runner interface {
	// Kind is the word that a Record has for it.
	Kind() string
	// Run does a piece, or goes on with it. Once ctx has ended it keeps what is done and returns soon; what it returns then is
	// only looked at for its Measure, unless it is done.
	Run(ctx context.Context, t *Turn) Outcome
	// Remove removes the files of a job that is deleted.
	Remove(ctx context.Context, j *Record) error
}

// Turn is one worker's turn at a piece.
type Turn struct {
	*Lease
	// Progress notes how far the piece is; the next renewal tells the queue. It does not block.
	Progress func(Measure)
	// Log adds a line to the job's log; a line that cannot be written is lost.
	Log func(format string, args ...any)
	// Mine asks whether the piece is still this worker's: ErrLost if not. For what cannot be taken back.
	Mine func(context.Context) error
}

// Sweeper is what a Runner may be beside: it looks now and then for what its machine keeps of jobs that others have ended.
type Sweeper interface {
	Sweep(context.Context, Jobs) error
}

// WorkerOptions are what a Worker needs.
type WorkerOptions struct {
	Name    string // tells it from all others of the queue
	Queue   Leases
	Jobs    Jobs // to remove those whose time has passed
	Runners []Runner
	Width   int           // pieces at the same time; 0: none is taken, and old jobs are removed all the same
	Lease   time.Duration // a worker that was killed is replaced after that; 0: 30 s
	Poll    time.Duration // how often an idle worker looks for work of other processes; 0: 1 s
	Log     *slog.Logger
}

// Worker takes pieces from a queue and has them done.
type Worker struct {
	o     WorkerOptions
	kinds []string
	by    map[string]Runner
	wake  chan struct{}
}

// NewWorker makes a Worker; Run has it work.
func NewWorker(o WorkerOptions) *Worker {
	if o.Lease <= 0 {
		o.Lease = 30 * time.Second
	}
	if o.Poll <= 0 {
		o.Poll = time.Second
	}
	w := &Worker{o: o, by: map[string]Runner{}, wake: make(chan struct{}, 1)}
	for _, r := range o.Runners {
		w.kinds = append(w.kinds, r.Kind())
		w.by[r.Kind()] = r
	}
	return w
}

// Wake has an idle worker look for work at once: something was submitted.
func (w *Worker) Wake() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// Run works until ctx ends; pieces that are under way then are given back, and go on wherever they are taken next.
func (w *Worker) Run(ctx context.Context) {
	var all sync.WaitGroup
	for range w.o.Width {
		all.Go(func() { w.work(ctx) })
	}
	all.Go(func() { w.tidy(ctx) })
	all.Wait()
}

func (w *Worker) work(ctx context.Context) {
	for ctx.Err() == nil {
		l, err := w.o.Queue.Claim(ctx, w.o.Name, w.kinds, w.o.Lease)
		switch {
		case err != nil && ctx.Err() == nil:
			w.o.Log.Warn("the queue of jobs cannot be read", "error", err)
			w.rest(ctx, 5*w.o.Poll)
		case l != nil:
			w.Wake() // there may be more, for an idle neighbour
			w.do(ctx, l)
		default:
			w.rest(ctx, w.o.Poll)
		}
	}
}

func (w *Worker) rest(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-w.wake:
	case <-ctx.Done():
	}
}

// ordered is why a piece's context ended.
type ordered struct{ Order }

func (o ordered) Error() string { return "asked to " + string(o.Order) }

// do has one piece done and tells the queue how that went.
func (w *Worker) do(life context.Context, l *Lease) {
	log := w.o.Log.With("job", l.Job.ID, "piece", l.Piece.Number)
	ctx, stop := context.WithCancelCause(life)
	defer stop(nil)
	var mu sync.Mutex
	m := Measure{Done: -1}
	tell := func() Measure { mu.Lock(); defer mu.Unlock(); return m }
	t := &Turn{Lease: l, Progress: func(now Measure) { mu.Lock(); m = now; mu.Unlock() }, Log: func(format string, args ...any) {
		line := fmt.Sprintf(format, args...)
		if err := w.o.Queue.Log(context.WithoutCancel(ctx), l, line); err != nil && !errors.Is(err, ErrLost) {
			log.Warn("a line of a job's log is lost", "line", line, "error", err)
		}
	}, Mine: func(ctx context.Context) error {
		_, err := w.o.Queue.Renew(ctx, l, tell())
		return err
	}}
	renewed := make(chan struct{})
	go func() {
		defer close(renewed)
		w.renew(ctx, l, tell, stop)
	}()
	out := w.run(ctx, t)
	cause := context.Cause(ctx)
	stop(nil)
	<-renewed
	if out.Measure == (Measure{}) {
		out.Measure = tell()
	}
	done := out.Err == "" && !out.Again
	var o ordered
	switch {
	case errors.Is(cause, ErrLost):
		log.Warn("a job's piece was lost to another worker, or its job is gone")
		return
	case cause != nil && !done:
		out = Outcome{Again: true, Measure: out.Measure}
		if errors.As(cause, &o) {
			t.Log("stopped: %s", o.Order)
		} else {
			t.Log("the server stops after %d rows; the job goes on when one starts", out.Measure.Rows)
		}
	case out.Err != "":
		t.Log("%s", out.Err)
	}
	w.finish(life, l, out, log)
}

// run keeps a panic of a Runner from ending the process.
func (w *Worker) run(ctx context.Context, t *Turn) (out Outcome) {
	defer func() {
		if v := recover(); v != nil {
			w.o.Log.Error("a job panicked", "job", t.Job.ID, "panic", v, "stack", string(debug.Stack()))
			out = Outcome{Err: "internal error; the server's log has the cause"}
		}
	}()
	return w.by[t.Job.Kind].Run(ctx, t)
}

// renew keeps the lease until ctx ends, and ends it itself when the queue asks, or when the lease may be another's by now.
func (w *Worker) renew(ctx context.Context, l *Lease, tell func() Measure, stop context.CancelCauseFunc) {
	every := min(l.For/3, time.Second) // also for the progress and the orders
	tick := time.NewTicker(every)
	defer tick.Stop()
	held := time.Now().Add(l.For)
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		began := time.Now()
		ask, cancel := context.WithTimeout(ctx, max(every, l.For/3))
		o, err := w.o.Queue.Renew(ask, l, tell())
		cancel()
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, ErrLost), err != nil && time.Now().After(held):
			stop(ErrLost)
			return
		case err == nil && o != GoOn:
			stop(ordered{o})
			return
		case err == nil:
			held = began.Add(l.For)
		}
	}
}

// finish tells the queue, for as long as the lease lasts.
func (w *Worker) finish(life context.Context, l *Lease, out Outcome, log *slog.Logger) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(life), l.For)
	defer cancel()
	for wait := 50 * time.Millisecond; ; wait *= 2 {
		err := w.o.Queue.Finish(ctx, l, out)
		switch {
		case err == nil:
			if l.Piece.Stage == Close && out.Err == "" && !out.Again {
				log.Info("a job is done", "rows", l.Job.Tally.Rows, "bad", l.Job.Tally.Bad)
			}
			w.Wake() // the next piece may be ready
			return
		case errors.Is(err, ErrLost):
			log.Warn("a job's piece was lost to another worker, or its job is gone")
			return
		case sleepFor(ctx, wait) != nil:
			log.Warn("what became of a job's piece could not be stored; it is done again", "error", err)
			return
		}
	}
}

// tidyEvery is how often old jobs are looked for.
const tidyEvery = time.Minute

// tidy removes jobs whose time has passed.
func (w *Worker) tidy(ctx context.Context) {
	for {
		list, err := w.o.Jobs.Jobs(ctx, Filter{Removable: true})
		for i := 0; err == nil && i < len(list); i++ {
			err = w.Remove(ctx, list[i])
		}
		for _, r := range w.o.Runners {
			if s, ok := r.(Sweeper); ok && err == nil {
				err = s.Sweep(ctx, w.o.Jobs)
			}
		}
		if err != nil && ctx.Err() == nil {
			w.o.Log.Warn("old jobs could not be removed", "error", err)
		}
		if sleepFor(ctx, tidyEvery) != nil {
			return
		}
	}
}

// Remove deletes a job that has ended, and its files.
func (w *Worker) Remove(ctx context.Context, j *Record) error {
	if !j.State.Ended() {
		return serval.Errorf(serval.Conflict, "job '%s' is %s; cancel it first", j.ID, j.State).At("job")
	}
	if r := w.by[j.Kind]; r != nil {
		if err := r.Remove(ctx, j); err != nil {
			return err
		}
	}
	return w.o.Jobs.Delete(ctx, j.Tenant, j.ID)
}
