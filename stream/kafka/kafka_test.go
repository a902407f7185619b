package kafka

import (
	"context"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"serval/internal/testkit"
	"serval/stream"
	"serval/stream/streamtest"
)

// bus is a real Kafka under the suite.
type bus struct {
	k *testkit.KafkaBroker
	t *testing.T
}

func (b bus) Create(t *testing.T, place string) { b.k.Topic(t, place, 4) }

func (b bus) Send(t *testing.T, place string, list []stream.Message) {
	t.Helper()
	cl := b.client(t, kgo.DefaultProduceTopic(place))
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

func (b bus) client(t *testing.T, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(append(opts, kgo.SeedBrokers(b.k.Addr), kgo.ProducerBatchMaxBytes(2<<20), kgo.MetadataMinAge(50*time.Millisecond))...)
	if err != nil {
		t.Fatal(err)
	}
	return cl
}

// All reads every partition up to where its committed messages end now.
func (b bus) All(t *testing.T, place string) (list []stream.Message) {
	t.Helper()
	cl := b.client(t, kgo.ConsumeTopics(place), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords())
	defer cl.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	ends := testkit.KafkaSettled(ctx, t, cl, place)
	left := map[int32]int64{}
	ends.Each(func(o kadm.ListedOffset) {
		if o.Offset > 0 {
			left[o.Partition] = o.Offset
		}
	})
	for len(left) > 0 {
		f := cl.PollFetches(ctx)
		if err := f.Err0(); err != nil {
			t.Fatal(err)
		}
		f.EachRecord(func(r *kgo.Record) {
			if !r.Attrs.IsControl() {
				list = append(list, message(r, nil))
			}
			if end, ok := left[r.Partition]; ok && r.Offset >= end-1 {
				delete(left, r.Partition)
			}
		})
	}
	return list
}

func (b bus) source(place string) *SourceOptions {
	o := defaultSource()
	o.Brokers, o.Topics, o.Group = []string{b.k.Addr}, []string{place}, place
	o.SessionTimeout, o.CommitInterval = 6*time.Second, 100*time.Millisecond
	return o
}

func (b bus) target(place string) *TargetOptions {
	o := defaultTarget()
	o.Brokers, o.Topic = []string{b.k.Addr}, place
	return o
}

func (b bus) Source(ctx context.Context, place string, env stream.Env) (stream.Source, error) {
	return Broker{}.Source(ctx, b.source(place), env)
}

func (b bus) Target(ctx context.Context, place string, env stream.Env) (stream.Target, error) {
	return Broker{}.Target(ctx, b.target(place), env)
}

func (b bus) Session(ctx context.Context, from, to, dead string, env stream.Env) (stream.Session, error) {
	return Broker{}.Session(ctx, b.source(from), b.target(to), b.target(dead), env)
}

func (b bus) Large() (fits, refused int) { return 950_000, 1_200_000 }

func TestConformance(t *testing.T) { streamtest.Run(t, bus{testkit.Kafka(t), t}) }
