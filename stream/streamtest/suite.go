package streamtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"serval"
	"serval/stream"
)

// uneven answers after times that differ, so that what was read first is not what is done first.
func uneven(ctx context.Context, req *serval.Request, sink serval.Sink) error {
	if rand.IntN(20) == 0 {
		time.Sleep(time.Duration(rand.IntN(5)) * time.Millisecond)
	}
	return echo(ctx, req, sink)
}

// order: results of a key come in the order of its messages, though many are computed together.
func order(t *testing.T, s *setup) {
	n, keys := 3000, 37
	if s.Slow {
		n /= 4
	}
	var now, most atomic.Int64
	s.handler = func(ctx context.Context, req *serval.Request, sink serval.Sink) error {
		if c := now.Add(1); c > most.Load() {
			most.Store(c)
		}
		defer now.Add(-1)
		return uneven(ctx, req, sink)
	}
	s.bus.Send(t, s.from, numbered(0, n, keys))
	w := s.start(t)
	w.written(t, uint64(n))
	w.stop()
	s.check(t, s.bus.All(t, s.to), n, keys, true)
	if most.Load() < 2 {
		t.Error("calls did not run together")
	}
	if st := w.Status(); st.Read != uint64(n) || st.State != serval.StreamStopped || st.Aged != uint64(n) {
		t.Errorf("status: %+v", st)
	}
}

// passed: keys and headers are passed on, and who answered is added.
func passed(t *testing.T, s *setup) {
	trace := "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	s.bus.Send(t, s.from, []stream.Message{
		{Key: []byte("k"), Value: []byte("a"), Headers: []stream.Header{{Key: "colour", Value: []byte("red")}, {Key: "traceparent", Value: []byte(trace)}}},
		{Value: []byte("b")},
	})
	w := s.start(t)
	w.written(t, 2)
	w.stop()
	all := s.bus.All(t, s.to)
	if len(all) != 2 {
		t.Fatalf("%d results", len(all))
	}
	for _, m := range all {
		for key, want := range map[string]string{stream.HeaderModel: "m", stream.HeaderVersion: "7"} {
			if v, _ := m.Header(key); string(v) != want {
				t.Errorf("header %s is %q", key, v)
			}
		}
		if string(m.Value) != "a" {
			continue
		}
		if colour, _ := m.Header("colour"); string(colour) != "red" || string(m.Key) != "k" {
			t.Errorf("key %q, header colour %q", m.Key, colour)
		}
		if v, _ := m.Header("traceparent"); string(v) != trace {
			t.Errorf("traceparent %q", v)
		}
	}
}

// owner is nobody: lanes may go at once.
type owner struct{}

func (owner) Revoke(context.Context, []*stream.Lane) {}
func (owner) Lost([]*stream.Lane)                    {}
func (owner) Trouble(string)                         {}

// redelivery: what was read and not acked comes again when the source is closed, what was acked does not.
func redelivery(t *testing.T, s *setup) {
	// In the first round n/4 are acked or a few more, then some are not: no more than may come where a group of messages waits for the
	// acks of those before.
	const n, some = 400, 25
	s.bus.Send(t, s.from, numbered(0, n, 10))
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	acked, got := map[string]bool{}, 0
	for round := range 2 {
		src, err := s.bus.Source(ctx, s.from, stream.Env{Stream: s.name, Instance: "i", Owner: owner{}, Warn: func(string, ...any) {}})
		if err != nil {
			t.Fatal(err)
		}
		kept := 0
		for kept < some && len(acked) < n {
			list, err := src.Read(ctx, 64)
			if err != nil {
				t.Fatal(err)
			}
			var done []*stream.Message
			for i := range list {
				if v := string(list[i].Value); acked[v] {
					t.Errorf("%s comes again though it was acked", v)
				}
				done = append(done, &list[i])
			}
			if round == 0 && got >= n/4 {
				kept += len(list) // read, and never acked
				continue
			}
			if err := src.Ack(ctx, done); err != nil {
				t.Fatal(err)
			}
			for _, m := range done {
				acked[string(m.Value)] = true
				got++
			}
		}
		if err := src.Close(); err != nil {
			t.Error(err)
		}
	}
	if len(acked) != n {
		t.Errorf("%d of %d came", len(acked), n)
	}
}

// witness sees that nothing is acked that was not written.
type witness struct {
	mu      sync.Mutex
	written map[string]bool
	wrong   []string
	acked   int
}

type seenSource struct {
	stream.Source
	w *witness
}

func (s seenSource) Ack(ctx context.Context, done []*stream.Message) error {
	s.w.mu.Lock()
	for _, m := range done {
		if s.w.acked++; !s.w.written[string(m.Value)] {
			s.w.wrong = append(s.w.wrong, string(m.Value))
		}
	}
	s.w.mu.Unlock()
	return s.Source.Ack(ctx, done)
}

type seenTarget struct {
	stream.Target
	w *witness
}

func (t seenTarget) Write(ctx context.Context, list []*stream.Message) error {
	time.Sleep(2 * time.Millisecond) // an ack that does not wait would be first
	err := t.Target.Write(ctx, list)
	if err == nil {
		t.w.mu.Lock()
		for _, m := range list {
			t.w.written[string(m.Value)] = true
		}
		t.w.mu.Unlock()
	}
	return err
}

func ackAfterWrite(t *testing.T, s *setup) {
	const n = 1000
	see := &witness{written: map[string]bool{}}
	s.handler = uneven
	s.wrap = func(src stream.Source) stream.Source { return seenSource{src, see} }
	s.onto = func(dst stream.Target) stream.Target { return seenTarget{dst, see} }
	s.change = func(o *stream.Options) { o.MaxInFlight = 100 }
	s.bus.Send(t, s.from, numbered(0, n, 20))
	w := s.start(t)
	w.written(t, n)
	w.stop()
	if len(see.wrong) > 0 || see.acked != n {
		t.Errorf("%d acked, %d of them before they were written: %v", see.acked, len(see.wrong), see.wrong[:min(5, len(see.wrong))])
	}
}

// pause: a stream that is paused reads nothing, and goes on where it stopped.
func pause(t *testing.T, s *setup) {
	s.bus.Send(t, s.from, numbered(0, 100, 5))
	w := s.start(t)
	w.written(t, 100)
	w.Pause()
	await(t, "paused", func() bool { return w.Status().State == serval.StreamPaused })
	s.bus.Send(t, s.from, numbered(100, 200, 5))
	await(t, "lag", func() bool { l := w.Status().Lag; return l == -1 || l >= 100 })
	if st := w.Status(); st.Written != 100 || st.Read != 100 {
		t.Errorf("paused, it read %d and wrote %d", st.Read, st.Written)
	}
	w.Resume()
	w.written(t, 200)
	w.stop()
	s.check(t, s.bus.All(t, s.to), 200, 5, true)
}

// standsAside: a background stream answers all the same while others are busy, one call after the other and without reading far ahead,
// and has everything to itself when they are not.
func standsAside(t *testing.T, s *setup) {
	const n, later = 400, 300
	var busy atomic.Bool
	var inside, together atomic.Int64
	busy.Store(true)
	s.change = func(o *stream.Options) { o.Busy, o.Priority = busy.Load, serval.Background }
	s.handler = func(ctx context.Context, req *serval.Request, sink serval.Sink) error {
		if now := inside.Add(1); busy.Load() {
			together.Store(max(together.Load(), now))
		}
		defer inside.Add(-1)
		if req.Priority != serval.Background {
			t.Errorf("a call has priority %d", req.Priority)
		}
		return echo(ctx, req, sink)
	}
	s.bus.Send(t, s.from, numbered(0, n, 5))
	w := s.start(t)
	w.written(t, 1)
	if st := w.Status(); st.Read-st.Written > 3*128 { // two bites, and what is being written
		t.Errorf("busy, %d messages are read and %d written", st.Read, st.Written)
	}
	w.written(t, n)
	if together.Load() != 1 {
		t.Errorf("busy, %d calls ran together", together.Load())
	}
	busy.Store(false)
	s.bus.Send(t, s.from, numbered(n, n+later, 5))
	w.written(t, n+later)
	w.stop()
	s.check(t, s.bus.All(t, s.to), n+later, 5, true)
}

// deadLetters returns what is in the place for them, by value.
func (s *setup) deadLetters(t *testing.T, n uint64) map[string]stream.Message {
	t.Helper()
	list := s.bus.All(t, s.dead)
	if uint64(len(list)) != n {
		t.Errorf("%d dead letters, not %d", len(list), n)
	}
	by := map[string]stream.Message{}
	for _, m := range list {
		by[string(m.Value[:min(len(m.Value), 20)])] = m
	}
	return by
}

func deadOf(st serval.StreamStatus) (n uint64) {
	for _, c := range st.Dead {
		n += c
	}
	return n
}

// large: a large message passes; one above the stream's limit is a dead letter, and so is one whose result the target refuses.
func large(t *testing.T, s *setup) {
	fits, refused := s.bus.Large()
	s.handler = func(ctx context.Context, req *serval.Request, sink serval.Sink) error {
		if c := req.Input.(*serval.Completion); c.Text == "grow" {
			c.Text = strings.Repeat("g", refused)
		}
		return echo(ctx, req, sink)
	}
	const limit = 200_000
	s.change = func(o *stream.Options) { o.MaxMessage = max(limit, fits) }
	var above []byte
	if fits > 2*limit {
		s.change = func(o *stream.Options) { o.MaxMessage = fits - limit }
		above = append([]byte("above"), bytes.Repeat([]byte("x"), fits-limit)...)
	}
	list := []stream.Message{
		{Key: []byte("k"), Value: []byte("first")}, {Key: []byte("k"), Value: append([]byte("large"), bytes.Repeat([]byte("x"), fits-2*limit)...)},
		{Key: []byte("k"), Value: []byte("grow")}, {Key: []byte("k"), Value: []byte("last")},
	}
	if above != nil {
		list = append(list, stream.Message{Key: []byte("k"), Value: above})
	}
	s.bus.Send(t, s.from, list)
	w := s.start(t)
	w.written(t, 3)
	want := uint64(len(list) - 3)
	await(t, "dead letters", func() bool { return deadOf(w.Status()) == want })
	w.stop()
	var order []string
	for _, m := range s.bus.All(t, s.to) {
		order = append(order, strings.TrimRight(string(m.Value[:min(len(m.Value), 5)]), "x"))
	}
	if s.Unordered {
		slices.SortFunc(order, func(x, y string) int {
			return strings.Index("first large last", x) - strings.Index("first large last", y)
		})
	}
	if fmt.Sprint(order) != "[first large last]" {
		t.Errorf("results: %q", order)
	}
	dead := s.deadLetters(t, want)
	if m, ok := dead["grow"]; !ok {
		t.Error("the message whose result was refused is no dead letter")
	} else if code, _ := m.Header(stream.HeaderCode); string(code) != "too_large" {
		t.Errorf("its code is %q", code)
	}
	if w.Status().Dead["too_large"] != want {
		t.Errorf("counted: %v", w.Status().Dead)
	}
}

// poison: what can never be answered is a dead letter with all that is known of it, and what follows it is not held up.
func poison(t *testing.T, s *setup) {
	const n = 200
	s.handler = func(ctx context.Context, req *serval.Request, sink serval.Sink) error {
		var i int
		if fmt.Sscan(req.Input.(*serval.Completion).Text, &i); i%10 == 3 {
			return serval.Errorf(serval.InvalidArgument, "the field 'age' must be a number").At("age")
		}
		if i%50 == 7 {
			return errors.New("the model breaks") // Internal, again and again
		}
		return uneven(ctx, req, sink)
	}
	list := numbered(0, n, 4)
	for i := range list {
		list[i].Headers = []stream.Header{{Key: "colour", Value: []byte("red")}}
	}
	s.bus.Send(t, s.from, list)
	w := s.start(t)
	w.written(t, n-n/10-n/50)
	await(t, "dead letters", func() bool { return deadOf(w.Status()) == n/10+n/50 })
	w.stop()
	if got := len(s.bus.All(t, s.to)); got != n-n/10-n/50 {
		t.Errorf("%d results", got)
	}
	dead := s.deadLetters(t, n/10+n/50)
	m := dead["13"]
	for key, want := range map[string]string{
		"colour": "red", stream.HeaderCode: "invalid_argument", stream.HeaderError: "the field 'age' must be a number", stream.HeaderParam: "age",
		stream.HeaderStream: s.name, stream.HeaderModel: "m", stream.HeaderTopic: s.from, stream.HeaderAttempts: "1",
	} {
		if v, _ := m.Header(key); string(v) != want {
			t.Errorf("dead letter: header %s is %q, not %q", key, v, want)
		}
	}
	if _, ok := m.Header(stream.HeaderOffset); !ok {
		if _, ok := m.Header(stream.HeaderID); !ok {
			t.Error("dead letter: no position")
		}
	}
	if string(m.Key) != "key-1" || string(m.Value) != "13" {
		t.Errorf("dead letter: key %q, value %q", m.Key, m.Value)
	}
	broken := dead["7"]
	if v, _ := broken.Header(stream.HeaderAttempts); string(v) != "5" {
		t.Errorf("a message that breaks the model was tried %s times", v)
	}
	if st := w.Status(); st.Dead["invalid_argument"] != n/10 || st.Dead["internal"] != n/50 || st.Retries["internal"] == 0 {
		t.Errorf("status: %+v", st)
	}
}

// retry: what fails for a while is tried again, and nothing overtakes it.
func retry(t *testing.T, s *setup) {
	const n, keys = 500, 7
	var tries counter
	var calls atomic.Int64
	s.handler = func(ctx context.Context, req *serval.Request, sink serval.Sink) error {
		c := req.Input.(*serval.Completion)
		if k := calls.Add(1); k < 50 { // a model that is not there yet
			return serval.Errorf(serval.Unavailable, "loading").After(time.Millisecond)
		}
		if strings.HasSuffix(c.Text, "5") && tries.add(c.Text) <= 2 {
			return serval.Errorf(serval.DeadlineExceeded, "too slow")
		}
		return echo(ctx, req, sink)
	}
	s.bus.Send(t, s.from, numbered(0, n, keys))
	w := s.start(t)
	w.written(t, n)
	w.stop()
	s.check(t, s.bus.All(t, s.to), n, keys, true)
	if st := w.Status(); st.Retries["unavailable"] == 0 || st.Retries["deadline_exceeded"] != 2*n/10 || deadOf(st) != 0 {
		t.Errorf("status: %+v", st)
	}
}

// nowhere: where there is no place for dead letters, nothing is lost: the stream waits and says why.
func nowhere(t *testing.T, s *setup) {
	var fixed atomic.Bool
	s.handler = func(ctx context.Context, req *serval.Request, sink serval.Sink) error {
		if req.Input.(*serval.Completion).Text == "1" && !fixed.Load() {
			return serval.Errorf(serval.InvalidArgument, "no model takes this")
		}
		return echo(ctx, req, sink)
	}
	s.change = func(o *stream.Options) { o.Dead = nil }
	s.bus.Send(t, s.from, numbered(0, 20, 1))
	w := s.start(t)
	await(t, "it says what it waits for", func() bool {
		st := w.Status()
		return st.State == serval.StreamWaiting && strings.Contains(st.Reason, "no model takes this") && strings.Contains(st.Reason, "dead_letter")
	})
	over := uint64(1) // that may be written
	if s.Unordered {
		over = 19
	}
	w.written(t, over)
	time.Sleep(100 * time.Millisecond)
	if got := w.Status().Written; got != over {
		t.Errorf("%d results are written, not %d", got, over)
	}
	fixed.Store(true)
	w.written(t, 20)
	w.stop()
	s.check(t, s.bus.All(t, s.to), 20, 1, true)
}

// failing is a target that is down for its first writes, and loses part of some.
type failing struct {
	stream.Target
	left atomic.Int64
}

func (f *failing) Write(ctx context.Context, list []*stream.Message) error {
	switch n := f.left.Add(-1); {
	case n < 0:
		return f.Target.Write(ctx, list)
	case n%2 == 0:
		return errors.New("the target is down")
	default: // the middle one fails, the others are written
		middle := len(list) / 2
		rest := append(append([]*stream.Message(nil), list[:middle]...), list[middle+1:]...)
		if err := f.Target.Write(ctx, rest); err != nil {
			return err
		}
		return &stream.WriteError{Failed: map[int]error{middle: errors.New("this one not")}}
	}
}

// targetDown: a target that fails, wholly or for some messages, loses nothing, and results end in order.
func targetDown(t *testing.T, s *setup) {
	const n, keys = 1000, 11
	f := &failing{}
	f.left.Store(7)
	s.onto = func(dst stream.Target) stream.Target { f.Target = dst; return f }
	s.change = func(o *stream.Options) { o.MaxInFlight = 200 }
	s.bus.Send(t, s.from, numbered(0, n, keys))
	w := s.start(t)
	w.written(t, n)
	w.stop()
	s.ends(t, s.bus.All(t, s.to), n, keys)
	if st := w.Status(); st.Written != n || st.Retries["unavailable"] == 0 {
		t.Errorf("status: %+v", st)
	}
}

// ends fails the test unless the messages have the values of numbered(0, n), and the last of each come in order for each key: a
// target that writes others of a key past one that it refuses has them all again behind that one.
func (s *setup) ends(t *testing.T, list []stream.Message, n, keys int) {
	t.Helper()
	last := make([]int, n) // where each came last, from 1
	for at, m := range list {
		var i int
		if _, err := fmt.Sscan(string(m.Value), &i); err != nil || i < 0 || i >= n {
			t.Fatalf("a result is %q", m.Value)
		}
		last[i] = at + 1
	}
	for i, at := range last {
		if at == 0 {
			t.Errorf("%d is lost", i)
		} else if i >= keys && at < last[i-keys] && !s.Unordered {
			t.Errorf("of key-%d, %d came last before %d", i%keys, i, i-keys)
		}
	}
}

// targetMissing: where the target does not exist, the stream says so, holds a bounded number of messages, and goes on when it
// does.
func targetMissing(t *testing.T, s *setup) {
	const n, keys = 300, 5
	s.change = func(o *stream.Options) { o.MaxInFlight = 100 }
	s.bus.Send(t, s.from, numbered(0, n, keys))
	w := s.start(t)
	await(t, "it says what is missing", func() bool {
		st := w.Status()
		return st.State == serval.StreamWaiting && st.Reason != "" && st.InFlight > 0
	})
	if st := w.Status(); st.InFlight > 100 || st.Written != 0 || deadOf(st) != 0 {
		t.Errorf("status: %+v", st)
	}
	s.bus.Create(t, s.to)
	w.written(t, n)
	w.stop()
	s.check(t, s.bus.All(t, s.to), n, keys, false)
}

// position: a stream that was stopped goes on exactly where it was.
func position(t *testing.T, s *setup) {
	const n, keys = 600, 9
	for i := range 3 {
		s.bus.Send(t, s.from, numbered(i*n/3, (i+1)*n/3, keys))
		w := s.start(t)
		w.written(t, n/3)
		w.stop()
		if st := w.Status(); st.Read != n/3 {
			t.Errorf("worker %d read %d", i, st.Read)
		}
	}
	s.check(t, s.bus.All(t, s.to), n, keys, true)
}

// drain: a stop finishes what is under way, and what it does not finish in time comes again.
func drain(t *testing.T, s *setup) {
	const n, keys = 400, 6
	var entered atomic.Int64
	release := make(chan struct{})
	s.handler = func(ctx context.Context, req *serval.Request, sink serval.Sink) error {
		if entered.Add(1) > n/2 {
			select {
			case <-release:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return echo(ctx, req, sink)
	}
	s.change = func(o *stream.Options) { o.Drain = 200 * time.Millisecond; o.MaxInFlight = 100; o.Calls = 8 }
	s.bus.Send(t, s.from, numbered(0, n, keys))
	w := s.start(t)
	await(t, "it is stuck", func() bool { return entered.Load() >= n/2+8 })
	w.stop() // after the time to drain
	if got := w.Status().Written; got >= n {
		t.Fatalf("%d written", got)
	}
	close(release)
	s.change = nil
	second := s.start(t)
	await(t, "the rest", func() bool {
		return second.Status().Lag == 0 && second.Status().InFlight == 0 && second.Status().Read > 0
	})
	await(t, "all", func() bool { return len(s.bus.All(t, s.to)) >= n })
	second.stop()
	s.check(t, s.bus.All(t, s.to), n, keys, false)
}
