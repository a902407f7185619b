package gateway

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"serval"
)

// Observer hears of every request once, when it has ended. err is nil for a success. It must not keep req, must not block,
// and is called by many goroutines at the same time.
type Observer interface {
	Done(req *serval.Request, err *serval.Error)
}

// Options are the policy. The zero value lets everybody in as tenant "default", without limits.
type Options struct {
	Keys           []Key         // who may call; none: everybody may do everything
	RequestTimeout time.Duration // deadline of a request that brings none, nor a longer timeout; 0: none is set
	AnswerTimeout  time.Duration // the same for one that is answered with text
	MaxInFlight    int           // most requests under way at the same time, over all models; 0: no limit
	DenyControl    bool          // nobody may load, unload or change settings, whatever the key says
	// Log gets the causes of internal errors and the stacks of panics; nil: slog.Default(). Only New reads it.
	Log *slog.Logger
}

// Gateway is a serval.Handler in front of another one. It is safe for concurrent use.
type Gateway struct {
	next     serval.Handler
	observer Observer
	log      *slog.Logger
	policy   atomic.Pointer[policy]
	ids      ids
	inFlight atomic.Int64
	aside    atomic.Int64 // of those, by As
	made     time.Time
	online   atomic.Int64 // when Handle was last called, in nanoseconds since made: the wall clock may go back
	senders  sync.Pool    // of *sender
}

// New makes a Gateway that hands on to next. observer may be nil.
func New(o Options, next serval.Handler, observer Observer) *Gateway {
	g := &Gateway{next: next, observer: observer, log: o.Log, made: time.Now()}
	g.online.Store(-int64(time.Hour)) // nobody has called yet
	g.ids.start()
	if g.log == nil {
		g.log = slog.Default()
	}
	g.senders.New = func() any { return new(sender) }
	g.policy.Store(newPolicy(o, nil))
	return g
}

// Reload puts another policy in force for the requests that come from now on. A key whose limit did not change keeps what
// it has used of it.
func (g *Gateway) Reload(o Options) {
	for {
		old := g.policy.Load()
		if g.policy.CompareAndSwap(old, newPolicy(o, old)) {
			return
		}
	}
}

// InFlight is the number of requests under way.
func (g *Gateway) InFlight() int64 { return g.inFlight.Load() }

// Handle passes the request on if the policy allows it. The error is nil or a *serval.Error; one that is Internal carries
// the request's id, and its cause is in the log.
func (g *Gateway) Handle(ctx context.Context, req *serval.Request, sink serval.Sink) error {
	g.online.Store(int64(time.Since(g.made)))
	return g.handle(ctx, req, sink, g.admit)
}

// Online is how many requests by Handle are under way.
func (g *Gateway) Online() int64 { return g.inFlight.Load() - g.aside.Load() }

// Quiet is how long ago the last request came by Handle: what runs by As may stand aside for others.
func (g *Gateway) Quiet() time.Duration {
	return time.Since(g.made) - time.Duration(g.online.Load())
}

// As is the Gateway for work that a tenant was allowed earlier and that needs no key again: answers in the background.
func (g *Gateway) As(tenant string) serval.Handler {
	return serval.HandlerFunc(func(ctx context.Context, req *serval.Request, sink serval.Sink) error {
		g.aside.Add(1)
		defer g.aside.Add(-1)
		return g.handle(ctx, req, sink, func(req *serval.Request, _ int64) *serval.Error {
			req.Credential, req.Tenant = "", tenant
			if limit := g.policy.Load().timeout(req.Input); limit > 0 {
				req.Deadline = req.Timing.Start.Add(max(limit, req.Timeout))
			}
			return nil
		})
	})
}

func (g *Gateway) handle(ctx context.Context, req *serval.Request, sink serval.Sink, admit func(*serval.Request, int64) *serval.Error) error {
	req.Timing, req.Usage, req.Finish = serval.Timing{Start: time.Now()}, serval.Usage{}, serval.More
	err := admit(req, g.inFlight.Add(1))
	if err == nil {
		err = g.pass(ctx, req, sink)
	}
	g.inFlight.Add(-1)
	if g.observer != nil {
		g.observer.Done(req, err)
	}
	if err == nil {
		return nil // not err: a nil *serval.Error in an error is not nil
	}
	return err
}

// admit fills in what the policy knows of the request, or refuses it.
func (g *Gateway) admit(req *serval.Request, inFlight int64) *serval.Error {
	p := g.policy.Load()
	credential := req.Credential
	req.Credential = "" // nothing below has any business with it
	req.Tenant = ""
	if req.ID == "" {
		req.ID = g.ids.next()
	} else if err := checkID(req.ID); err != nil {
		req.ID = g.ids.next()
		return err
	}
	key, err := p.identify(credential, Infer)
	if err != nil {
		return err
	}
	req.Tenant = DefaultTenant
	if key != nil {
		req.Tenant = key.Name
		if !req.Part {
			if err := key.take(req.Timing.Start); err != nil {
				return err
			}
		}
	}
	if p.maxInFlight > 0 && inFlight > p.maxInFlight {
		return serval.Errorf(serval.Unavailable, "the server has %d requests under way, which is its limit; try again", p.maxInFlight).After(time.Second)
	}
	if limit := p.timeout(req.Input); limit > 0 && req.Deadline.IsZero() {
		req.Deadline = req.Timing.Start.Add(max(limit, req.Timeout))
	}
	return nil
}

// pass calls the next handler and turns whatever comes back into nil or a *serval.Error.
func (g *Gateway) pass(ctx context.Context, req *serval.Request, sink serval.Sink) (failed *serval.Error) {
	defer func() {
		if value := recover(); value != nil {
			failed = g.panicked(req, value)
		}
	}()
	s := g.senders.Get().(*sender)
	s.to, s.req = sink, req
	err := g.next.Handle(ctx, req, s)
	lost := s.err
	*s = sender{}
	g.senders.Put(s) // not after a panic: somebody may still hold it then
	if err == nil {
		return nil
	}
	return g.explain(req, err, lost)
}

// sender remembers whether the client could be reached, so that a client that left is not taken for a fault of ours.
// It also counts what the answer costs, and when its chunks went.
type sender struct {
	to  serval.Sink
	req *serval.Request
	err error
}

// Send hands the chunk on.
func (s *sender) Send(c *serval.Chunk) error {
	s.req.Usage.Add(c.Usage)
	if t := &s.req.Timing; t.Chunks == 0 {
		t.First = time.Now()
	} else {
		t.Last = time.Now()
	}
	s.req.Timing.Chunks++
	if c.Finish != serval.More {
		s.req.Finish = c.Finish
	}
	err := s.to.Send(c)
	if err != nil {
		s.err = err
	}
	return err
}
