package nats

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"serval"
	"serval/internal/testkit"
	"serval/stream"
)

// flow is a stream.Worker over a source and a target, which answers each message with its own text.
type flow struct {
	*stream.Worker
	stop func()
	log  *logged
}

type text struct{}

func (text) Decode(m *stream.Message, _ *serval.ModelInfo, call *stream.Call) error {
	call.Input = &serval.Completion{Text: string(m.Value)}
	return nil
}

func (text) Encode(_ *stream.Message, _ *stream.Call, a *stream.Answer, out *stream.Message) error {
	out.Value = []byte(a.Text)
	return nil
}

type anyModel struct{}

func (anyModel) Model(ref serval.Ref) (serval.ModelInfo, error) {
	return serval.ModelInfo{Name: ref.Name, Language: &serval.Language{}}, nil
}

// logged is a worker's log.
type logged struct {
	warn func(string, ...any)
	mu   sync.Mutex // guards text
	text strings.Builder
}

func (l *logged) Write(p []byte) (int, error) {
	l.warn(strings.TrimSpace(string(p)))
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// has says whether the words were logged.
func (l *logged) has(words string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.text.String(), words)
}

// run starts a worker as instance. work may be nil.
func run(t *testing.T, b *bus, in *SourceOptions, out *TargetOptions, instance string, work func(context.Context, string)) *flow {
	t.Helper()
	say := warn(t)
	log := &logged{warn: say}
	w := stream.New(stream.Options{
		Name: "flow", Model: serval.Ref{Name: "m"}, Models: anyModel{}, Format: text{}, OnError: "drop", Drain: 20 * time.Second,
		Log: slog.New(slog.NewTextHandler(log, nil)), Retry: stream.Retry{Min: 5 * time.Millisecond, Max: 100 * time.Millisecond},
		Handler: serval.HandlerFunc(func(ctx context.Context, req *serval.Request, sink serval.Sink) error {
			in := req.Input.(*serval.Completion).Text
			if work != nil {
				work(ctx, in)
			}
			return sink.Send(&serval.Chunk{Output: &serval.Delta{Text: in}, Finish: serval.Stop})
		}),
		Open: func(ctx context.Context, owner stream.Owner) (stream.Source, stream.Target, error) {
			env := stream.Env{Stream: "flow", Instance: instance, Dir: b.dir, Owner: owner, Warn: say}
			src, err := b.b.Source(ctx, in, env)
			if err != nil {
				return nil, nil, err
			}
			dst, err := b.b.Target(ctx, out, env)
			if err != nil {
				return nil, nil, errors.Join(err, src.Close())
			}
			return src, dst, nil
		},
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { w.Run(ctx); close(done) }()
	stop := func() { cancel(); <-done }
	t.Cleanup(stop)
	return &flow{w, stop, log}
}

// done says whether every message is acked.
func (w *flow) done(t *testing.T) bool {
	left, err := w.Backlog(t.Context())
	return err == nil && left == 0
}

func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within a minute: %s", what)
		}
	}
}

// numbers are messages with the values from to to-1 over so many keys.
func numbers(from, to, keys int) (list []stream.Message) {
	for i := from; i < to; i++ {
		list = append(list, stream.Message{Key: fmt.Appendf(nil, "k%d", i%keys), Value: fmt.Appendf(nil, "%d", i)})
	}
	return list
}

// tally checks results of numbers(0, n, keys): none is missing, those of each key are in order, as they stood when each came
// last. It returns how many came again.
func tally(t *testing.T, list []stream.Message, n, keys int) (again int) {
	t.Helper()
	last := make([]int, n)
	for at, m := range list {
		var i int
		if _, err := fmt.Sscan(string(m.Value), &i); err != nil || i < 0 || i >= n {
			t.Fatalf("a result is %q", m.Value)
		}
		if string(m.Key) != fmt.Sprintf("k%d", i%keys) {
			t.Errorf("result %d has the key %q", i, m.Key)
		}
		if last[i] > 0 {
			again++
		}
		last[i] = at + 1
	}
	lost, early := 0, 0
	for i, at := range last {
		switch {
		case at == 0:
			lost++
		case i >= keys && at < last[i-keys]:
			early++
		}
	}
	if lost > 0 || early > 0 {
		t.Errorf("of %d results %d are lost, %d come before one that they must follow", n, lost, early)
	}
	return again
}

// places makes the streams of a test and returns their names.
func (b *bus) places(t *testing.T, replicas int) (in, out string) {
	t.Helper()
	name := named(t.Name()) + fmt.Sprint(time.Now().UnixNano())
	in, out = name+"-in", name+"-out"
	b.create(t, in, replicas)
	b.create(t, out, replicas)
	return in, out
}

// TestSlow: messages that are worked on for longer than ack_wait are not given out again, with lanes and without.
func TestSlow(t *testing.T) {
	t.Parallel()
	b := newBus(t, New(), "", testkit.NATS(t).URL)
	for _, order := range []string{"lane", "none"} {
		t.Run(order, func(t *testing.T) {
			t.Parallel()
			in, out := b.places(t, 1)
			o := b.source(in)
			o.AckWait, o.Order = time.Second, order
			keys := 10
			if order == "none" {
				keys = 100 // there is no order to be seen
			}
			b.Send(t, in, numbers(0, 100, keys))
			w := run(t, b, o, b.target(out), "i", func(_ context.Context, text string) {
				if text == "7" {
					time.Sleep(2500 * time.Millisecond)
				}
			})
			await(t, "all results", func() bool { return w.Status().Written == 100 })
			w.stop()
			if read := w.Status().Read; read != 100 {
				t.Errorf("%d messages were read", read)
			}
			if again := tally(t, b.All(t, out), 100, keys); again > 0 {
				t.Errorf("%d came again", again)
			}
		})
	}
}

// TestUnordered: without order all workers pull from one consumer, and what one leaves behind the others get at once.
func TestUnordered(t *testing.T) {
	t.Parallel()
	const n = 2000
	b := newBus(t, New(), "", testkit.NATS(t).URL)
	in, out := b.places(t, 1)
	o := b.source(in)
	o.Order, o.AckWait = "none", time.Hour
	b.Send(t, in, numbers(0, n, 10))
	var stuck atomic.Bool
	stuck.Store(true)
	work := func(ctx context.Context, _ string) {
		for stuck.Load() && ctx.Err() == nil {
			time.Sleep(time.Millisecond)
		}
	}
	first := run(t, b, o, b.target(out), "a", work)
	await(t, "the first holds messages", func() bool { return first.Status().Read > 100 })
	stuck.Store(false)
	workers := []*flow{first, run(t, b, o, b.target(out), "b", nil), run(t, b, o, b.target(out), "c", nil)}
	b.Send(t, in, numbers(n, 2*n, 10))
	await(t, "all results", func() bool {
		sum := uint64(0)
		for _, w := range workers {
			sum += w.Status().Written
		}
		return sum >= 2*n
	})
	// Without finishing what it holds: its messages must not wait for ack_wait, which is an hour.
	src, err := b.b.Source(t.Context(), o, stream.Env{Stream: "flow", Instance: "d", Owner: nobody{}, Warn: warn(t)})
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range workers {
		w.stop()
	}
	b.Send(t, in, numbers(2*n, 2*n+10, 10))
	for read := 0; read < 10; {
		list, err := src.Read(t.Context(), 10)
		if err != nil {
			t.Fatal(err)
		}
		read += len(list)
	}
	if err := src.Close(); err != nil {
		t.Error(err)
	}
	w := run(t, b, o, b.target(out), "e", nil)
	await(t, "the rest", func() bool { return w.Status().Written == 10 })
	w.stop()
	seen := map[string]bool{}
	for _, m := range b.All(t, out) {
		if seen[string(m.Value)] {
			t.Errorf("%s came again", m.Value)
		}
		seen[string(m.Value)] = true
	}
	if len(seen) != 2*n+10 {
		t.Errorf("%d of %d results", len(seen), 2*n+10)
	}
}

// nobody owns lanes, which may go at once.
type nobody struct{ trouble func(string) }

func (nobody) Revoke(context.Context, []*stream.Lane) {}
func (nobody) Lost([]*stream.Lane)                    {}
func (o nobody) Trouble(reason string) {
	if o.trouble != nil {
		o.trouble(reason)
	}
}

// TestStolen: somebody else pulls from a lane's consumer, which the lane's owner sees: it reads again from what was not acked.
func TestStolen(t *testing.T) {
	t.Parallel()
	const n, keys = 3000, 8
	b := newBus(t, New(), "", testkit.NATS(t).URL)
	in, out := b.places(t, 1)
	w := run(t, b, b.source(in), b.target(out), "i", nil)
	b.Send(t, in, numbers(0, n/2, keys))
	await(t, "half", func() bool { return w.Status().Written >= n/2 })
	stolen := 0
	for lane := range 4 {
		c, err := b.js.Consumer(t.Context(), in, fmt.Sprintf("c-%d", lane))
		if err != nil {
			t.Fatal(err)
		}
		batch, err := c.Fetch(20, jetstream.FetchMaxWait(time.Second))
		if err != nil {
			t.Fatal(err)
		}
		go b.Send(t, in, numbers(n/2+lane*n/8, n/2+(lane+1)*n/8, keys))
		for range batch.Messages() {
			stolen++
		}
		await(t, "what was sent", func() bool {
			return w.Status().InFlight == 0 && w.Status().Lag == 0
		})
	}
	await(t, "all", func() bool { return len(b.All(t, out)) >= n })
	w.stop()
	if stolen == 0 {
		t.Error("nothing was stolen")
	}
	t.Logf("%d stolen, %d came again", stolen, tally(t, b.All(t, out), n, keys))
}

// TestCrash: a worker that is gone without a word loses its lanes when its leases end; one that comes back under its name has
// them at once.
func TestCrash(t *testing.T) {
	t.Parallel()
	const n, keys = 400, 8
	b := newBus(t, New(), "", testkit.NATS(t).URL)
	in, out := b.places(t, 1)
	b.Send(t, in, numbers(0, n, keys))
	open := func(o *SourceOptions, instance string) *source {
		t.Helper()
		src, err := b.b.Source(t.Context(), o, stream.Env{Stream: "flow", Instance: instance, Owner: nobody{}, Warn: warn(t)})
		if err != nil {
			t.Fatal(err)
		}
		return src.(*source)
	}
	die := func(s *source) {
		s.nc.Close() // nothing can be said any more
		s.stop()
		s.work.Wait()
	}
	read := func(s *source, n int) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		for got := 0; got < n; {
			list, err := s.Read(ctx, n)
			if err != nil {
				t.Fatal(err)
			}
			got += len(list)
		}
	}
	long, short := b.source(in), b.source(in)
	long.Lease, long.Consumer, short.Lease = time.Hour, "long", 3*time.Second
	first := open(long, "a")
	read(first, n)
	if left, err := first.Backlog(t.Context()); err != nil || left != n {
		t.Errorf("%d messages are to be done, not %d (%v)", left, n, err)
	}
	die(first)
	again := open(long, "a") // it does not wait for its own leases, which are long
	read(again, n)
	if err := again.Close(); err != nil {
		t.Error(err)
	}
	other := open(long, "b") // what is closed leaves no leases behind
	read(other, n)
	die(other)
	gone := open(short, "a")
	read(gone, n)
	die(gone)
	w := run(t, b, short, b.target(out), "b", nil)
	await(t, "all results", func() bool { return w.Status().Written == n })
	w.stop()
	if again := tally(t, b.All(t, out), n, keys); again > 0 {
		t.Errorf("%d came again", again)
	}
}

// TestAgain: who answers all of it again writes nothing anew, unless it is a replay.
func TestAgain(t *testing.T) {
	t.Parallel()
	const n, keys = 300, 8
	b := newBus(t, New(), "", testkit.NATS(t).URL)
	in, out := b.places(t, 1)
	b.Send(t, in, numbers(0, n, keys))
	for round, want := range []int{n, 0, n} {
		have, env := len(b.All(t, out)), stream.Env{Stream: "flow", Instance: "i", Owner: nobody{}, Warn: warn(t)}
		if round == 2 {
			env.Again = true
		}
		target, err := b.b.Target(t.Context(), b.target(out), env)
		if err != nil {
			t.Fatal(err)
		}
		o := b.source(in)
		o.Consumer = fmt.Sprint("round", round)
		src, err := b.b.Source(t.Context(), o, env)
		if err != nil {
			t.Fatal(err)
		}
		for got := 0; got < n; {
			list, err := src.Read(t.Context(), n)
			if err != nil {
				t.Fatal(err)
			}
			got += len(list)
			var answers []*stream.Message
			for _, m := range list {
				answers = append(answers, &stream.Message{Key: m.Key, Value: m.Value, Position: m.Position, Time: m.Time, Lane: m.Lane})
			}
			if err := target.Write(t.Context(), answers); err != nil {
				t.Fatal(err)
			}
		}
		if err := errors.Join(src.Close(), target.Close()); err != nil {
			t.Error(err)
		}
		if more := len(b.All(t, out)) - have; more != want {
			t.Errorf("round %d: %d results more, not %d", round, more, want)
		}
	}
}

// TestDeleted: what is deleted under a stream is said, and made anew.
func TestDeleted(t *testing.T) {
	t.Parallel()
	b := newBus(t, New(), "", testkit.NATS(t).URL)
	in, out := b.places(t, 1)
	w := run(t, b, b.source(in), b.target(out), "i", nil)
	said := func(words string) func() bool { return func() bool { return w.log.has(words) } }
	b.Send(t, in, numbers(0, 100, 5))
	await(t, "results", func() bool { return w.Status().Written == 100 })
	if err := b.js.DeleteConsumer(t.Context(), in, "c-2"); err != nil {
		t.Fatal(err)
	}
	await(t, "a word about the consumer", said("the consumer 'c-2' of stream '"+in+"' was deleted"))
	b.Send(t, in, numbers(100, 200, 5))
	await(t, "more results", func() bool { return len(b.All(t, out)) >= 200 })
	if err := b.js.DeleteStream(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	await(t, "a word about the stream", said("there is no stream '"+in+"'"))
	b.create(t, in, 1)
	b.Send(t, in, numbers(200, 300, 5))
	await(t, "the last results", func() bool { return len(b.All(t, out)) >= 300 })
	w.stop()
	tally(t, b.All(t, out), 300, 5)
}

// TestRestart: a server that goes away costs nothing but time.
func TestRestart(t *testing.T) {
	t.Parallel()
	const n, keys = 4000, 16
	k := testkit.NATSAlone(t, nil)
	b := newBus(t, New(), "", k.URL)
	in, out := b.places(t, 1)
	w := run(t, b, b.source(in), b.target(out), "i", func(context.Context, string) { time.Sleep(time.Millisecond) })
	b.Send(t, in, numbers(0, n/2, keys))
	await(t, "some results", func() bool { return w.Status().Written > 100 })
	k.Stop()
	await(t, "a word about it", func() bool {
		st := w.Status()
		return st.State == serval.StreamWaiting && strings.Contains(st.Reason, "connection")
	})
	k.Start(t)
	await(t, "the connection", func() bool { _, err := b.js.AccountInfo(t.Context()); return err == nil })
	b.Send(t, in, numbers(n/2, n, keys))
	await(t, "all results", func() bool { return w.done(t) && len(b.All(t, out)) >= n })
	if st := w.Status(); st.State != serval.StreamRunning {
		t.Errorf("it is %v: %s", st.State, st.Reason)
	}
	w.stop()
	t.Logf("%d came again", tally(t, b.All(t, out), n, keys))
}

// TestCluster: the leader of the streams is shut down while messages flow.
func TestCluster(t *testing.T) {
	t.Parallel()
	const n, keys = 1500, 16
	nodes := testkit.NATSCluster(t, 3)
	var urls []string
	for _, k := range nodes {
		urls = append(urls, k.URL)
	}
	b := newBus(t, New(), "", strings.Join(urls, ","))
	b.urls = urls
	in, out := b.places(t, 3)
	w := run(t, b, b.source(in), b.target(out), "i", func(context.Context, string) { time.Sleep(time.Millisecond) })
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		for i := 0; i < n; i += 50 {
			sendFor(t, b, in, numbers(i, i+50, keys))
		}
	}()
	for round, place := range []string{in, out} {
		await(t, "some results", func() bool { return w.Status().Written > uint64((round+1)*n/4) })
		for _, k := range nodes {
			if k.Alive() && k.Leads(place) {
				k.Stop()
				t.Logf("the leader of %s is gone", place)
				pause(t.Context(), time.Second)
				k.Start(t)
				break
			}
		}
	}
	<-sent
	await(t, "all results", func() bool { return w.done(t) && w.Status().Written >= n })
	w.stop()
	t.Logf("%d came again", tally(t, b.All(t, out), n, keys))
}

// sendFor sends one message after the other until each is confirmed. Its name keeps one that the server took, and did not say so,
// from being there twice.
func sendFor(t *testing.T, b *bus, place string, list []stream.Message) {
	for _, m := range list {
		out := natsgo.NewMsg(place + "." + string(m.Key))
		out.Data = m.Value
		for {
			ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
			_, err := b.js.PublishMsg(ctx, out, jetstream.WithMsgID(string(m.Value)))
			cancel()
			if err == nil {
				break
			}
			if t.Context().Err() != nil {
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
}
