package kafka

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"serval"
	"serval/stream"
)

// target writes to the client's default topic.
type target struct {
	cl   *kgo.Client
	room room
}

// Write implements stream.Target.
func (t *target) Write(ctx context.Context, messages []*stream.Message) error {
	return t.room.produce(ctx, t.cl, inOrder(""), messages)
}

// Close implements stream.Target.
func (t *target) Close() error {
	t.cl.Close()
	return nil
}

// place says to which topic a message goes, "" for the client's own, and to which partition; -1: where its key belongs, or where
// there is room.
type place func(*stream.Message) (topic string, partition int32)

// inOrder is the place in a topic that keeps messages in the order of their lanes, keys or not.
func inOrder(topic string) place {
	return func(m *stream.Message) (string, int32) {
		if m.Key == nil && m.Lane != nil {
			return topic, m.Position.Partition
		}
		return topic, -1
	}
}

// room is how much is sent together. A topic's limit is one of batches, and the broker refuses a batch that is larger whole, with
// messages in it that are small: then less is sent together, until each batch fits or a message is too large by itself. Calls to
// its methods do not overlap.
type room struct {
	most  int  // bytes of a message, and so of a batch
	bytes int  // of messages that are sent together; 0: nothing was refused yet, and there is no bound
	flush bool // messages are sent once all that go together are with the client; else when its linger is over
}

// room is that of a topic's options.
func (o *TargetOptions) room() room { return room{most: o.MaxMessage, flush: o.Linger == 0} }

// gathering is the linger of clients whose messages do not wait for others: they are flushed long before it is over. Without any
// the client would send the first message of a group in a request of its own before it has the second.
const gathering = 20 * time.Millisecond

// perRecord is about what a record takes in a batch beside its bytes, per header too.
const perRecord = 24

func sizeOf(m *stream.Message) int {
	n := len(m.Key) + len(m.Value) + perRecord
	for i := range m.Headers {
		n += len(m.Headers[i].Key) + len(m.Headers[i].Value) + perRecord
	}
	return n
}

// together is where the group ends that begins at a message.
func (w *room) together(messages []*stream.Message, from int) (to int) {
	if w.bytes == 0 {
		return len(messages)
	}
	bytes := 0
	for to = from; to < len(messages); to++ {
		if bytes += sizeOf(messages[to]); to > from && bytes > w.bytes {
			break
		}
	}
	return to
}

// shrink has less sent together than a group of messages that was refused.
func (w *room) shrink(group []*stream.Message) {
	bytes := 0
	for _, m := range group {
		bytes += sizeOf(m)
	}
	w.bytes = max(1, min(bytes, w.most)/2)
}

// produce sends messages and waits for all of them.
func (w *room) produce(ctx context.Context, cl *kgo.Client, to place, messages []*stream.Message) error {
	failed := map[int]error{}
	for from := 0; from < len(messages); {
		end := w.together(messages, from)
		some := w.send(ctx, cl, to, messages[from:end])
		if len(some) > 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		var refused error // of a batch, because of its size
		for i, err := range some {
			m := messages[from+i]
			if tooLarge(err) && end-from > 1 && sizeOf(m) < w.most {
				refused = serval.Errorf(serval.Unavailable, "kafka: a batch is larger than the topic takes; smaller ones are tried: %w", err)
				failed[from+i] = refused
				continue
			}
			failed[from+i] = class(err, len(m.Key)+len(m.Value), w.most)
			if errors.Is(failed[from+i], stream.ErrBroken) {
				return failed[from+i]
			}
		}
		if refused != nil {
			w.shrink(messages[from:end])
		}
		if from = end; refused != nil {
			for ; from < len(messages); from++ { // they come behind those
				failed[from] = refused
			}
		}
	}
	if len(failed) == 0 {
		return nil
	}
	return &stream.WriteError{Failed: failed}
}

func tooLarge(err error) bool {
	return errors.Is(err, kerr.MessageTooLarge) || errors.Is(err, kerr.RecordListTooLarge)
}

// batch is messages on their way to the brokers. The client has the records and what they hold from Produce until their promise is
// called, and a batch lives until all of them were: nobody writes to it meanwhile, and nothing of it is used again.
type batch struct {
	records []kgo.Record
	sent    sync.WaitGroup

	mu     sync.Mutex // guards what follows; the promises are called by one goroutine, but Produce itself calls some
	failed map[int]error
	next   int // behind the record that failed last: those that fail do so in order, mostly
}

// settled is every record's promise.
func (b *batch) settled(rec *kgo.Record, err error) {
	if err != nil {
		b.mu.Lock()
		for range b.records {
			i := b.next % len(b.records)
			b.next = i + 1
			if rec == &b.records[i] {
				b.failed[i] = err
				break
			}
		}
		b.mu.Unlock()
	}
	b.sent.Done()
}

// send sends messages together, waits for all of them, and says which failed.
func (w *room) send(ctx context.Context, cl *kgo.Client, to place, messages []*stream.Message) map[int]error {
	b := &batch{records: make([]kgo.Record, len(messages)), failed: map[int]error{}}
	n := 0
	for _, m := range messages {
		n += len(m.Headers)
	}
	headers := make([]kgo.RecordHeader, n)
	b.sent.Add(len(messages))
	settled := b.settled
	for i, m := range messages {
		rec := &b.records[i]
		rec.Key, rec.Value = m.Key, m.Value
		rec.Topic, rec.Partition = to(m)
		if k := len(m.Headers); k > 0 {
			rec.Headers, headers = headers[:k:k], headers[k:]
			for j, h := range m.Headers {
				rec.Headers[j] = kgo.RecordHeader{Key: h.Key, Value: h.Value}
			}
		}
		cl.Produce(ctx, rec, settled)
	}
	if w.flush {
		_ = cl.Flush(ctx) // an error is ctx's end, which the promises tell too
	}
	b.sent.Wait()
	return b.failed
}

// class says what an error of the producer means for the message.
func class(err error, size, most int) error {
	switch {
	case tooLarge(err):
		return stream.Permanent(serval.Errorf(serval.TooLarge, "kafka: a message of %d bytes is more than the target takes (max_message is %d, the topic has its own max.message.bytes)", size, most).Because(err))
	case errors.Is(err, kerr.InvalidTimestamp):
		return serval.Errorf(serval.Unavailable, "kafka: the clocks of this server and of the broker are further apart than the topic allows (message.timestamp.after.max.ms and before.max.ms); set them right, and writing goes on: %w", err)
	case errors.Is(err, kerr.InvalidRecord):
		return stream.Permanent(serval.Errorf(serval.InvalidArgument, "kafka: the topic refuses the message: %w", err))
	case errors.Is(err, kerr.ProducerFenced), errors.Is(err, kerr.InvalidProducerEpoch), errors.Is(err, kerr.TransactionalIDAuthorizationFailed), errors.Is(err, kgo.ErrClientClosed):
		return serval.Errorf(serval.Unavailable, "kafka: %v", err).Because(errors.Join(stream.ErrBroken, err))
	case errors.Is(err, kerr.UnknownTopicOrPartition), errors.Is(err, kerr.UnknownTopicID):
		return serval.Errorf(serval.NotFound, "kafka: the target's topic does not exist; create it, and writing goes on: %w", err)
	case errors.Is(err, kerr.TopicAuthorizationFailed), errors.Is(err, kerr.ClusterAuthorizationFailed), errors.Is(err, kerr.SaslAuthenticationFailed):
		return serval.Errorf(serval.PermissionDenied, "kafka: %w", err)
	}
	return serval.Errorf(serval.Unavailable, "kafka: %w", err)
}

// partitioner sends records where their Partition says, so that they stay in order; else those with a key where Java's producer
// would, and those without wherever there is room.
type partitioner struct{ kgo.Partitioner }

func (p partitioner) ForTopic(topic string) kgo.TopicPartitioner {
	return &topicPartitioner{p.Partitioner.ForTopic(topic)}
}

type topicPartitioner struct{ usual kgo.TopicPartitioner }

func (p *topicPartitioner) RequiresConsistency(r *kgo.Record) bool {
	return r.Key != nil || r.Partition >= 0
}

func (p *topicPartitioner) Partition(r *kgo.Record, n int) int {
	if r.Partition >= 0 {
		return int(r.Partition) % n
	}
	return p.usual.Partition(r, n)
}

// OnNewBatch lets the usual partitioner move on to another partition.
func (p *topicPartitioner) OnNewBatch() {
	if o, ok := p.usual.(kgo.TopicPartitionerOnNewBatch); ok {
		o.OnNewBatch()
	}
}
