package kafka

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"serval"
	"serval/stream"
)

var (
	_ stream.Peeker   = Broker{}
	_ stream.Returner = Broker{}
)

// peekFetch bounds what a look holds in memory beside what its reader has.
const peekFetch = 4 << 20

// stretch is what is looked at of a partition.
type stretch struct {
	lane      *stream.Lane
	next, end int64 // the offset to be read next, and the one before which it ends
	bounded   bool  // by View.To or View.Until: nothing is read behind the end, also of a view that follows
}

// peek reads partitions directly, without a group.
type peek struct {
	cl     *kgo.Client
	admin  *kadm.Client
	follow bool
	size   int64
	parts  map[partition]*stretch
	left   int // stretches whose end was not reached
	ended  bool
	quiet  time.Duration // since something came last
}

// Peek implements stream.Peeker.
func (Broker) Peek(ctx context.Context, options any, v stream.View, env stream.Env) (stream.Peek, error) {
	var c *Connection
	var topics []string
	isolation := kgo.ReadCommitted()
	switch o := options.(type) {
	case *SourceOptions:
		c, topics = &o.Connection, o.Topics
		if o.Isolation == "read_uncommitted" {
			isolation = kgo.ReadUncommitted()
		}
	case *TargetOptions:
		c, topics = &o.Connection, []string{o.Topic}
	default:
		return nil, wrong(options)
	}
	opts, err := c.common(env)
	if err != nil {
		return nil, err
	}
	opts = append(opts, kgo.FetchIsolationLevel(isolation), kgo.FetchMaxBytes(peekFetch), kgo.FetchMaxPartitionBytes(peekFetch/4), kgo.KeepControlRecords(),
		kgo.MaxConcurrentFetches(1), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{}), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	p := &peek{follow: v.Follow, parts: map[partition]*stretch{}}
	if p.cl, err = kgo.NewClient(opts...); err != nil {
		return nil, serval.Errorf(serval.InvalidArgument, "kafka: %w", err)
	}
	p.admin = kadm.NewClient(p.cl)
	if err := p.open(ctx, topics, &v); err != nil {
		p.cl.Close()
		return nil, err
	}
	return p, nil
}

// open finds out where each partition's stretch begins and ends.
func (p *peek) open(ctx context.Context, topics []string, v *stream.View) error {
	starts, err := listed(p.admin.ListStartOffsets(ctx, topics...))
	if err != nil {
		return err
	}
	ends, err := listed(p.admin.ListCommittedOffsets(ctx, topics...))
	if err != nil {
		return err
	}
	at := func(t time.Time) (kadm.ListedOffsets, error) {
		if t.IsZero() {
			return nil, nil
		}
		return listed(p.admin.ListOffsetsAfterMilli(ctx, t.UnixMilli(), topics...))
	}
	since, err := at(v.Since)
	if err != nil {
		return err
	}
	until, err := at(v.Until)
	if err != nil {
		return err
	}
	from, to := byPartition(v.From), byPartition(v.To)
	for q := range from {
		if _, ok := starts.Lookup(q.topic, q.number); !ok {
			return serval.Errorf(serval.NotFound, "kafka: there is no partition %d of a topic '%s' here; the topics are %v", q.number, q.topic, topics).At("from")
		}
	}
	offsets := map[string]map[int32]kgo.Offset{}
	starts.Each(func(o kadm.ListedOffset) {
		q := partition{o.Topic, o.Partition}
		first, named := from[q]
		if len(from) > 0 && !named {
			return
		}
		s := &stretch{next: max(o.Offset, first)}
		s.lane = stream.NewLane(fmt.Sprintf("%s/%d", o.Topic, o.Partition), s)
		if e, ok := ends.Lookup(o.Topic, o.Partition); ok {
			s.end = e.Offset
		}
		if e, ok := since.Lookup(o.Topic, o.Partition); ok {
			s.next = max(s.next, e.Offset)
		}
		if e, ok := until.Lookup(o.Topic, o.Partition); ok {
			s.end, s.bounded = min(s.end, e.Offset), true
		}
		if e, ok := to[q]; ok {
			s.end, s.bounded = min(s.end, e), true
		}
		if v.Last > 0 {
			s.next = max(s.next, s.end-int64(v.Last))
		}
		p.size += max(0, s.end-s.next)
		if s.next < s.end {
			p.left++
		} else if s.bounded || !v.Follow {
			return
		}
		p.parts[q] = s
		if offsets[q.topic] == nil {
			offsets[q.topic] = map[int32]kgo.Offset{}
		}
		offsets[q.topic][q.number] = kgo.NewOffset().At(s.next)
	})
	p.cl.AddConsumePartitions(offsets)
	return nil
}

// listed is a list of offsets where each is known.
func listed(l kadm.ListedOffsets, err error) (kadm.ListedOffsets, error) {
	if err == nil {
		err = l.Error()
	}
	switch {
	case err == nil:
		return l, nil
	case errors.Is(err, kerr.UnknownTopicOrPartition):
		return nil, serval.Errorf(serval.NotFound, "kafka: the topic does not exist: %w", err)
	case errors.Is(err, kerr.TopicAuthorizationFailed):
		return nil, serval.Errorf(serval.PermissionDenied, "kafka: %w", err)
	}
	return nil, serval.Errorf(serval.Unavailable, "kafka: %w", err)
}

func byPartition(list []stream.Position) map[partition]int64 {
	m := map[partition]int64{}
	for _, p := range list {
		m[partition{p.Topic, p.Partition}] = p.Offset
	}
	return m
}

// Size implements stream.Peek. Marks of transactions count too.
func (p *peek) Size() int64 { return p.size }

// A partition whose last offsets hold no record, as compaction may leave it, never shows its end: where nothing comes for so
// long from a broker that answers, it was reached.
const (
	peekPoll  = 500 * time.Millisecond
	peekQuiet = 3 * time.Second
)

// Read implements stream.Peek.
func (p *peek) Read(ctx context.Context, most int) ([]stream.Message, error) {
	for {
		if p.left == 0 && !p.ended {
			p.ended = true
			return nil, io.EOF
		}
		if p.ended && !p.follow {
			return nil, io.EOF
		}
		list, err := p.poll(ctx, most)
		if len(list) > 0 || err != nil {
			return list, err
		}
	}
}

func (p *peek) poll(ctx context.Context, most int) ([]stream.Message, error) {
	wait, cancel := context.WithTimeout(ctx, peekPoll)
	fetches := p.cl.PollRecords(wait, most)
	cancel()
	if ctx.Err() != nil && fetches.NumRecords() == 0 {
		return nil, ctx.Err()
	}
	var list []stream.Message
	var failed error
	fetches.EachError(func(_ string, _ int32, err error) {
		if !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled) {
			failed = serval.Errorf(serval.Unavailable, "kafka: %w", err)
		}
	})
	fetches.EachRecord(func(r *kgo.Record) {
		s := p.parts[partition{r.Topic, r.Partition}]
		if s == nil || r.Offset < s.next {
			return
		}
		before := s.next
		s.next = r.Offset + 1
		if before < s.end && s.next >= s.end {
			p.left--
		}
		if s.bounded && r.Offset >= s.end || !p.follow && r.Offset >= s.end || r.Attrs.IsControl() {
			return
		}
		list = append(list, message(r, s.lane))
	})
	switch {
	case fetches.NumRecords() > 0:
		p.quiet = 0
	case failed == nil && p.left > 0:
		if p.quiet += peekPoll; p.quiet >= peekQuiet {
			p.settle(ctx)
		}
	}
	if len(list) > 0 {
		failed = nil // the next poll says it again, if it matters
	}
	return list, failed
}

// settle takes the partitions that are left as read where their broker answers, and has nothing more to give.
func (p *peek) settle(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, peekQuiet)
	defer cancel()
	topics := map[string]bool{}
	for q, s := range p.parts {
		if s.next < s.end {
			topics[q.topic] = true
		}
	}
	names := make([]string, 0, len(topics))
	for t := range topics {
		names = append(names, t)
	}
	ends, err := p.admin.ListEndOffsets(ctx, names...)
	p.quiet = 0
	if err != nil {
		return
	}
	for q, s := range p.parts {
		if e, ok := ends.Lookup(q.topic, q.number); ok && e.Err == nil && s.next < s.end {
			s.next = s.end
			p.left--
		}
	}
}

// Close implements stream.Peek.
func (p *peek) Close() error {
	p.cl.Close()
	return nil
}

// Return implements stream.Returner. A message goes to the partition that it came from.
func (Broker) Return(_ context.Context, options any, env stream.Env) (stream.Target, error) {
	o, ok := options.(*SourceOptions)
	if !ok {
		return nil, wrong(options)
	}
	opts, err := o.common(env)
	if err != nil {
		return nil, err
	}
	if len(o.Topics) == 0 {
		return nil, bad("topics", "is missing; name what is read")
	}
	to := defaultTarget()
	to.Topic, to.MaxMessage = o.Topics[0], o.FetchMaxBytes // the topic's own limit decides
	more, err := to.producer()
	if err != nil {
		return nil, err
	}
	cl, err := kgo.NewClient(append(opts, more...)...)
	if err != nil {
		return nil, serval.Errorf(serval.InvalidArgument, "kafka: %w", err)
	}
	return &returned{target{cl, to.room()}, o.Topics}, nil
}

// returned is a target to the topics of a source.
type returned struct {
	target
	topics []string
}

// Write implements stream.Target.
func (t *returned) Write(ctx context.Context, messages []*stream.Message) error {
	failed := map[int]error{}
	var list []*stream.Message
	var index []int // of those, in messages
	for i, m := range messages {
		if !slices.Contains(t.topics, m.Position.Topic) {
			failed[i] = stream.Permanent(serval.Errorf(serval.InvalidArgument, "kafka: the message is of topic '%s', which the source does not read; it reads %v", m.Position.Topic, t.topics))
			continue
		}
		list, index = append(list, m), append(index, i)
	}
	err := t.room.produce(ctx, t.cl, func(m *stream.Message) (string, int32) { return m.Position.Topic, m.Position.Partition }, list)
	var partly *stream.WriteError
	switch {
	case errors.As(err, &partly):
		for i, e := range partly.Failed {
			failed[index[i]] = e
		}
	case err != nil:
		return err
	}
	if len(failed) > 0 {
		return &stream.WriteError{Failed: failed}
	}
	return nil
}
