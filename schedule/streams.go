package schedule

import (
	"context"
	"errors"
	"sync"
	"time"

	"serval"
	"serval/engine"
)

// Streams runs a Decoder: one goroutine admits calls and steps all live sequences together. It is a serval.Handler and
// safe for concurrent use.
type Streams struct {
	what  string
	limit int
	model engine.Decoder
	stats stats
	loop  sync.WaitGroup
	ctx   context.Context
	stop  context.CancelFunc
	wake  chan struct{} // has room for one

	mu      sync.Mutex // guards what follows
	waiting []*stream
	closing bool
	inside  sync.WaitGroup // Handles; Add only while not closing
}

// streamBuffer is how many chunks a slow reader may fall behind before its sequence pauses, and stallLimit how long it may
// stay so before it is cancelled.
const (
	streamBuffer = 32
	stallLimit   = 30 * time.Second
)

func newStreams(what string, s serval.ModelSettings, model engine.Decoder) *Streams {
	m := &Streams{what: what, limit: s.Queue.Limit, model: model, wake: make(chan struct{}, 1)}
	m.ctx, m.stop = context.WithCancel(context.Background())
	m.stats.init()
	m.loop.Add(1)
	go m.run()
	return m
}

// Handle runs one call and sends its chunks as they come.
func (m *Streams) Handle(ctx context.Context, req *serval.Request, sink serval.Sink) error {
	in, ok := req.Input.(*serval.Tensors)
	if !ok {
		return serval.Errorf(serval.InvalidArgument, "%s takes tensors", m.what)
	}
	s := &stream{ready: make(chan struct{}, 1), began: time.Now()}
	s.call = engine.Call{Inputs: in.List, Rows: 1, Stream: s}
	if err := m.enter(s); err != nil {
		return err
	}
	defer m.inside.Done()
	err := s.deliver(ctx, sink, m.nudge)
	if errors.Is(err, errLeft) {
		s.cancel()
		<-s.over // the decoder reads the inputs until it dropped the sequence
		m.stats.refuse(refusedCanceled, time.Since(s.began))
		if ctx.Err() != nil {
			return serval.AsError(ctx.Err())
		}
		return serval.Errorf(serval.Canceled, "the client stopped reading")
	}
	m.stats.call(req.Timing, time.Since(s.began), err == nil)
	return err
}

func (m *Streams) enter(s *stream) error {
	s.over = make(chan struct{})
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closing {
		return serval.ErrRetired
	}
	if len(m.waiting) >= m.limit {
		m.stats.refuse(refusedFull, 0)
		return serval.Errorf(serval.Unavailable, "%s is overloaded: %d requests wait already, which is its queue.limit; try again later", m.what, m.limit).After(time.Second)
	}
	m.inside.Add(1)
	m.waiting = append(m.waiting, s)
	m.nudge()
	return nil
}

// nudge tells the decode loop that a call came or that a reader made room.
func (m *Streams) nudge() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// run is the decode loop.
func (m *Streams) run() {
	defer m.loop.Done()
	live := 0
	for {
		if live == 0 {
			select {
			case <-m.wake:
			case <-m.ctx.Done():
				return
			}
		}
		if live += m.admit(); live == 0 {
			continue
		}
		start := time.Now()
		n, err := m.model.Step(m.ctx)
		m.stats.batch(int64(live), closedDrained, serval.Timing{Compute: time.Since(start)}, start)
		live = n
		switch err {
		case nil:
		case engine.ErrStalled:
			m.pause()
		default:
			live = 0 // the decoder ended its calls with the error
		}
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
func (m *Streams) admit() (taken int) {
	for {
		m.mu.Lock()
		if len(m.waiting) == 0 {
			m.mu.Unlock()
			return taken
		}
		s := m.waiting[0]
		m.mu.Unlock()
		err := error(nil)
		if !s.Canceled() {
			if err = m.model.Admit(&s.call); err == engine.ErrNoRoom {
				return taken
			}
			if err == nil {
				taken++
			} else {
				s.End(err)
			}
		} else {
			s.End(context.Canceled)
		}
		m.mu.Lock()
		m.waiting[0] = nil
		m.waiting = m.waiting[1:]
		m.mu.Unlock()
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
	st.Waiting, st.Instances = len(m.waiting), 1
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

var errLeft = errors.New("the reader left")

// stream carries one call's chunks from the decode loop to the goroutine of its Handle. It implements engine.Stream.
type stream struct {
	call  engine.Call
	began time.Time
	ready chan struct{} // something is there; has room for one
	over  chan struct{} // closed by End

	mu       sync.Mutex // guards what follows
	ring     []serval.Chunk
	ended    bool
	err      error
	canceled bool
	full     time.Time // since when the ring has no room
}

// Emit takes a chunk without blocking; see engine.Stream.
func (s *stream) Emit(c serval.Chunk) bool {
	s.mu.Lock()
	if len(s.ring) >= streamBuffer {
		if s.full.IsZero() {
			s.full = time.Now()
		} else if time.Since(s.full) > stallLimit && !s.canceled {
			s.canceled = true
			s.err = serval.Errorf(serval.Canceled, "the client did not read for %v", stallLimit)
		}
		s.mu.Unlock()
		return false
	}
	s.full = time.Time{}
	s.ring = append(s.ring, c)
	s.mu.Unlock()
	s.signal()
	return true
}

// End is the last word on the call; see engine.Stream.
func (s *stream) End(err error) {
	s.mu.Lock()
	s.ended = true
	if s.err == nil {
		s.err = err
	}
	s.mu.Unlock()
	close(s.over)
	s.signal()
}

// Canceled says that nobody reads any more.
func (s *stream) Canceled() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.canceled
}

func (s *stream) cancel() {
	s.mu.Lock()
	s.canceled = true
	s.mu.Unlock()
}

func (s *stream) signal() {
	select {
	case s.ready <- struct{}{}:
	default:
	}
}

// deliver sends chunks until the call ends, and calls room when a full ring was emptied; errLeft means that the reader went
// first.
func (s *stream) deliver(ctx context.Context, sink serval.Sink, room func()) error {
	var taken []serval.Chunk
	for {
		select {
		case <-s.ready:
		case <-ctx.Done():
			return errLeft
		}
		s.mu.Lock()
		taken, s.ring = s.ring, taken[:0]
		ended, err := s.ended, s.err
		s.mu.Unlock()
		if len(taken) >= streamBuffer {
			room()
		}
		for i := range taken {
			if sink.Send(&taken[i]) != nil {
				if ended {
					return err
				}
				return errLeft
			}
		}
		clear(taken)
		if ended {
			return err
		}
	}
}
