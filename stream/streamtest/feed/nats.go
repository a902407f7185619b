package feed

import (
	"context"
	"testing"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"serval/internal/testkit"
	"serval/stream"
	"serval/stream/nats"
	"serval/stream/streamtest"
)

// NATS is streams of four partitions, a streamtest.Feed.
type NATS struct {
	url       string
	js        jetstream.JetStream
	unordered bool
}

// NewNATS is a server of the test's own. Unordered, messages have no lanes: each worker takes whatever comes next.
func NewNATS(t testing.TB, unordered bool) NATS {
	t.Helper()
	url := testkit.NATS(t).URL
	nc, err := natsgo.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return NATS{url, js, unordered}
}

// Traits are what the suite must know of it.
func (n NATS) Traits() streamtest.Traits { return streamtest.Traits{Unordered: n.unordered} }

// Create makes a stream.
func (n NATS) Create(t *testing.T, place string) {
	t.Helper()
	if _, err := n.js.CreateStream(t.Context(), jetstream.StreamConfig{Name: place, Subjects: []string{place + ".>"}, Storage: jetstream.MemoryStorage,
		SubjectTransform: &jetstream.SubjectTransformConfig{Source: place + ".>", Destination: place + ".{{partition(4)}}.>"}}); err != nil {
		t.Fatal(err)
	}
}

// Send puts messages into a stream; all have keys.
func (n NATS) Send(t *testing.T, place string, list []stream.Message) {
	t.Helper()
	for _, m := range list {
		out := &natsgo.Msg{Subject: place + "." + string(m.Key), Data: m.Value, Header: natsgo.Header{}}
		for _, h := range m.Headers {
			out.Header.Add(h.Key, string(h.Value))
		}
		if _, err := n.js.PublishMsg(context.Background(), out); err != nil {
			t.Error(err)
			return
		}
	}
}

// Source reads a stream by a durable consumer.
func (n NATS) Source(ctx context.Context, place string, env stream.Env) (stream.Source, error) {
	b := nats.New()
	o := b.SourceOptions().(*nats.SourceOptions)
	o.URLs, o.Stream, o.Consumer, o.Lease, o.Make.When = []string{n.url}, place, "c", 5*time.Second, "never"
	if n.unordered {
		o.Order = "none"
	}
	return b.Source(ctx, o, env)
}
