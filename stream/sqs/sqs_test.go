package sqs

import (
	"context"
	"crypto/rand"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"serval"
	"serval/internal/testkit"
	"serval/stream"
	"serval/stream/streamtest"
)

// bus is a real server of queues under the suite.
type bus struct {
	q    *testkit.Queues
	fifo bool

	mu   sync.Mutex
	seen map[string][]stream.Message // by place: what All took out of it
}

func newBus(t *testing.T, fifo bool) *bus {
	return &bus{q: testkit.SQS(t), fifo: fifo, seen: map[string][]stream.Message{}}
}

// Traits: a standard queue has no order, and a FIFO queue's name tells that it is one.
func (b *bus) Traits() streamtest.Traits {
	if b.fifo {
		return streamtest.Traits{Suffix: fifoSuffix, Slow: true, Waits: true}
	}
	return streamtest.Traits{Unordered: true, Slow: true, Waits: true}
}

func (b *bus) Create(t *testing.T, place string) { b.q.Queue(t, place) }

func (b *bus) Send(t *testing.T, place string, list []stream.Message) {
	t.Helper()
	entries := make([]types.SendMessageBatchRequestEntry, len(list))
	for i := range list {
		c := pack(&list[i], b.fifo)
		entries[i] = types.SendMessageBatchRequestEntry{MessageBody: &c.body, MessageAttributes: c.attrs}
		if b.fifo {
			entries[i].MessageGroupId, entries[i].MessageDeduplicationId = &c.group, aws.String(rand.Text())
		}
	}
	b.q.Send(t, place, entries)
}

// All takes what is there out of the queue, and returns it with what it took before.
func (b *bus) All(t *testing.T, place string) []stream.Message {
	t.Helper()
	list := b.q.Drain(t, place, 100*time.Millisecond)
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range list {
		b.seen[place] = append(b.seen[place], unpack(&list[i]))
	}
	return append([]stream.Message(nil), b.seen[place]...)
}

func (b *bus) connection(place string) Connection {
	return Connection{Queue: place, Endpoint: b.q.Endpoint, Region: b.q.Region, AccessKey: "serval", SecretKey: "serval"}
}

func (b *bus) source(place string) *SourceOptions {
	o := defaultSource()
	o.Connection, o.Wait, o.Visibility = b.connection(place), time.Second, 6*time.Second
	return o
}

func (b *bus) Source(ctx context.Context, place string, env stream.Env) (stream.Source, error) {
	return Broker{}.Source(ctx, b.source(place), env)
}

func (b *bus) Target(ctx context.Context, place string, env stream.Env) (stream.Target, error) {
	o := defaultTarget()
	o.Connection = b.connection(place)
	return Broker{}.Target(ctx, o, env)
}

func (b *bus) Session(ctx context.Context, from, to, dead string, env stream.Env) (stream.Session, error) {
	return nil, serval.Errorf(serval.Unimplemented, "there are no transactions")
}

// Large has room for the attributes.
func (b *bus) Large() (fits, refused int) { return 1_000_000, 1_048_576 }

func TestConformance(t *testing.T) {
	kinds(t, func(t *testing.T, b *bus) { streamtest.Run(t, b) })
}
