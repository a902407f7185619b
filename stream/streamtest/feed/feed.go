package feed

import (
	"context"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"serval/internal/testkit"
	"serval/stream"
	"serval/stream/kafka"
)

// Kafka is topics of four partitions, a streamtest.Feed.
type Kafka struct{ broker *testkit.KafkaBroker }

// New is the Kafka that all tests of the process share.
func New(t testing.TB) Kafka { return Kafka{testkit.Kafka(t)} }

// Create makes a topic.
func (k Kafka) Create(t *testing.T, place string) { k.broker.Topic(t, place, 4) }

// Send puts messages into a topic.
func (k Kafka) Send(t *testing.T, place string, list []stream.Message) {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(k.broker.Addr), kgo.DefaultProduceTopic(place), kgo.MetadataMinAge(50*time.Millisecond))
	if err != nil {
		t.Error(err)
		return
	}
	defer cl.Close()
	var records []*kgo.Record
	for _, m := range list {
		r := &kgo.Record{Key: m.Key, Value: m.Value}
		for _, h := range m.Headers {
			r.Headers = append(r.Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
		}
		records = append(records, r)
	}
	if err := cl.ProduceSync(context.Background(), records...).FirstErr(); err != nil {
		t.Error(err)
	}
}

// Source reads a topic as a member of a group of its name.
func (k Kafka) Source(ctx context.Context, place string, env stream.Env) (stream.Source, error) {
	b := kafka.New()
	o := b.SourceOptions().(*kafka.SourceOptions)
	o.Brokers, o.Topics, o.Group = []string{k.broker.Addr}, []string{place}, place
	o.SessionTimeout, o.CommitInterval = 6*time.Second, 100*time.Millisecond
	return b.Source(ctx, o, env)
}
