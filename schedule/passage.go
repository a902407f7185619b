package schedule

import (
	"context"
	"sync"
	"time"

	"serval"
	"serval/engine"
)

// Handling is a Model that answers by itself: it has a queue of its own, in another process or on another machine. The caller
// only caps what is in flight.
type Handling interface {
	engine.Model
	serval.Handler
	Batching() serval.Batching
	Stats() serval.Stats
	// Settings are those that it was opened with, with every default filled in.
	Settings() serval.ModelSettings
	// Warm runs a call on every instance.
	Warm(context.Context, []serval.Tensor) error
}

// Passage is a version that is handled elsewhere. It is a serval.Handler and safe for concurrent use.
type Passage struct {
	Handling
	what string
	most int

	mu       sync.Mutex // guards what follows
	inside   int
	refused  uint64
	draining bool
	empty    sync.Cond // told when inside becomes 0
}

// beside is how many calls may be inside beside those of its queue: the queue itself refuses, and says how long it takes;
// this is for a queue that cannot be reached.
const beside = 1024

func newPassage(what string, s serval.ModelSettings, h Handling) *Passage {
	p := &Passage{Handling: h, what: what, most: s.Queue.Limit + beside}
	p.empty.L = &p.mu
	return p
}

// Handle hands the call on.
func (p *Passage) Handle(ctx context.Context, req *serval.Request, sink serval.Sink) error {
	p.mu.Lock()
	switch {
	case p.draining:
		p.mu.Unlock()
		return serval.ErrRetired
	case p.inside >= p.most:
		p.refused++
		n := p.inside
		p.mu.Unlock()
		return serval.Errorf(serval.Unavailable, "%s is overloaded: %d requests are under way; try again later", p.what, n).After(time.Second)
	}
	p.inside++
	p.mu.Unlock()
	defer p.left()
	return p.Handling.Handle(ctx, req, sink)
}

func (p *Passage) left() {
	p.mu.Lock()
	if p.inside--; p.inside == 0 {
		p.empty.Broadcast()
	}
	p.mu.Unlock()
}

// InFlight is how many calls are inside.
func (p *Passage) InFlight() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.inside
}

// Stats is what happened since it was opened.
func (p *Passage) Stats() serval.Stats {
	s := p.Handling.Stats()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.refused > 0 {
		if s.Rejected == nil {
			s.Rejected = map[string]uint64{}
		}
		s.Rejected[refusedFull] += p.refused
		s.Fail.Count += p.refused
	}
	return s
}

// OnFail has f called when the model will answer no more; see registry.
func (p *Passage) OnFail(f func(error)) {
	if h, ok := p.Handling.(interface{ OnFail(func(error)) }); ok {
		h.OnFail(f)
	}
}

// Close refuses new calls with ErrRetired, lets those inside finish, and closes the model.
func (p *Passage) Close() error {
	p.mu.Lock()
	p.draining = true
	for p.inside > 0 {
		p.empty.Wait()
	}
	p.mu.Unlock()
	return p.Handling.Close()
}
