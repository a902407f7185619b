package kafka

import (
	"context"
	"errors"
	"fmt"
	"io"
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

func (b bus) Peek(ctx context.Context, place string, v stream.View, env stream.Env) (stream.Peek, error) {
	return Broker{}.Peek(ctx, b.target(place), v, env)
}

func (b bus) Return(ctx context.Context, place string, env stream.Env) (stream.Target, error) {
	return Broker{}.Return(ctx, b.source(place), env)
}

func TestPeek(t *testing.T) { streamtest.RunPeek(t, bus{testkit.Kafka(t), t}) }

// TestPeekTransactions: a look shows what is committed, and ends, whatever marks stand at a partition's end.
func TestPeekTransactions(t *testing.T) {
	b := bus{testkit.Kafka(t), t}
	place := fmt.Sprintf("peek-txn-%d", time.Now().UnixNano())
	b.Create(t, place)
	cl := b.client(t, kgo.DefaultProduceTopic(place), kgo.TransactionalID(place), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	defer cl.Close()
	transaction := func(value string, how kgo.TransactionEndTry) {
		t.Helper()
		if err := cl.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		if err := cl.ProduceSync(t.Context(), &kgo.Record{Value: []byte(value)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
		if err := cl.EndTransaction(t.Context(), how); err != nil {
			t.Fatal(err)
		}
	}
	transaction("1", kgo.TryCommit)
	transaction("2", kgo.TryAbort)
	transaction("3", kgo.TryCommit)
	transaction("4", kgo.TryAbort)
	testkit.KafkaSettled(t.Context(), t, cl, place)
	if err := cl.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	if err := cl.ProduceSync(t.Context(), &kgo.Record{Value: []byte("5")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	p, err := b.Peek(t.Context(), place, stream.View{}, quiet())
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	var got []string
	for {
		list, err := p.Read(t.Context(), 10)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		for i := range list {
			got = append(got, string(list[i].Value))
		}
	}
	if fmt.Sprint(got) != "[1 3]" {
		t.Errorf("seen: %v", got)
	}
	if err := cl.EndTransaction(t.Context(), kgo.TryAbort); err != nil {
		t.Fatal(err)
	}
}
