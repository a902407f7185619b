package schedule

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"serval"
	"serval/engine"
)

// Streams runs a Decoder: one goroutine admits calls and steps all live sequences together. It is a serval.Handler and
// safe for concurrent use.
type Streams struct {
	what  string
	limit int
	slots int // sequences that are stepped together, where the model says; 0: it does not
	model engine.Decoder
	cache engine.Cached // the model, where it says
	stats stats
	loop  sync.WaitGroup
	ctx   context.Context
	stop  context.CancelFunc
	wake  chan struct{} // has room for one

	timeout time.Duration

	urgent   atomic.Int64 // calls inside that are not in the background
	made     time.Time
	trickled atomic.Int64 // when one in the background last got on beside them, in nanoseconds since made: the wall clock may go back

	mu      sync.Mutex // guards what follows
	waiting []*stream  // the most urgent first, of equal ones the older
	pace    pace
	tokens  serval.Usage
	live    map[*stream]struct{} // that the decoder has
	used    int                  // of the cache, and its size
	size    int
	broken  error // why it takes no more calls
	closing bool
	inside  sync.WaitGroup // calls that have not ended; Add only while not closing
}

// streamBuffer is how many chunks a slow reader may fall behind before its sequence pauses, and stallLimit how long it may
// stay so before it is cancelled.
const (
	streamBuffer = 32
	stallLimit   = 30 * time.Second
)

func newStreams(what string, s serval.ModelSettings, model engine.Decoder) *Streams {
	m := &Streams{what: what, limit: s.Queue.Limit, timeout: s.Queue.Timeout, model: model, live: map[*stream]struct{}{}, wake: make(chan struct{}, 1), made: time.Now()}
	if l, ok := model.(engine.Language); ok {
		m.slots = l.Language().Slots
	}
	if m.cache, _ = model.(engine.Cached); m.cache != nil {
		m.used, m.size = m.cache.Cache() // nobody else has the model yet
	}
	m.trickled.Store(-int64(trickleEvery))
	m.ctx, m.stop = context.WithCancel(context.Background())
	m.stats.init()
	m.loop.Add(1)
	go m.run()
	return m
}

// Handle runs one call and sends its chunks as they come.
func (m *Streams) Handle(ctx context.Context, req *serval.Request, sink serval.Sink) error {
	s := &stream{ready: make(chan struct{}, 1), over: make(chan struct{}), began: time.Now(), owner: m, priority: req.Priority}
	s.call = engine.Call{Rows: 1, Stream: s}
	_, text := m.model.(engine.Language)
	switch in := req.Input.(type) {
	case *serval.Tensors:
		if text {
			return serval.Errorf(serval.InvalidArgument, "%s takes text, not tensors", m.what)
		}
		s.call.Inputs = in.List
	case *serval.Generate, *serval.Encode:
		if !text {
			return serval.Errorf(serval.InvalidArgument, "%s takes tensors, not text", m.what)
		}
		s.call.Input = in
		_, s.text = in.(*serval.Generate)
	default:
		return serval.Errorf(serval.InvalidArgument, "%s does not take this kind of input", m.what)
	}
	if err := m.enter(s); err != nil {
		return err
	}
	if m.timeout > 0 { // of waiting, not of the answer
		late := time.AfterFunc(m.timeout, func() { m.late(s) })
		defer late.Stop()
	}
	if deadline := req.Deadline; !deadline.IsZero() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, deadline)
		defer cancel()
	}
	err := s.deliver(ctx, sink, m.nudge)
	var own *serval.Error
	switch {
	case err == serval.ErrEnough:
		m.leave(s)
		err = nil
	case errors.As(err, &own): // the receiver's, or the call's own
		m.leave(s)
	}
	if at := s.admittedAt(); !at.IsZero() {
		req.Timing.Queue, req.Timing.Compute = at.Sub(s.began), time.Since(at)
	}
	if !errors.Is(err, errLeft) {
		m.stats.call(req.Timing, time.Since(s.began), err == nil)
		return err
	}
	m.leave(s)
	took := time.Since(s.began)
	switch ctx.Err() {
	case nil:
		m.stats.refuse(refusedCanceled, took)
		return serval.Errorf(serval.Canceled, "the client stopped reading")
	case context.DeadlineExceeded:
		m.stats.refuse(refusedDeadline, took)
		return serval.Errorf(serval.DeadlineExceeded, "%s: the deadline passed after %v", m.what, took.Round(time.Millisecond)).Because(ctx.Err())
	}
	m.stats.refuse(refusedCanceled, took)
	return serval.AsError(ctx.Err())
}

// late ends a call that still waits after queue.timeout.
func (m *Streams) late(s *stream) {
	if m.take(s) {
		s.End(serval.Errorf(serval.DeadlineExceeded, "%s: the request waited %v for a slot, which is its queue.timeout", m.what, m.timeout).After(m.timeout))
	}
}

// take removes a call from those that wait; false if it is not among them.
func (m *Streams) take(s *stream) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	at := slices.Index(m.waiting, s)
	if at >= 0 {
		m.waiting = slices.Delete(m.waiting, at, at+1)
	}
	return at >= 0
}

// leave drops a call that still waits, or waits until the decoder, which reads the inputs, dropped its sequence.
func (m *Streams) leave(s *stream) {
	if m.take(s) {
		s.End(errLeft)
		return
	}
	s.cancel()
	m.nudge()
	<-s.over
}

func (m *Streams) enter(s *stream) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.closing:
		return serval.ErrRetired
	case m.broken != nil:
		return m.broken
	case len(m.waiting) >= m.limit+max(0, m.slots-len(m.live)):
		m.stats.refuse(refusedFull, 0)
		wait := m.pace.of(len(m.waiting) + 1)
		return serval.Errorf(serval.Unavailable, "%s is overloaded: %d requests are answered and %d wait, which is its queue.limit; the next place is free in about %v", m.what, len(m.live), len(m.waiting), wait.Round(100*time.Millisecond)).
			After(max(wait, time.Second))
	}
	m.inside.Add(1)
	if s.priority != serval.Background {
		m.urgent.Add(1)
	}
	at := len(m.waiting)
	for at > 0 && urgency(m.waiting[at-1].priority) > urgency(s.priority) {
		at--
	}
	m.waiting = slices.Insert(m.waiting, at, s)
	m.nudge()
	return nil
}

// back puts a call that found no room before its equals. m.mu is held.
func (m *Streams) back(s *stream) {
	at := 0
	for at < len(m.waiting) && urgency(m.waiting[at].priority) < urgency(s.priority) {
		at++
	}
	m.waiting = slices.Insert(m.waiting, at, s)
}

// urgency orders priorities: 1 first, and 0, which is not said, as 2: see serval.Request.
func urgency(p int8) int8 {
	if p == 0 {
		return 2
	}
	return p
}

// nudge tells the decode loop that a call came or that a reader made room.
func (m *Streams) nudge() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// run is the decode loop. A panic of the decoder ends the calls inside; it is not asked again. It keeps its thread: a library that
// computes with OpenMP makes a team of threads for each thread that calls it, and teams that are not at work spin against the one
// that is.
func (m *Streams) run() {
	runtime.LockOSThread() // for good: the thread ends with the loop
	defer m.loop.Done()
	defer func() {
		if p := recover(); p != nil {
			m.fail(fmt.Errorf("the engine panicked: %v\n%s", p, debug.Stack()))
		}
	}()
	live, looked := 0, time.Time{}
	for {
		if live == 0 && m.idle() {
			select {
			case <-m.wake:
			case <-m.ctx.Done():
				return
			}
		}
		if live += m.admit(live); live == 0 {
			continue
		}
		start := time.Now()
		n, err := m.model.Step(m.ctx)
		m.stats.batch(int64(live), closedDrained, serval.Timing{Compute: time.Since(start)}, start)
		live = n
		looked = m.look(live, start, looked)
		switch err {
		case nil:
		case engine.ErrStalled:
			m.pause()
		default:
			live = 0 // the decoder ended its calls with the error
		}
	}
}

// lookEvery is how often a busy model is asked how full its cache is, which takes it as long as there are tokens in it.
const lookEvery = 100 * time.Millisecond

// look remembers how full the cache is, and says when it looked last.
func (m *Streams) look(live int, now, last time.Time) time.Time {
	if m.cache == nil || live > 0 && now.Sub(last) < lookEvery {
		return last
	}
	used, size := m.cache.Cache()
	m.mu.Lock()
	m.used, m.size = used, size
	m.mu.Unlock()
	return now
}

// idle says that nobody waits: then the loop sleeps until a call comes.
func (m *Streams) idle() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.waiting) == 0
}

// fail ends every call inside with an error, and every later one.
func (m *Streams) fail(err error) {
	m.mu.Lock()
	m.broken = err
	inside := append(m.waiting, slices.Collect(maps.Keys(m.live))...)
	m.waiting = nil
	m.mu.Unlock()
	for _, s := range inside {
		s.End(err)
	}
}

// pause waits until a reader made room; the time limit is for readers that will be cancelled.
func (m *Streams) pause() {
	t := time.NewTimer(50 * time.Millisecond)
	defer t.Stop()
	select {
	case <-m.wake:
	case <-t.C:
	case <-m.ctx.Done():
	}
}

// admit hands waiting calls to the decoder until it has no room, and returns how many it took.
func (m *Streams) admit(live int) (taken int) {
	for {
		m.mu.Lock()
		if len(m.waiting) == 0 {
			m.mu.Unlock()
			return taken
		}
		s := m.waiting[0]
		if s.priority == serval.Background && m.urgent.Load() > 0 && m.youngest() != nil {
			m.mu.Unlock()
			return taken
		}
		m.waiting = m.waiting[1:]
		m.live[s] = struct{}{}
		m.mu.Unlock()
		err := m.model.Admit(&s.call)
		switch {
		case err == nil:
			s.admit(time.Now())
			taken++
		case err == engine.ErrNoRoom && live+taken > 0: // there will be, once a sequence has ended
			m.mu.Lock()
			delete(m.live, s)
			m.back(s)
			if s.priority != serval.Background {
				m.yield()
			}
			m.mu.Unlock()
			if s.Canceled() { // its reader left meanwhile, and did not find it among those that wait
				m.drop(s)
				continue
			}
			return taken
		case err == engine.ErrNoRoom:
			s.End(serval.Errorf(serval.ResourceExhausted, "%s has no room for this request, though it serves no other", m.what))
		default:
			s.End(err)
		}
	}
}

// Calls in the background stand still while others are inside: their sequences keep their places and what they have, but take no
// part in the steps, but for a token of one of them now and then, so that they get on however busy the model is. A call that finds
// no room takes the place of the youngest of them, which is answered Unavailable and comes again.

// trickleEvery is how often a sequence in the background gets on beside others.
const trickleEvery = 100 * time.Millisecond

// held says whether a sequence in the background stands still.
func (m *Streams) held() bool {
	if m.urgent.Load() == 0 {
		return false
	}
	now, last := int64(time.Since(m.made)), m.trickled.Load()
	return now-last < int64(trickleEvery) || !m.trickled.CompareAndSwap(last, now)
}

// youngest is the call in the background that the decoder took last; nil: it has none. m.mu is held.
func (m *Streams) youngest() (last *stream) {
	for s := range m.live {
		if s.priority == serval.Background && (last == nil || s.began.After(last.began)) {
			last = s
		}
	}
	return last
}

// yield has the youngest call in the background leave its place, unless one is leaving. m.mu is held.
func (m *Streams) yield() {
	for s := range m.live {
		if s.priority == serval.Background && s.Canceled() {
			return
		}
	}
	if s := m.youngest(); s != nil {
		s.displace(serval.Errorf(serval.Unavailable, "%s needs the place of this request, which is in the background, for another one; try again", m.what))
	}
}

// drop ends a call that waits, if it still does.
func (m *Streams) drop(s *stream) {
	if m.take(s) {
		s.End(context.Canceled)
	}
}

// Batching says that sequences are stepped together.
func (m *Streams) Batching() serval.Batching {
	return serval.Batching{On: true, Reason: "sequences are stepped together"}
}

// Stats is what happened since it was opened.
func (m *Streams) Stats() serval.Stats {
	st := m.stats.snapshot()
	m.mu.Lock()
	st.Waiting, st.Instances, st.Sequences, st.Tokens = len(m.waiting), 1, len(m.live), m.tokens
	st.CacheUsed, st.CacheSize = m.used, m.size
	m.mu.Unlock()
	return st
}

// Close refuses new calls with ErrRetired, lets those inside finish, and closes the decoder.
func (m *Streams) Close() error {
	m.mu.Lock()
	m.closing = true
	m.mu.Unlock()
	m.inside.Wait()
	m.stop()
	m.loop.Wait()
	return m.model.Close()
}

// ended counts a call out.
func (m *Streams) ended(s *stream) {
	m.mu.Lock()
	if _, live := m.live[s]; live {
		m.pace.ended(time.Now(), len(m.waiting) > 0)
	}
	m.tokens.Add(s.usage)
	delete(m.live, s)
	m.mu.Unlock()
	if s.priority != serval.Background && m.urgent.Add(-1) == 0 {
		m.nudge() // those in the background go on
	}
	m.inside.Done()
}
