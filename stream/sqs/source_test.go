package sqs

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"serval/internal/testkit"
	"serval/stream"
)

// watch is an owner that notes what it is told.
type watch struct {
	mu      sync.Mutex
	lost    []string
	trouble []string
	warned  []string
}

func (w *watch) Revoke(context.Context, []*stream.Lane) {}
func (w *watch) Lost(lanes []*stream.Lane) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, l := range lanes {
		w.lost = append(w.lost, l.Name)
	}
}
func (w *watch) Trouble(reason string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.trouble = append(w.trouble, reason)
}
func (w *watch) warn(text string, _ ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.warned = append(w.warned, text)
}
func (w *watch) env() stream.Env {
	return stream.Env{Stream: "s", Instance: "i", Owner: w, Warn: w.warn}
}
func (w *watch) has(list *[]string, ok func(string) bool) func() bool {
	return func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return slices.ContainsFunc(*list, ok)
	}
}

func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within a minute: %s", what)
		}
	}
}

// place makes a queue of its own for a test.
func (b *bus) place(t *testing.T, settings ...string) string {
	t.Helper()
	name := "t" + rand.Text()
	if b.fifo {
		name += fifoSuffix
	}
	b.q.Queue(t, name, settings...)
	return name
}

// open is a source with a short visibility.
func (b *bus) open(t *testing.T, o *SourceOptions, w *watch) *source {
	t.Helper()
	src, err := Broker{}.Source(t.Context(), o, w.env())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = src.Close() })
	return src.(*source)
}

// read reads so many messages.
func read(t *testing.T, s *source, n int) (list []stream.Message) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for len(list) < n {
		more, err := s.Read(ctx, n-len(list))
		if err != nil {
			t.Fatalf("%v after %d of %d messages", err, len(list), n)
		}
		list = append(list, more...)
	}
	return list
}

func values(list []stream.Message) (out []string) {
	for _, m := range list {
		out = append(out, string(m.Value))
	}
	return out
}

func pointers(list []stream.Message) (out []*stream.Message) {
	for i := range list {
		out = append(out, &list[i])
	}
	return out
}

// kinds runs a test for both kinds of queues at the same time: they mostly wait.
func kinds(t *testing.T, run func(t *testing.T, b *bus)) {
	testkit.SQS(t)
	for name, fifo := range map[string]bool{"Standard": false, "FIFO": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run(t, newBus(t, fifo))
		})
	}
}

func of(key string, n int) (list []stream.Message) {
	for i := range n {
		list = append(list, stream.Message{Key: []byte(key), Value: fmt.Appendf(nil, "%s-%d", key, i)})
	}
	return list
}

// TestExtends: messages that are worked on, or wait to be read, for several times the visibility are given to nobody else, and
// are deleted in the end; nothing is kept in mind of them then.
func TestExtends(t *testing.T) {
	kinds(t, func(t *testing.T, b *bus) {
		q := b.place(t)
		b.Send(t, q, append(of("a", 12), of("b", 12)...))
		o := b.source(q)
		o.Visibility = 4 * time.Second // a busy machine renews late
		s := b.open(t, o, &watch{})
		list := read(t, s, 13)
		time.Sleep(2*o.Visibility + time.Second/2)
		o.Wait = time.Second
		other := b.open(t, o, &watch{})
		ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
		defer cancel()
		seen := map[string]bool{}
		for _, v := range values(list) {
			seen[v] = true
		}
		for ctx.Err() == nil {
			got, _ := other.Read(ctx, 100)
			for _, m := range got {
				if seen[string(m.Value)] {
					t.Errorf("%s was given to another one, though it is worked on", m.Value)
				}
			}
		}
		for _, m := range list {
			if m.Attempt != 1 || m.Position.Topic != q || m.Position.ID == "" || m.Time.IsZero() {
				t.Errorf("attempt %d, position %s, time %v", m.Attempt, m.Position, m.Time)
			}
		}
		if err := s.Ack(t.Context(), pointers(list)); err != nil {
			t.Fatal(err)
		}
		_ = other.Close()
		_ = s.Close()
		await(t, "all but those that were acked wait", func() bool { waiting, flying := b.q.Counts(t, q); return waiting == 24-13 && flying == 0 })
		if len(s.groups) > b2i(b.fifo)*2 || len(s.held) > 11 {
			t.Errorf("%d groups and %d messages are kept in mind", len(s.groups), len(s.held))
		}
	})
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// TestBounded: what is kept in mind is what is in flight, however many groups came by.
func TestBounded(t *testing.T) {
	b := newBus(t, true)
	q := b.place(t)
	s := b.open(t, b.source(q), &watch{})
	const rounds, each = 5, 100
	for r := range rounds {
		var list []stream.Message
		for i := range each {
			list = append(list, of(fmt.Sprintf("g%d-%d", r, i), 1)...)
		}
		b.Send(t, q, list)
		if err := s.Ack(t.Context(), pointers(read(t, s, each))); err != nil {
			t.Fatal(err)
		}
		await(t, "nothing is held", func() bool {
			s.mu.Lock()
			defer s.mu.Unlock()
			return len(s.held) == 0 && len(s.groups) == 0 && len(s.fresh) == 0 && s.asked <= maxBatch
		})
	}
}

// TestGroups: of a group nothing comes while messages of it are in flight, other groups do; its messages come in order, those that
// were not acked again when their source is closed.
func TestGroups(t *testing.T) {
	b := newBus(t, true)
	q := b.place(t)
	b.Send(t, q, of("a", 25))
	one, two := b.open(t, b.source(q), &watch{}), b.open(t, b.source(q), &watch{})
	first := read(t, one, 5)
	b.Send(t, q, of("b", 3))
	other := read(t, two, 3)
	if got := values(other); !slices.Equal(got, []string{"b-0", "b-1", "b-2"}) {
		t.Errorf("the second one got %v", got)
	}
	if first[0].Lane != first[4].Lane || first[0].Lane == other[0].Lane || string(first[0].Key) != "a" {
		t.Errorf("lanes %v, %v, %v; key %s", first[0].Lane, first[4].Lane, other[0].Lane, first[0].Key)
	}
	if err := one.Ack(t.Context(), pointers(first[:3])); err != nil {
		t.Fatal(err)
	}
	_ = one.Close()
	for next := 3; next < 25; {
		rest := read(t, two, 1)
		if m := rest[0]; next == 3 && m.Attempt < 2 {
			t.Errorf("a message that comes again has the attempt %d", m.Attempt)
		}
		for _, v := range values(rest) {
			if v != fmt.Sprintf("a-%d", next) {
				t.Errorf("%s comes instead of number %d", v, next)
			}
			next++
		}
		if err := two.Ack(t.Context(), pointers(rest)); err != nil {
			t.Fatal(err)
		}
	}
}

// TestPaused: a stream that is paused keeps nothing from others.
func TestPaused(t *testing.T) {
	kinds(t, func(t *testing.T, b *bus) {
		q := b.place(t)
		b.Send(t, q, of("a", 30))
		s := b.open(t, b.source(q), &watch{})
		read(t, s, 1)
		ctx, cancel := context.WithCancel(t.Context())
		s.mu.Lock()
		s.width = 4 // as after many messages
		s.ask(100)
		s.mu.Unlock()
		cancel()
		if list, err := s.Read(ctx, 100); len(list) > 0 || err == nil {
			t.Errorf("%v with %v", values(list), err)
		}
		await(t, "all but one are there for others", func() bool {
			waiting, flying := b.q.Counts(t, q)
			s.mu.Lock()
			defer s.mu.Unlock()
			return waiting == 29 && flying == 1 && len(s.held) == 1 && len(s.fresh) == 0 && len(s.polls) == 0
		})
	})
}

// TestUnreachable: a worker that cannot reach the queue for longer than the visibility drops the groups that others have by then,
// and does not delete what they work on; of a standard queue it does not work on what it has once more.
func TestUnreachable(t *testing.T) {
	kinds(t, func(t *testing.T, b *bus) {
		q := b.place(t)
		b.Send(t, q, of("a", 5))
		net := newProxy(t, b.q.Endpoint)
		w := &watch{}
		o := b.source(q)
		o.Visibility, o.Endpoint = 2*time.Second, net.url
		cut := b.open(t, o, w)
		mine := read(t, cut, 5)
		net.down.Store(true)
		o2 := *o
		o2.Endpoint = b.q.Endpoint
		other := b.open(t, &o2, &watch{})
		theirs := read(t, other, 5) // after the visibility
		if b.fifo {
			await(t, "the group is lost", w.has(&w.lost, func(l string) bool { return l == q+"/a" }))
			if !slices.Equal(values(theirs), values(mine)) {
				t.Errorf("%v came to the other one, not %v", values(theirs), values(mine))
			}
		}
		net.down.Store(false)
		if err := cut.Ack(t.Context(), pointers(mine)); err != nil {
			t.Fatal(err)
		}
		await(t, "it forgets them", func() bool {
			cut.mu.Lock()
			defer cut.mu.Unlock()
			return len(cut.held) == 0
		})
		if err := other.Ack(t.Context(), pointers(theirs)); err != nil {
			t.Fatal(err)
		}
		await(t, "the queue is empty", func() bool { waiting, flying := b.q.Counts(t, q); return waiting+flying == 0 })
		b.Send(t, q, of("c", 3))
		more := read(t, cut, 3)
		net.down.Store(true)
		if err := cut.Ack(t.Context(), pointers(more[:1])); err != nil {
			t.Fatal(err)
		}
		if err := cut.Close(); err != nil { // it must end though nobody answers
			t.Error(err)
		}
	})
}

// TestDeletes: what could not be deleted is tried again until it was, does not come again meanwhile, and people are told.
func TestDeletes(t *testing.T) {
	kinds(t, func(t *testing.T, b *bus) {
		q := b.place(t)
		b.Send(t, q, append(of("a", 7), of("b", 3)...))
		net := newProxy(t, b.q.Endpoint)
		w := &watch{}
		o := b.source(q)
		o.Visibility, o.Endpoint = 2*time.Second, net.url
		s := b.open(t, o, w)
		list := read(t, s, 10)
		var calls int
		net.meddle("DeleteMessageBatch", func(r *request) {
			calls++
			switch {
			case calls <= 3:
				r.answer(403, `{"__type":"com.amazonaws.sqs#AccessDenied","message":"not yours"}`)
			case calls%2 == 0: // the first entry fails
				r.fail(0, "InternalError", false)
			}
		})
		if err := s.Ack(t.Context(), pointers(list)); err != nil {
			t.Fatal(err)
		}
		await(t, "it says why", w.has(&w.trouble, func(s string) bool { return s != "" }))
		await(t, "the queue is empty", func() bool { waiting, flying := b.q.Counts(t, q); return waiting+flying == 0 })
		await(t, "it says that it works again", func() bool {
			w.mu.Lock()
			defer w.mu.Unlock()
			return w.trouble[len(w.trouble)-1] == ""
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if again, _ := s.Read(ctx, 10); len(again) > 0 {
			t.Errorf("%v come again", values(again))
		}
		if len(w.lost) > 0 {
			t.Errorf("lost: %v", w.lost)
		}
	})
}

// TestMissing: a queue that is not there is named, and read when it is.
func TestMissing(t *testing.T) {
	b := newBus(t, false)
	name := "t" + rand.Text()
	s := b.open(t, b.source(name), &watch{})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := s.Read(ctx, 10); err == nil || codeOf(err) != "not_found" {
		t.Errorf("it says %v", err)
	}
	b.q.Queue(t, name)
	b.q.Send(t, name, []types.SendMessageBatchRequestEntry{{MessageBody: aws.String("x")}})
	if got := values(read(t, s, 1)); got[0] != "x" {
		t.Errorf("it reads %v", got)
	}
	await(t, "the lag is known", func() bool { return s.Lag() == 0 })
}

// TestRedrive: a source warns of a redrive policy that stops alone would trigger.
func TestRedrive(t *testing.T) {
	b := newBus(t, false)
	dead := b.place(t)
	q := b.place(t, `RedrivePolicy={"deadLetterTargetArn":"arn:aws:sqs:elasticmq:000000000000:`+dead+`","maxReceiveCount":"2"}`)
	w := &watch{}
	b.open(t, b.source(q), w)
	await(t, "a warning", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return len(w.warned) == 1
	})
	for policy, want := range map[string]int{`{"maxReceiveCount":4}`: 4, `{"maxReceiveCount":"12"}`: 12, ``: 0, `{}`: 0, `{"maxReceiveCount":"x"}`: 0, `[`: 0} {
		if got := maxReceives(policy); got != want {
			t.Errorf("%s: %d", policy, got)
		}
	}
}
