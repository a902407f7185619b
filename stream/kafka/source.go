package kafka

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"serval"
	"serval/stream"
)

// partition names a partition.
type partition struct {
	topic  string
	number int32
}

// claim is a partition for as long as this member owns it.
type claim struct {
	partition
	lane *stream.Lane
	next atomic.Int64 // the offset to be read next; -1: nothing was read yet
	end  atomic.Int64 // the partition's end, as last heard; -1: not known
}

// reader is what a source and a session share: polling, and knowing which partitions are whose.
type reader struct {
	cl  *kgo.Client
	env stream.Env

	mu     sync.Mutex // guards what follows
	claims map[partition]*claim

	over   chan struct{} // closed when it is
	probed sync.WaitGroup
}

func newReader(env stream.Env) *reader {
	return &reader{env: env, claims: map[partition]*claim{}, over: make(chan struct{})}
}

// assigned takes partitions that this member got.
func (r *reader) assigned(_ context.Context, _ *kgo.Client, got map[string][]int32) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for topic, numbers := range got {
		for _, n := range numbers {
			p := partition{topic, n}
			c := &claim{partition: p}
			c.next.Store(-1)
			c.end.Store(-1)
			c.lane = stream.NewLane(fmt.Sprintf("%s/%d", topic, n), c)
			r.claims[p] = c
		}
	}
}

// gave removes partitions that this member has no longer, and returns their lanes.
func (r *reader) gave(lost map[string][]int32, remove bool) (lanes []*stream.Lane) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for topic, numbers := range lost {
		for _, n := range numbers {
			if c := r.claims[partition{topic, n}]; c != nil {
				lanes = append(lanes, c.lane)
			}
			if remove {
				delete(r.claims, partition{topic, n})
			}
		}
	}
	return lanes
}

// lost drops what somebody else has already.
func (r *reader) lost(_ context.Context, _ *kgo.Client, lost map[string][]int32) {
	r.env.Owner.Lost(r.gave(lost, true))
}

// poll reads once.
func (r *reader) poll(ctx context.Context, max int) ([]stream.Message, error) {
	fetches := r.cl.PollRecords(ctx, max)
	if fetches.IsClientClosed() {
		return nil, fmt.Errorf("kafka: %w", stream.ErrBroken)
	}
	list := make([]stream.Message, 0, fetches.NumRecords())
	var failed error
	r.mu.Lock()
	defer r.mu.Unlock()
	fetches.EachPartition(func(p kgo.FetchTopicPartition) {
		if p.Err != nil && failed == nil {
			failed = p.Err
		}
		c := r.claims[partition{p.Topic, p.Partition}]
		if c == nil || len(p.Records) == 0 {
			return
		}
		for _, rec := range p.Records {
			list = append(list, message(rec, c.lane))
		}
		c.next.Store(p.Records[len(p.Records)-1].Offset + 1)
		c.end.Store(p.HighWatermark)
	})
	if failed != nil && len(list) > 0 && !errors.Is(failed, context.Canceled) { // the next poll says it again, if it matters
		r.env.Warn("kafka: a partition could not be read", "error", failed)
		failed = nil
	}
	if failed != nil && ctx.Err() == nil {
		failed = fmt.Errorf("kafka: %w", failed)
	}
	return list, failed
}

// message is a record as the worker knows it. It shares the record's memory.
func message(rec *kgo.Record, lane *stream.Lane) stream.Message {
	m := stream.Message{
		Key: rec.Key, Value: rec.Value, Lane: lane, Handle: rec.LeaderEpoch,
		Position: stream.Position{Topic: rec.Topic, Partition: rec.Partition, Offset: rec.Offset},
	}
	if rec.Timestamp.UnixMilli() > 0 { // else its producer did not say
		m.Time = rec.Timestamp
	}
	if len(rec.Headers) > 0 {
		m.Headers = make([]stream.Header, len(rec.Headers))
		for i, h := range rec.Headers {
			m.Headers[i] = stream.Header{Key: h.Key, Value: h.Value}
		}
	}
	return m
}

// Lag implements stream.Source.
func (r *reader) Lag() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	lag := int64(0)
	for _, c := range r.claims {
		end, next := c.end.Load(), c.next.Load()
		if end < 0 {
			return -1
		}
		lag += max(0, end-max(next, 0))
	}
	return lag
}

// lagInterval is how often the partitions' ends are asked for: fetches tell them too, but not while nothing is read.
const lagInterval = 5 * time.Second

// probe keeps the ends of the partitions known until the reader is closed. A partition that nothing was read of yet is read
// from the group's offset on.
func (r *reader) probe(group string) {
	admin := kadm.NewClient(r.cl)
	tick := time.NewTicker(lagInterval)
	defer tick.Stop()
	for wait := time.After(lagInterval / 10); ; {
		select {
		case <-wait:
		case <-tick.C:
		case <-r.over:
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), lagInterval)
		stop := context.AfterFunc(r.cl.Context(), cancel)
		r.ends(ctx, admin, group)
		stop()
		cancel()
	}
}

func (r *reader) ends(ctx context.Context, admin *kadm.Client, group string) {
	r.mu.Lock()
	topics := map[string]bool{}
	for p := range r.claims {
		topics[p.topic] = true
	}
	r.mu.Unlock()
	names := make([]string, 0, len(topics))
	for t := range topics {
		names = append(names, t)
	}
	if len(names) == 0 {
		return
	}
	ends, err := admin.ListEndOffsets(ctx, names...)
	if err != nil { // the lag stays what it was
		return
	}
	begun, err := admin.FetchOffsets(ctx, group)
	if err != nil {
		begun = nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for p, c := range r.claims {
		if e, ok := ends.Lookup(p.topic, p.number); ok && e.Err == nil {
			c.end.Store(max(c.end.Load(), e.Offset))
		}
		if o, ok := begun.Lookup(p.topic, p.number); ok && o.At > c.next.Load() {
			c.next.CompareAndSwap(-1, o.At)
		}
	}
}

// source is at-least-once.
type source struct {
	*reader
	handover time.Duration
	close    sync.Once
}

func newSource(o *SourceOptions, env stream.Env) (*source, error) {
	opts, err := o.consumer(env)
	if err != nil {
		return nil, err
	}
	s := &source{reader: newReader(env), handover: o.Handover}
	opts = append(opts, kgo.AutoCommitMarks(), kgo.AutoCommitInterval(o.CommitInterval),
		kgo.OnPartitionsAssigned(s.assigned), kgo.OnPartitionsRevoked(s.revoked), kgo.OnPartitionsLost(s.lost))
	if s.cl, err = kgo.NewClient(opts...); err != nil {
		return nil, serval.Errorf(serval.InvalidArgument, "kafka: %w", err)
	}
	s.probed.Go(func() { s.probe(o.Group) })
	return s, nil
}

// Read implements stream.Source. Between the polling and the lanes there is no rebalance, so that what is read is of the lane
// that this member has now.
func (s *source) Read(ctx context.Context, max int) ([]stream.Message, error) {
	for {
		list, err := s.poll(ctx, max)
		s.cl.AllowRebalance()
		if len(list) > 0 || err != nil {
			return list, err
		}
	}
}

// Ack implements stream.Source: it notes the offsets, which are committed a little later.
func (s *source) Ack(_ context.Context, done []*stream.Message) error {
	marks := map[string]map[int32]kgo.EpochOffset{}
	var last *stream.Lane
	for i := len(done) - 1; i >= 0; i-- { // the last of each lane counts
		m := done[i]
		if m.Lane == last {
			continue
		}
		last = m.Lane
		p := &m.Position
		of := marks[p.Topic]
		if of == nil {
			of = map[int32]kgo.EpochOffset{}
			marks[p.Topic] = of
		}
		if _, ok := of[p.Partition]; !ok {
			epoch, _ := m.Handle.(int32)
			of[p.Partition] = kgo.EpochOffset{Epoch: epoch, Offset: p.Offset + 1}
		}
	}
	s.cl.MarkCommitOffsets(marks)
	return nil
}

// revoked gives partitions away: what is under way is finished, and committed.
func (s *source) revoked(ctx context.Context, cl *kgo.Client, lost map[string][]int32) {
	lanes := s.gave(lost, false)
	wait, cancel := context.WithTimeout(ctx, s.handover)
	s.env.Owner.Revoke(wait, lanes)
	cancel()
	s.commit(ctx)
	s.gave(lost, true)
}

func (s *source) commit(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	if err := s.cl.CommitMarkedOffsets(ctx); err != nil {
		s.env.Warn("kafka: offsets could not be committed; messages that were answered may be answered again", "error", err)
	}
}

// commitTimeout bounds the last commit before partitions are given away.
const commitTimeout = 10 * time.Second

// Close implements stream.Source.
func (s *source) Close() error {
	s.close.Do(func() {
		close(s.over)
		s.commit(context.Background())
		s.cl.CloseAllowingRebalance()
		s.probed.Wait()
	})
	return nil
}
