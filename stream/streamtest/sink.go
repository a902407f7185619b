package streamtest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"serval"
	"serval/stream"
)

// Feed is where the messages of a target's tests come from; a Bus is one.
type Feed interface {
	Create(t *testing.T, place string)
	Send(t *testing.T, place string, list []stream.Message)
	Source(ctx context.Context, place string, env stream.Env) (stream.Source, error)
}

// Sink is a target under test that is no broker.
type Sink interface {
	// Create makes a place to write to. Every name is used once.
	Create(t *testing.T, place string)
	Target(ctx context.Context, place string, env stream.Env) (stream.Target, error)
	// All is what is in a place, in the order in which it got there or of its positions: Key and Value, and Headers where Keeps
	// says so.
	All(t *testing.T, place string) []stream.Message
	// Down makes the place one that cannot be written to until up is called.
	Down(t *testing.T, place string) (up func())
	// Keeps says whether headers are kept, and whether results are there exactly once with Env.Once.
	Keeps() (headers, once bool)
}

// RunTarget runs those parts of the suite that are a target's, with a real broker as the source; with names, only those.
func RunTarget(t *testing.T, feed Feed, sink Sink, only ...string) {
	headers, once := sink.Keeps()
	both := &ends2{Feed: feed, sink: sink, once: once}
	if f, ok := feed.(interface{ Traits() Traits }); ok {
		both.traits = f.Traits()
	}
	for _, c := range []struct {
		name string
		run  func(*testing.T, *setup)
	}{
		{"Order", order}, {"Pause", pause}, {"Poison", poison}, {"TargetDown", targetDown}, {"TargetMissing", targetMissing}, {"Position", position},
		{"Drain", drain}, {"Handover", handover}, {"AckAfterSeen", ackAfterSeen}, {"Outage", outage}, {"Cut", cut},
	} {
		if len(only) > 0 && !slices.Contains(only, c.name) {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			switch {
			case c.name == "Poison" && !headers:
				t.Skip("it keeps no headers of dead letters")
			case c.name == "TargetDown" && once: // which writes past a message that it fails, and a position would count that as written
				t.Skip("it keeps positions; see Outage")
			}
			s := &setup{bus: both, Traits: both.traits, name: fmt.Sprintf("%s-%d", strings.ToLower(c.name), time.Now().UnixNano())}
			s.from, s.to, s.dead = s.name+"-in", s.name+"-out", s.name+"-dead"
			feed.Create(t, s.from)
			if c.name != "TargetMissing" {
				sink.Create(t, s.to)
			}
			sink.Create(t, s.dead)
			c.run(t, s)
		})
	}
}

// ends2 is a Bus whose sources are of a feed, and whose targets of a sink.
type ends2 struct {
	Feed
	sink   Sink
	once   bool
	traits Traits
}

func (e *ends2) Create(t *testing.T, place string)               { e.sink.Create(t, place) }
func (e *ends2) All(t *testing.T, place string) []stream.Message { return e.sink.All(t, place) }
func (e *ends2) Large() (fits, refused int)                      { return 0, 0 }

func (e *ends2) Target(ctx context.Context, place string, env stream.Env) (stream.Target, error) {
	env.Once = e.once && strings.HasSuffix(place, "-out")
	return e.sink.Target(ctx, place, env)
}

func (e *ends2) Session(context.Context, string, string, string, stream.Env) (stream.Session, error) {
	return nil, serval.Errorf(serval.Unimplemented, "two brokers")
}

// seen is a source that looks, when messages are acked, whether they are where anybody can see them.
type seen struct {
	stream.Source
	all func() []stream.Message

	mu    sync.Mutex
	wrong []string
	acked int
}

func (s *seen) Ack(ctx context.Context, done []*stream.Message) error {
	there := map[string]bool{}
	for _, m := range s.all() {
		there[string(m.Value)] = true
	}
	s.mu.Lock()
	for _, m := range done {
		if s.acked++; !there[string(m.Value)] {
			s.wrong = append(s.wrong, string(m.Value))
		}
	}
	s.mu.Unlock()
	return s.Source.Ack(ctx, done)
}

// ackAfterSeen: what is acked can be seen in the target by then.
func ackAfterSeen(t *testing.T, s *setup) {
	const n = 600
	var see *seen
	s.handler = uneven
	s.wrap = func(src stream.Source) stream.Source {
		see = &seen{Source: src, all: func() []stream.Message { return s.bus.All(t, s.to) }}
		return see
	}
	s.change = func(o *stream.Options) { o.MaxInFlight = 100 }
	s.bus.Send(t, s.from, numbered(0, n, 20))
	w := s.start(t)
	w.written(t, n)
	w.stop()
	if see.acked != n || len(see.wrong) > 0 {
		t.Errorf("%d acked, %d of them before they could be seen: %v", see.acked, len(see.wrong), see.wrong[:min(5, len(see.wrong))])
	}
}

// outage: a target that is gone while messages flow loses none; the stream says what is wrong, holds a bounded number of messages,
// and goes on when the target is back.
func outage(t *testing.T, s *setup) {
	const n, keys = 1200, 13
	s.change = func(o *stream.Options) { o.MaxInFlight = 200 }
	w := s.start(t)
	s.bus.Send(t, s.from, numbered(0, n/3, keys))
	w.written(t, n/3)
	up := s.bus.(*ends2).sink.Down(t, s.to)
	s.bus.Send(t, s.from, numbered(n/3, n, keys))
	await(t, "it says what is wrong", func() bool {
		st := w.Status()
		return st.State == serval.StreamWaiting && strings.Contains(st.Reason, "write: ") && st.InFlight > 0
	})
	time.Sleep(500 * time.Millisecond)
	if st := w.Status(); st.InFlight > 200 || st.Written > n-1 || deadOf(st) != 0 {
		t.Errorf("while it is down: %+v", st)
	}
	up()
	w.written(t, n)
	w.stop()
	s.ends(t, s.bus.All(t, s.to), n, keys)
	if st := w.Status(); st.Read != n {
		t.Errorf("%d of %d read", st.Read, n)
	}
}

// cut: workers that are stopped in the middle, without time to finish, lose none; with positions kept none is there twice.
func cut(t *testing.T, s *setup) {
	const n, keys, times = 3000, 17, 6
	var sent sync.WaitGroup
	sent.Go(func() {
		for i := 0; i < n; i += 100 {
			s.bus.Send(t, s.from, numbered(i, i+100, keys))
			time.Sleep(10 * time.Millisecond)
		}
	})
	s.change = func(o *stream.Options) { o.MaxInFlight = 300; o.Drain = time.Nanosecond }
	for i := range times {
		before := len(s.bus.All(t, s.to))
		w := s.start(t)
		await(t, "some more", func() bool { return len(s.bus.All(t, s.to)) > min(before, n-1) || i > 0 && w.Status().Written > 0 })
		w.stop()
	}
	sent.Wait()
	s.change = nil
	w := s.start(t)
	await(t, "all", func() bool {
		st := w.Status()
		return st.Lag == 0 && st.InFlight == 0 && distinct(s.bus.All(t, s.to)) == n
	})
	w.stop()
	list := s.bus.All(t, s.to)
	if s.ends(t, list, n, keys); s.bus.(*ends2).once && len(list) != n {
		t.Errorf("%d of %d came again", len(list)-n, n)
	}
}

func distinct(list []stream.Message) int {
	values := map[string]bool{}
	for _, m := range list {
		values[string(m.Value)] = true
	}
	return len(values)
}
