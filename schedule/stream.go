package schedule

import (
	"context"
	"errors"
	"sync"
	"time"

	"serval"
	"serval/engine"
)

var errLeft = errors.New("the reader left")

// stream carries one call's chunks from the decode loop to the goroutine of its Handle. It implements engine.Stream.
type stream struct {
	call     engine.Call
	owner    *Streams
	began    time.Time
	priority int8
	text     bool          // it answers with text, token by token
	ready    chan struct{} // something is there; has room for one
	over     chan struct{} // closed by End

	mu       sync.Mutex // guards what follows
	ring     []serval.Chunk
	ended    bool
	err      error
	canceled bool
	full     time.Time // since when the ring has no room
	admitted time.Time // when the decoder took it
	usage    serval.Usage
}

// Emit takes a chunk without blocking; see engine.Stream.
func (s *stream) Emit(c serval.Chunk) bool {
	if s.priority == serval.Background && s.text && s.owner.held() {
		return false
	}
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
	s.usage.Add(c.Usage)
	s.ring = append(s.ring, c)
	s.mu.Unlock()
	s.signal()
	return true
}

// End is the last word on the call; see engine.Stream. A second word is not heard.
func (s *stream) End(err error) {
	s.mu.Lock()
	if s.ended {
		s.mu.Unlock()
		return
	}
	s.ended = true
	if s.err == nil {
		s.err = err
	}
	s.mu.Unlock()
	close(s.over)
	s.owner.ended(s)
	s.signal()
}

// Canceled says that nobody reads any more.
func (s *stream) Canceled() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.canceled
}

func (s *stream) admit(at time.Time) {
	s.mu.Lock()
	s.admitted = at
	s.mu.Unlock()
}

func (s *stream) admittedAt() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.admitted
}

func (s *stream) cancel() {
	s.mu.Lock()
	s.canceled = true
	s.mu.Unlock()
}

// displace cancels the call for a reason of ours.
func (s *stream) displace(why error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ended && !s.canceled {
		s.canceled, s.err = true, why
	}
}

func (s *stream) signal() {
	select {
	case s.ready <- struct{}{}:
	default:
	}
}

// deliver sends chunks until the call ends, and calls room when a full ring was emptied; errLeft means that the reader went
// first, ErrEnough that it has all it needs; a *serval.Error may be its own.
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
			var own *serval.Error
			switch no := sink.Send(&taken[i]); {
			case no == nil:
			case errors.Is(no, serval.ErrEnough):
				return serval.ErrEnough
			case errors.As(no, &own):
				return own
			default:
				return errLeft
			}
		}
		clear(taken)
		if ended {
			return err
		}
	}
}
