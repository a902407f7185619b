package nats

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"serval"
	"serval/internal/testkit"
	"serval/stream"
	"serval/stream/streamtest"
)

// bus is a real server under the suite. Places are streams of the same name, partitioned as an operator would do it; keys are
// tokens of the subject.
type bus struct {
	b    *Broker
	urls []string // none: the embedded server
	dir  string
	js   jetstream.JetStream
}

// newBus is a bus on a server that others can reach under url. dir is the data folder of the embedded server, which is meant where
// it is not empty.
func newBus(t testing.TB, b *Broker, dir, url string) *bus {
	t.Helper()
	out := &bus{b: b, dir: dir}
	if dir == "" {
		out.urls = []string{url}
	}
	nc, err := natsgo.Connect(url, natsgo.MaxReconnects(-1), natsgo.ReconnectWait(20*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	if out.js, err = jetstream.New(nc); err != nil {
		t.Fatal(err)
	}
	return out
}

func (b *bus) Create(t *testing.T, place string) { b.create(t, place, 1) }

func (b *bus) create(t testing.TB, place string, replicas int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	_, err := b.js.CreateStream(ctx, jetstream.StreamConfig{
		Name: place, Subjects: below(place), Replicas: replicas,
		SubjectTransform: &jetstream.SubjectTransformConfig{Source: place + ".>", Destination: place + ".{{partition(4)}}.>"},
	})
	if err != nil {
		t.Fatal(err)
	}
}

func (b *bus) Send(t *testing.T, place string, list []stream.Message) {
	t.Helper()
	b.send(t, place, list)
}

func (b *bus) send(t testing.TB, place string, list []stream.Message) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var sent []jetstream.PubAckFuture
	for _, m := range list {
		out := &natsgo.Msg{Subject: place, Data: m.Value, Header: natsgo.Header{}}
		if m.Key != nil {
			out.Subject += "." + string(m.Key)
		}
		for _, h := range m.Headers {
			out.Header.Add(h.Key, string(h.Value))
		}
		f, err := b.js.PublishMsgAsync(out)
		if err != nil {
			t.Error(err)
			return
		}
		sent = append(sent, f)
	}
	for _, f := range sent {
		select {
		case <-f.Ok():
		case err := <-f.Err():
			t.Error(err)
		case <-ctx.Done():
			t.Error(ctx.Err())
		}
	}
}

// All reads a stream from its beginning to its end, as anybody would.
func (b *bus) All(t *testing.T, place string) (list []stream.Message) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	st, err := b.js.Stream(ctx, place)
	if err != nil {
		t.Fatal(err)
	}
	n := int(st.CachedInfo().State.Msgs)
	c, err := st.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	for len(list) < n {
		batch, err := c.Fetch(n-len(list), jetstream.FetchMaxWait(5*time.Second))
		if err != nil {
			t.Fatal(err)
		}
		for m := range batch.Messages() {
			out := stream.Message{Value: m.Data()}
			out.Headers, out.Key = headers(m.Headers())
			list = append(list, out)
		}
		if ctx.Err() != nil {
			t.Fatal(ctx.Err())
		}
	}
	return list
}

func (b *bus) env(env stream.Env) stream.Env {
	env.Dir = b.dir
	return env
}

func (b *bus) source(place string) *SourceOptions {
	o := defaultSource()
	o.URLs, o.Stream, o.Consumer = b.urls, place, "c"
	o.Make.When = "never"
	return o
}

func (b *bus) target(place string) *TargetOptions {
	o := defaultTarget()
	o.URLs, o.Subject = b.urls, place
	o.Make.When = "never"
	return o
}

func (b *bus) Source(ctx context.Context, place string, env stream.Env) (stream.Source, error) {
	return b.b.Source(ctx, b.source(place), b.env(env))
}

func (b *bus) Target(ctx context.Context, place string, env stream.Env) (stream.Target, error) {
	return b.b.Target(ctx, b.target(place), b.env(env))
}

func (b *bus) Session(context.Context, string, string, string, stream.Env) (stream.Session, error) {
	return nil, serval.Errorf(serval.Unimplemented, "there are no transactions")
}

func (b *bus) Large() (fits, refused int) { return 950_000, 1_200_000 }

var _ streamtest.Bus = (*bus)(nil)

func TestConformance(t *testing.T) {
	t.Parallel()
	streamtest.Run(t, newBus(t, New(), "", testkit.NATS(t).URL))
}

// TestConformanceEmbedded is the same on the server in this process, which others reach by its port.
func TestConformanceEmbedded(t *testing.T) {
	t.Parallel()
	b, url, dir := inProcess(t)
	streamtest.Run(t, newBus(t, b, dir, url))
}

// inProcess is a broker whose embedded server runs, and where others reach it.
func inProcess(t *testing.T) (b *Broker, url, dir string) {
	t.Helper()
	b, dir = New(), t.TempDir()
	at := freeAddress(t)
	o := defaultTarget()
	o.Subject, o.Embedded.Listen = "unused", at
	if err := b.Settle(o); err != nil {
		t.Fatal(err)
	}
	if _, err := b.start(stream.Env{Dir: dir, Warn: warn(t)}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b, "nats://" + at, dir
}

// warn logs what a broker warns of while the test runs.
func warn(t *testing.T) func(string, ...any) {
	var mu sync.Mutex
	over := false
	t.Cleanup(func() { mu.Lock(); defer mu.Unlock(); over = true })
	return func(text string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		if !over {
			t.Log(text, fmt.Sprint(args...))
		}
	}
}

// freeAddress is one of loopback's that nobody listens on, and that no client is given meanwhile.
func freeAddress(t *testing.T) string { return fmt.Sprintf("127.0.0.1:%d", testkit.Port(t)) }

func (b *bus) Peek(ctx context.Context, place string, v stream.View, env stream.Env) (stream.Peek, error) {
	return b.b.Peek(ctx, b.target(place), v, b.env(env))
}

func (b *bus) Return(ctx context.Context, place string, env stream.Env) (stream.Target, error) {
	return b.b.Return(ctx, b.source(place), b.env(env))
}

func TestPeek(t *testing.T) {
	t.Parallel()
	streamtest.RunPeek(t, newBus(t, New(), "", testkit.NATS(t).URL))
}
