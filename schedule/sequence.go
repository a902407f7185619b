package schedule

import (
	"context"
	"slices"
	"sync"
	"time"

	"serval"
)

// Sequences stands before a stateful model's queue: it lets the calls of one sequence through one after another, gives each
// the state that the last one left, and keeps what comes out. Calls of different sequences meet in the queue and share
// batches. It is a serval.Handler and safe for concurrent use.
//
// A sequence whose call failed or was dropped half way is broken: its state is no longer what the client believes, so later
// calls are told to start anew instead of being answered wrongly.
type Sequences struct {
	Loaded // the model's queue
	what   string
	plan   sequencePlan
	limit  int
	idle   time.Duration
	slots  chan struct{} // one for each sequence

	mu     sync.Mutex // guards live
	live   map[string]*sequence
	closed chan struct{}
	reaper sync.WaitGroup
}

// sequence is one client's. turn is held by the call that is at work; what follows it belongs to the holder.
type sequence struct {
	id      string
	turn    chan struct{} // has room for one; Go serves its waiters in the order in which they came
	waiting int           // calls that hold or want the turn; guarded by Sequences.mu
	used    time.Time     // guarded by Sequences.mu

	state   [][]byte // by the plan's states
	history [][]byte
	broken  error
	ended   bool
}

// DefaultIdle is how long a sequence without a request is kept.
const DefaultIdle = 30 * time.Second

const defaultSequences = 1024

func newSequences(what string, s *serval.SequenceSettings, plan sequencePlan, next Loaded, room int) *Sequences {
	q := &Sequences{Loaded: next, what: what, plan: plan, limit: s.MaxSequences, idle: s.IdleTimeout, live: map[string]*sequence{}, closed: make(chan struct{})}
	if q.limit == 0 {
		if q.limit = defaultSequences; s.Strategy == "direct" {
			q.limit = room
		}
	}
	if q.idle == 0 {
		q.idle = DefaultIdle
	}
	q.slots = make(chan struct{}, q.limit)
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
	s, err := q.enter(ctx, req)
	if err != nil {
		return err
	}
	defer q.leave(s)
	list, err := q.plan.inputs(s, in.List, req.Sequence)
	if err != nil {
		return err
	}
	keep := &keeper{plan: &q.plan, sequence: s, sink: sink}
	req.Input = &serval.Tensors{List: list}
	err = q.Loaded.Handle(ctx, req, keep)
	req.Input = in
	switch {
	case !keep.kept && err != nil:
		s.broken = err
	case req.Sequence.End:
		s.ended = true
	}
	return err
}

// enter finds or makes the call's sequence and takes its turn.
func (q *Sequences) enter(ctx context.Context, req *serval.Request) (*sequence, error) {
	where := req.Sequence
	if where.ID == "" {
		return nil, serval.Errorf(serval.InvalidArgument, "inference request to %s must specify a non-zero or non-empty sequence_id: the model keeps state", q.what).At("sequence_id")
	}
	for {
		s, err := q.join(ctx, where)
		if err != nil {
			return nil, err
		}
		select {
		case s.turn <- struct{}{}:
		case <-ctx.Done():
			q.quit(s)
			return nil, serval.AsError(ctx.Err())
		}
		switch {
		case where.Start: // also where the last one did not end: the client began anew
			s.state, s.history, s.broken, s.ended = nil, nil, nil, false
			return s, nil
		case s.ended: // it ended while this call waited
			q.leave(s)
			continue
		case s.broken != nil:
			err := serval.Errorf(serval.InvalidArgument, "sequence '%s' of %s was broken by an earlier request (%v); begin anew with sequence_start", where.ID, q.what, s.broken).At("sequence_id")
			q.leave(s)
			return nil, err
		}
		return s, nil
	}
}

// join counts the call in at its sequence, which it makes for a first call.
func (q *Sequences) join(ctx context.Context, where serval.Sequence) (*sequence, error) {
	q.mu.Lock()
	if s := q.live[where.ID]; s != nil {
		s.waiting++
		q.mu.Unlock()
		return s, nil
	}
	q.mu.Unlock()
	if !where.Start {
		return nil, serval.Errorf(serval.InvalidArgument, "inference request for sequence '%s' to %s must specify the START flag on the first request of the sequence; a sequence is let go at its end and after %v without a request", where.ID, q.what, q.idle).At("sequence_start")
	}
	select {
	case q.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, serval.AsError(ctx.Err())
	case <-q.closed:
		return nil, serval.ErrRetired
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if s := q.live[where.ID]; s != nil { // two starts at the same time
		<-q.slots
		s.waiting++
		return s, nil
	}
	s := &sequence{id: where.ID, turn: make(chan struct{}, 1), waiting: 1, used: time.Now()}
	q.live[where.ID] = s
	return s, nil
}

// leave gives the turn back.
func (q *Sequences) leave(s *sequence) {
	ended := s.ended
	<-s.turn
	q.mu.Lock()
	defer q.mu.Unlock()
	s.waiting--
	s.used = time.Now()
	if ended && s.waiting == 0 {
		q.drop(s)
	}
}

func (q *Sequences) quit(s *sequence) {
	q.mu.Lock()
	defer q.mu.Unlock()
	s.waiting--
}

// drop forgets a sequence. q.mu is held.
func (q *Sequences) drop(s *sequence) {
	if q.live[s.id] == s {
		delete(q.live, s.id)
		<-q.slots
	}
}

// reap drops sequences whose clients have gone.
func (q *Sequences) reap() {
	defer q.reaper.Done()
	tick := time.NewTicker(max(q.idle/4, 10*time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-q.closed:
			return
		case now := <-tick.C:
			q.mu.Lock()
			for _, s := range q.live {
				if s.waiting == 0 && now.Sub(s.used) > q.idle {
					q.drop(s)
				}
			}
			q.mu.Unlock()
		}
	}
}

// Live is the number of sequences that have state.
func (q *Sequences) Live() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.live)
}

// Close ends as the model's own Close does; sequences end with it.
func (q *Sequences) Close() error {
	err := q.Loaded.Close()
	close(q.closed)
	q.reaper.Wait()
	return err
}

// keeper takes the states out of an answer and passes the rest on.
type keeper struct {
	plan     *sequencePlan
	sequence *sequence
	sink     serval.Sink
	kept     bool
}

func (k *keeper) Send(c *serval.Chunk) error {
	out, ok := c.Output.(*serval.Tensors)
	if !ok {
		return k.sink.Send(c)
	}
	visible := serval.Tensors{List: make([]serval.Tensor, 0, len(out.List))}
	s := k.sequence
	if s.state == nil {
		s.state = make([][]byte, len(k.plan.states))
	}
	for i := range out.List {
		if at := slices.IndexFunc(k.plan.states, func(st stateSlot) bool { return st.output == out.List[i].Name }); at >= 0 {
			s.state[at] = append(s.state[at][:0], out.List[i].Data...)
			continue
		}
		visible.List = append(visible.List, out.List[i])
	}
	k.kept = true
	d := *c
	d.Output = &visible
	return k.sink.Send(&d)
}
