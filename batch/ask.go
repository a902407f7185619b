package batch

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"serval"
)

// asker makes requests of a flight's rows and takes their answers. It is used by many goroutines at the same time.
type asker interface {
	// most is how many rows one request takes.
	most() int
	// request is that of rows [from, to); an error is InvalidArgument and refuses them.
	request(f *flight, from, to int) (serval.Input, error)
	// take copies a chunk's output into p.
	take(p *part, c *serval.Chunk) error
}

// front asks the model for a run: it retries what was only refused for now, and finds the rows that the model does not take.
type front struct {
	asker
	o     *Options
	ref   serval.Ref
	id    string
	slots chan struct{} // one for each request under way
	sleep func(context.Context, time.Duration) error

	mu       sync.Mutex
	retries  int64
	answered int64 // rows, with those of runs before this one
	refused  int64 // rows, in this run
	broken   int   // rows in a row that failed by a fault that is not theirs
}

// ends is an error that ends the job: more of it would not help.
type ends struct{ error }

func (e ends) Unwrap() error { return e.error }

const (
	manyRefused = 1000 // rows, before the first answer
	manyBroken  = 100
)

// fly asks for all rows of a flight. It returns with f's parts, refused rows and error set.
func (q *front) fly(ctx context.Context, f *flight) {
	n, most := len(f.good), q.most()
	var mu sync.Mutex // guards f's results
	if n <= most {
		if n > 0 {
			f.err = q.whole(ctx, f, &mu)
		}
	} else {
		f.err = q.side(ctx, f, &mu)
	}
	slices.SortFunc(f.parts, func(a, b part) int { return a.from - b.from })
	slices.Sort(f.refused)
}

// whole asks for a flight's rows by one request.
func (q *front) whole(ctx context.Context, f *flight, mu *sync.Mutex) error {
	if !q.enter(ctx) {
		return context.Cause(ctx)
	}
	defer func() { <-q.slots }()
	return q.ask(ctx, f, 0, len(f.good), mu)
}

// side asks for a flight's rows by several requests side by side, those with a common beginning after one another: a model of text
// then has read the beginning already.
func (q *front) side(ctx context.Context, f *flight, mu *sync.Mutex) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var asking sync.WaitGroup
	n, most := len(f.good), q.most()
	froms := make([]int, 0, (n+most-1)/most)
	for from := 0; from < n; from += most {
		froms = append(froms, from)
	}
	if o, ok := q.asker.(orderer); ok && most == 1 {
		o.order(f, froms)
	}
	for _, from := range froms {
		if !q.enter(ctx) {
			break
		}
		asking.Go(func() {
			defer func() { <-q.slots }()
			if err := q.ask(ctx, f, from, min(n, from+most), mu); err != nil {
				cancel(err)
			}
		})
	}
	asking.Wait()
	return context.Cause(ctx)
}

// orderer is an asker that knows a better order of a flight's rows than the one they have.
type orderer interface{ order(f *flight, rows []int) }

// enter takes a slot; false if ctx ended first.
func (q *front) enter(ctx context.Context) bool {
	select {
	case q.slots <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

// ask asks for rows [from, to), in halves where the model refuses them together.
func (q *front) ask(ctx context.Context, f *flight, from, to int, mu *sync.Mutex) error {
	err := q.insist(ctx, f, from, to, mu)
	var end ends
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.As(err, &end):
		return err
	case to-from > 1:
		middle := from + (to-from)/2
		if err := q.ask(ctx, f, from, middle, mu); err != nil {
			return err
		}
		return q.ask(ctx, f, middle, to, mu)
	}
	e := serval.AsError(err)
	mu.Lock()
	f.refused = append(f.refused, from)
	f.bad = append(f.bad, Bad{Row: f.good[from], Column: e.Param, Reason: e.Message, Raw: f.show(from)})
	mu.Unlock()
	return q.judge(e)
}

// judge ends the job where rows are refused one after the other for what is hardly their fault.
func (q *front) judge(e *serval.Error) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.refused++
	if e.Code == serval.Internal {
		q.broken++
	}
	switch {
	case q.broken >= manyBroken:
		return ends{serval.Errorf(serval.Unavailable, "the model failed on %d rows one after the other, the last time with: %s", q.broken, e.Message).Because(e)}
	case q.answered == 0 && q.refused >= manyRefused:
		return ends{serval.Errorf(serval.InvalidArgument, "the model refused each of the first %d rows, the last one with: %s", q.refused, e.Message).Because(e)}
	}
	return nil
}

// insist asks once more, later, as long as the model refuses to work for now. What it returns is nil, the rows' fault, or ends.
func (q *front) insist(ctx context.Context, f *flight, from, to int, mu *sync.Mutex) error {
	since, internal := time.Now(), 0
	for attempt := 0; ; attempt++ {
		err := q.once(ctx, f, from, to, mu)
		if err == nil || ctx.Err() != nil {
			return err
		}
		e := serval.AsError(err)
		switch e.Code {
		case serval.InvalidArgument, serval.TooLarge:
			return e
		case serval.Internal:
			if internal++; internal > 1 {
				return e
			}
			continue // at once: it is no matter of time
		case serval.DeadlineExceeded:
			if attempt > 1 && to-from > 1 {
				return e // in halves it may go
			}
		case serval.Unavailable, serval.ResourceExhausted, serval.Canceled:
		default:
			return ends{e}
		}
		if time.Since(since) > q.o.Patience {
			return ends{serval.Errorf(e.Code, "the model has not worked for %v: %s", q.o.Patience.Round(time.Second), e.Message).Because(e)}
		}
		q.mu.Lock()
		q.retries++
		q.mu.Unlock()
		wait := min(20*time.Millisecond<<min(attempt, 8), time.Second) // a place may be free long before the queue expects it
		if e.Code == serval.ResourceExhausted {
			wait = max(wait, e.RetryAfter) // a limit of the caller's own: sooner is in vain
		}
		if err := q.sleep(ctx, wait); err != nil {
			return err
		}
	}
}

// once sends one request.
func (q *front) once(ctx context.Context, f *flight, from, to int, mu *sync.Mutex) error {
	in, err := q.request(f, from, to)
	if err != nil {
		return err
	}
	p := part{from: from, to: to}
	now := time.Now()
	req := serval.Request{
		ID: fmt.Sprintf("%s-%d-%d", q.id, f.object, f.good[from]), Credential: q.o.Credential, Protocol: "batch", Model: q.ref, Input: in,
		Priority: q.o.Priority, Deadline: now.Add(q.o.Patience), Timeout: q.o.Patience, Timing: serval.Timing{Start: now},
	}
	var usage serval.Usage
	var lost error // what take said: on its way through the chain it becomes a client that left
	err = q.o.Handler.Handle(ctx, &req, serval.SinkFunc(func(c *serval.Chunk) error {
		usage.Add(c.Usage)
		lost = q.take(&p, c)
		return lost
	}))
	if lost != nil {
		return lost
	} else if err != nil {
		return err
	}
	if err := p.check(); err != nil {
		return ends{err}
	}
	mu.Lock()
	f.parts = append(f.parts, p)
	f.usage.Add(usage)
	mu.Unlock()
	q.mu.Lock()
	q.answered += int64(to - from)
	q.broken = 0
	q.mu.Unlock()
	return nil
}

// check sees to it that every row has its part of every output.
func (p *part) check() error {
	rows := int64(p.to - p.from)
	for i := range p.outputs {
		t := &p.outputs[i]
		if rows == 1 && (len(t.Shape) == 0 || t.Shape[0] != 1) { // a model without a dimension for rows
			t.Shape = append([]int64{1}, t.Shape...)
		}
		if t.Rows() != rows || len(t.Shape) == 0 {
			return serval.Errorf(serval.Unimplemented, "output '%s' has shape %s for %d rows: it is not one value a row, so the model cannot be used in batch; leave the output out with --want",
				t.Name, serval.ShapeString(t.Shape), rows).At(t.Name)
		}
	}
	return nil
}

// sleepFor waits, or ends early with ctx.
func sleepFor(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
