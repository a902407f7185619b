package streamtest

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"serval"
	"serval/stream"
)

// Bus is a broker under test. Places are topics, subjects or queues; every name is used once.
type Bus interface {
	// Create makes a place with several lanes.
	Create(t *testing.T, place string)
	// Send puts messages into a place, in order; those of one key come into one lane.
	Send(t *testing.T, place string, list []stream.Message)
	// All returns what is in a place: every message, in the order of its lane. Messages of transactions that are open or undone
	// are left out.
	All(t *testing.T, place string) []stream.Message
	Source(ctx context.Context, place string, env stream.Env) (stream.Source, error)
	Target(ctx context.Context, place string, env stream.Env) (stream.Target, error)
	// Session is Unimplemented where the broker has no transactions. dead is the place for dead letters.
	Session(ctx context.Context, from, to, dead string, env stream.Env) (stream.Session, error)
	// Large is the size of a value that a place takes, and TooLarge of one that it refuses.
	Large() (fits, refused int)
}

// Traits are in what a broker's places differ from those of others. A Bus that has any has a method Traits.
type Traits struct {
	// Unordered: messages have no lanes, and results no order. What the suite says of order is left out.
	Unordered bool
	// Suffix ends the names of its places.
	Suffix string
	// Slow: it takes hundreds of messages a second, not tens of thousands; the suite sends fewer.
	Slow bool
	// Waits: its workers mostly wait, and the cases run at the same time.
	Waits bool
}

func traits(bus Bus) Traits {
	if b, ok := bus.(interface{ Traits() Traits }); ok {
		return b.Traits()
	}
	return Traits{}
}

// Run runs the suite.
func Run(t *testing.T, bus Bus) {
	for _, c := range []struct {
		name string
		run  func(*testing.T, *setup)
	}{
		{"Order", order}, {"Passed", passed}, {"Redelivery", redelivery}, {"AckAfterWrite", ackAfterWrite}, {"Pause", pause}, {"StandsAside", standsAside}, {"Large", large},
		{"Poison", poison}, {"Retry", retry}, {"NowhereForDeadLetters", nowhere}, {"TargetDown", targetDown}, {"TargetMissing", targetMissing},
		{"Position", position}, {"Drain", drain}, {"Handover", handover}, {"ExactlyOnce", exactlyOnce}, {"ExactlyOnceUndone", undone}, {"ExactlyOnceHandover", exactHandover},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := &setup{bus: bus, name: fmt.Sprintf("%s-%d", strings.ToLower(c.name), time.Now().UnixNano()), Traits: traits(bus)}
			if s.Waits {
				t.Parallel()
			}
			s.from, s.to, s.dead = s.name+"-in"+s.Suffix, s.name+"-out"+s.Suffix, s.name+"-dead"+s.Suffix
			bus.Create(t, s.from)
			if c.name != "TargetMissing" {
				bus.Create(t, s.to)
			}
			bus.Create(t, s.dead)
			c.run(t, s)
		})
	}
}

// setup is one test's places, and what its workers do differently from the usual.
type setup struct {
	Traits
	bus            Bus
	name           string
	from, to, dead string

	handler serval.HandlerFunc                  // nil: echo
	wrap    func(stream.Source) stream.Source   // around the source
	onto    func(stream.Target) stream.Target   // around the target
	around  func(stream.Session) stream.Session // around the session
	change  func(*stream.Options)               // of the worker
	exact   bool                                // with transactions
	workers int                                 // made so far
}

// worker is a stream.Worker that runs.
type worker struct {
	*stream.Worker
	stop func() // drains and waits
}

// start runs a worker until the test ends or it is stopped.
func (s *setup) start(t *testing.T) *worker {
	t.Helper()
	s.workers++
	n := s.workers
	log := slog.New(slog.NewTextHandler(&testLog{t: t}, nil))
	env := func(owner stream.Owner) stream.Env {
		return stream.Env{Stream: s.name, Instance: fmt.Sprint("i", n), Owner: owner, Warn: log.Warn}
	}
	handler := s.handler
	if handler == nil {
		handler = echo
	}
	o := stream.Options{
		Name: s.name, Model: serval.Ref{Name: "m"}, Handler: handler, Models: model{}, Format: raw{}, Log: log,
		Retry: stream.Retry{Min: 5 * time.Millisecond, Max: 50 * time.Millisecond}, Drain: 20 * time.Second,
		Open: func(ctx context.Context, owner stream.Owner) (stream.Source, stream.Target, error) {
			e := env(owner)
			if s.exact {
				session, err := s.bus.Session(ctx, s.from, s.to, s.dead, e)
				if err != nil {
					return nil, nil, err
				}
				if s.around != nil {
					session = s.around(session)
				}
				return session, session, nil
			}
			src, err := s.bus.Source(ctx, s.from, e)
			if err != nil {
				return nil, nil, err
			}
			dst, err := s.bus.Target(ctx, s.to, e)
			if err != nil {
				_ = src.Close()
				return nil, nil, err
			}
			if s.wrap != nil {
				src = s.wrap(src)
			}
			if s.onto != nil {
				dst = s.onto(dst)
			}
			return src, dst, nil
		},
		Dead: func(ctx context.Context, owner stream.Owner) (stream.Target, error) {
			return s.bus.Target(ctx, s.dead, env(owner))
		},
	}
	if s.exact {
		o.Dead = nil // the session's own
	}
	if s.change != nil {
		s.change(&o)
	}
	w := stream.New(o)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { w.Run(ctx); close(done) }()
	stop := func() { cancel(); <-done }
	t.Cleanup(stop)
	return &worker{w, stop}
}

// testLog is where warnings go.
type testLog struct{ t *testing.T }

func (l *testLog) Write(p []byte) (int, error) {
	l.t.Logf("%s", p)
	return len(p), nil
}

// echo answers a text with itself.
func echo(_ context.Context, req *serval.Request, sink serval.Sink) error {
	req.Model.Version = "7"
	return sink.Send(&serval.Chunk{Output: &serval.Delta{Text: req.Input.(*serval.Completion).Text}, Finish: serval.Stop})
}

// model knows every model.
type model struct{}

func (model) Model(ref serval.Ref) (serval.ModelInfo, error) {
	return serval.ModelInfo{Name: ref.Name, Version: "7", Language: &serval.Language{}}, nil
}

// raw has the value as a prompt, and the answer's text as the value.
type raw struct{}

func (raw) Decode(m *stream.Message, _ *serval.ModelInfo, call *stream.Call) error {
	call.Input = &serval.Completion{Text: string(m.Value)}
	return nil
}

func (raw) Encode(_ *stream.Message, _ *stream.Call, a *stream.Answer, out *stream.Message) error {
	out.Value = []byte(a.Text)
	return nil
}

// await waits for what must come.
func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within a minute: %s", what)
		}
	}
}

// written waits until a worker wrote so many results.
func (w *worker) written(t *testing.T, n uint64) {
	t.Helper()
	await(t, fmt.Sprintf("%d results written", n), func() bool { return w.Status().Written >= n })
}

// numbered makes messages with the values "0", "1", … over so many keys.
func numbered(from, to, keys int) (list []stream.Message) {
	for i := from; i < to; i++ {
		list = append(list, stream.Message{Key: fmt.Appendf(nil, "key-%d", i%keys), Value: fmt.Appendf(nil, "%d", i)})
	}
	return list
}

// check fails the test unless the messages have the values of numbered(0, n), those of each key in order. With once, each is
// there once; else a message may come again, and what follows it too, as after a crash: then the last of each counts.
func (s *setup) check(t *testing.T, list []stream.Message, n, keys int, once bool) {
	t.Helper()
	seen := make([]int, n)
	last := map[string]int{}
	for _, m := range list {
		var i int
		if _, err := fmt.Sscan(string(m.Value), &i); err != nil || i < 0 || i >= n {
			t.Fatalf("a result is %q", m.Value)
		}
		if want := fmt.Sprintf("key-%d", i%keys); string(m.Key) != want {
			t.Errorf("result %d has the key %q, not %q", i, m.Key, want)
		}
		seen[i]++
		before, ok := last[string(m.Key)]
		switch first := seen[i] == 1; {
		case once && !first:
			t.Errorf("%d comes again", i)
		case s.Unordered:
		case ok && first && i != before+keys, !ok && i >= keys:
			t.Errorf("of %s, %d comes after %d", m.Key, i, before)
		case !first && i > before:
			t.Errorf("of %s, %d comes again after %d", m.Key, i, before)
		}
		last[string(m.Key)] = max(i, 0)
	}
	lost, again := 0, 0
	for _, c := range seen {
		if c == 0 {
			lost++
		}
		again += max(0, c-1)
	}
	if lost > 0 {
		t.Errorf("%d of %d are lost", lost, n)
	}
	if again > 0 {
		t.Logf("%d of %d came again", again, n)
	}
	for key, i := range last {
		if i+keys < n && !s.Unordered {
			t.Errorf("the last of %s is %d", key, i)
		}
	}
}

// counter counts what handlers did, by value.
type counter struct {
	mu   sync.Mutex
	seen map[string]int
}

func (c *counter) add(value string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.seen == nil {
		c.seen = map[string]int{}
	}
	c.seen[value]++
	return c.seen[value]
}
