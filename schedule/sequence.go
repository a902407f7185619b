package schedule

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"serval"
)

// Sequences stands before a stateful model's queue: it lets the calls of one sequence through one after another, gives each
// the state that the last one left, and keeps what comes out. Calls of different sequences meet in the queue and share
// batches. It is a serval.Handler and safe for concurrent use.
//
// A sequence is let go, state and place, at its end, after the idle time-out, and when one of its calls fails or is dropped:
// its state is then no longer what the client believes, so later calls are told to start anew instead of being answered
// wrongly. A call that task/predict refuses never gets here and changes nothing.
type Sequences struct {
	*Model  // the queue
	plan    sequencePlan
	most    int // sequences at the same time
	idleFor time.Duration
	slots   chan struct{} // holds one for each live sequence

	mu      sync.Mutex // guards what follows
	live    map[sequenceKey]*sequence
	waiting int // calls that wait for a slot or a turn
	closed  chan struct{}
	reaper  sync.WaitGroup
}

// sequenceKey tells sequences apart: an id is its tenant's own.
type sequenceKey struct{ tenant, id string }

// sequence is one client's. turn is held by the call that is at work; kept belongs to the holder.
type sequence struct {
	key  sequenceKey
	turn chan struct{} // has room for one; Go serves its waiters in the order in which they came
	kept kept

	calls int       // that hold or want the turn; guarded by Sequences.mu, as what follows
	used  time.Time // when the last call left
	over  error     // why it can only begin anew; nil: it goes on
}

var errEnded = errors.New("it has ended")

// Defaults of model.yaml's sequence.
const (
	DefaultIdle      = 30 * time.Second
	DefaultSequences = 1024
)

func newSequences(s *serval.SequenceSettings, plan sequencePlan, queue *Model) *Sequences {
	q := &Sequences{Model: queue, plan: plan, most: s.MaxSequences, idleFor: s.IdleTimeout, slots: make(chan struct{}, s.MaxSequences),
		live: map[sequenceKey]*sequence{}, closed: make(chan struct{})}
	q.reaper.Add(1)
	go q.reap()
	return q
}

// Handle runs one call of a sequence.
func (q *Sequences) Handle(ctx context.Context, req *serval.Request, sink serval.Sink) error {
	in, ok := req.Input.(*serval.Tensors)
	if !ok {
		return serval.Errorf(serval.InvalidArgument, "%s takes tensors", q.what)
	}
	begun, deadline := time.Now(), req.Deadline
	if own, delay := q.patience(&entry{level: q.level(req.Priority)}, req); own > 0 && !delay {
		if at := begun.Add(own); deadline.IsZero() || at.Before(deadline) {
			req.Deadline = at // of the wait here and in the queue together
		}
	}
	defer func() { req.Input, req.Deadline = in, deadline }()
	s, err := q.enter(ctx, req)
	if err != nil {
		return err
	}
	waited := time.Since(begun)
	list, err := q.plan.inputs(&s.kept, in.List, req.Sequence)
	if err != nil {
		q.leave(s, err)
		return err
	}
	req.Input = &serval.Tensors{List: list}
	keep := &keeper{plan: &q.plan, kept: &s.kept, sink: sink}
	err = q.Model.Handle(ctx, req, keep)
	req.Timing.Queue += waited
	if !keep.done && err == nil {
		err = fmt.Errorf("%s: the engine gave no answer", q.what)
	}
	switch {
	case !keep.done:
		q.leave(s, err)
	case req.Sequence.End:
		q.leave(s, errEnded)
	default:
		q.leave(s, nil)
	}
	return err
}

// enter finds or makes the call's sequence and takes its turn.
func (q *Sequences) enter(ctx context.Context, req *serval.Request) (*sequence, error) {
	where := req.Sequence
	if where.ID == "" {
		return nil, serval.Errorf(serval.InvalidArgument, "inference request to %s must specify a non-zero or non-empty sequence_id: the model keeps state", q.what).At("sequence_id")
	}
	s, err := q.join(ctx, req)
	if err != nil {
		return nil, err
	}
	if err := q.await(ctx, req, s.turn, "for the requests of its sequence that came before it"); err != nil {
		q.mu.Lock()
		q.out(s, err) // a call of the sequence is missing now
		q.mu.Unlock()
		return nil, err
	}
	q.mu.Lock()
	over := s.over
	if where.Start { // also where the last one did not end: the client begins anew
		s.over = nil
	}
	q.mu.Unlock()
	switch {
	case where.Start:
		s.kept.forget()
	case over == errEnded:
		q.leave(s, nil)
		return nil, q.notStarted(where.ID)
	case over != nil:
		q.leave(s, nil)
		return nil, serval.Errorf(serval.InvalidArgument, "sequence '%s' of %s was broken by an earlier request (%v); begin anew with the START flag", where.ID, q.what, over).At("sequence_start")
	}
	return s, nil
}

func (q *Sequences) notStarted(id string) error {
	return serval.Errorf(serval.InvalidArgument, "inference request for sequence '%s' to %s must specify the START flag on the first request of the sequence; a sequence is let go at its end, when a request of it fails, and after %v without a request", id, q.what, q.idleFor).At("sequence_start")
}

// join counts the call in at its sequence, which it makes for a first call.
func (q *Sequences) join(ctx context.Context, req *serval.Request) (*sequence, error) {
	key := sequenceKey{req.Tenant, req.Sequence.ID}
	q.mu.Lock()
	if s := q.live[key]; s != nil {
		s.calls++
		q.mu.Unlock()
		return s, nil
	}
	q.mu.Unlock()
	if !req.Sequence.Start {
		return nil, q.notStarted(key.id)
	}
	if err := q.await(ctx, req, q.slots, fmt.Sprintf("for one of %d sequences to end (sequence.max_sequences)", q.most)); err != nil {
		return nil, err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	s := q.live[key]
	if s != nil { // two starts at the same time
		<-q.slots
	} else {
		s = &sequence{key: key, turn: make(chan struct{}, 1)}
		q.live[key] = s
	}
	s.calls++
	return s, nil
}

// await puts a token into ch, a slot or a turn, or says why it could not be waited for.
func (q *Sequences) await(ctx context.Context, req *serval.Request, ch chan struct{}, what string) error {
	select {
	case ch <- struct{}{}:
		return nil
	default:
	}
	q.mu.Lock()
	if q.waiting >= q.limit {
		q.mu.Unlock()
		q.stats.refuse(refusedFull, 0)
		return serval.Errorf(serval.Unavailable, "%s is overloaded: %d requests wait already, which is its queue.limit; try again later", q.what, q.limit).After(time.Second)
	}
	q.waiting++
	q.mu.Unlock()
	begun := time.Now()
	if !req.Deadline.IsZero() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, req.Deadline)
		defer cancel()
	}
	err := serval.ErrRetired
	select {
	case ch <- struct{}{}:
		err = nil
	case <-ctx.Done():
		err = ctx.Err()
	case <-q.closed:
	}
	q.mu.Lock()
	q.waiting--
	q.mu.Unlock()
	took := time.Since(begun)
	switch err {
	case context.DeadlineExceeded:
		q.stats.refuse(refusedDeadline, took)
		return serval.Errorf(serval.DeadlineExceeded, "%s: the deadline passed after %v, while the request waited %s", q.what, took.Round(time.Microsecond), what).Because(err)
	case context.Canceled:
		q.stats.refuse(refusedCanceled, took)
		return serval.AsError(err)
	}
	return err
}

// leave gives the turn back. over says why the sequence does not go on; nil leaves it as it is.
func (q *Sequences) leave(s *sequence, over error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	<-s.turn
	q.out(s, over)
}

// out takes a call out of its sequence. q.mu is held.
func (q *Sequences) out(s *sequence, over error) {
	s.calls--
	s.used = time.Now()
	if s.over == nil {
		s.over = over
	}
	if s.over != nil && s.calls == 0 {
		q.drop(s)
	}
}

// drop forgets a sequence that no call is in. q.mu is held.
func (q *Sequences) drop(s *sequence) {
	delete(q.live, s.key)
	<-q.slots
}

// reap drops sequences whose clients have gone.
func (q *Sequences) reap() {
	defer q.reaper.Done()
	tick := time.NewTicker(max(q.idleFor/4, 10*time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-q.closed:
			return
		case now := <-tick.C:
			q.mu.Lock()
			for _, s := range q.live {
				if s.calls == 0 && now.Sub(s.used) > q.idleFor {
					q.drop(s)
				}
			}
			q.mu.Unlock()
		}
	}
}

// Stats adds the sequences to the queue's.
func (q *Sequences) Stats() serval.Stats {
	s := q.Model.Stats()
	q.mu.Lock()
	defer q.mu.Unlock()
	s.Sequences = len(q.live)
	s.Waiting += q.waiting
	return s
}

// Close ends as the model's own Close does; sequences end with it.
func (q *Sequences) Close() error {
	err := q.Model.Close()
	close(q.closed)
	q.reaper.Wait()
	return err
}

// keeper takes the states out of an answer and passes the rest on.
type keeper struct {
	plan *sequencePlan
	kept *kept
	sink serval.Sink
	done bool
}

// Send keeps what the sequence needs before anything can go wrong on the way to the client.
func (k *keeper) Send(c *serval.Chunk) error {
	out, ok := c.Output.(*serval.Tensors)
	if !ok {
		return k.sink.Send(c)
	}
	visible, err := k.plan.keep(k.kept, out.List)
	if err != nil {
		return err
	}
	k.done = true
	d := *c
	d.Output = &serval.Tensors{List: visible}
	return k.sink.Send(&d)
}
