package kafka

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"

	"serval"
	"serval/stream"
)

// session is exactly-once: one client reads, writes and commits its offsets in the same transaction. A rebalance waits for the
// transaction's end; one that cannot wait undoes it.
type session struct {
	*reader
	txn   *kgo.GroupTransactSession
	room  room
	dead  *letters // nil: they go elsewhere
	close sync.Once

	mu     sync.Mutex // guards polled
	polled bool       // something was read in this transaction
}

func newSession(in *SourceOptions, out, dead *TargetOptions, env stream.Env) (*session, error) {
	opts, err := in.consumer(env)
	if err != nil {
		return nil, err
	}
	more, err := out.producer()
	if err != nil {
		return nil, err
	}
	if !in.same(&out.Connection) {
		return nil, bad("brokers", "differ between source and target; delivery exactly-once needs both in one cluster, reached in one way")
	}
	id := out.TransactionalID
	if id == "" {
		id = "serval-" + env.Stream + "-" + env.Instance
	}
	s := &session{reader: newReader(env), room: out.room()}
	if dead != nil {
		if dead.Topic == "" {
			return nil, bad("topic", "of the dead letters is missing")
		}
		if !dead.same(&out.Connection) {
			return nil, bad("brokers", "differ between target and dead_letter; delivery exactly-once needs both in one cluster, reached in one way")
		}
		s.dead = &letters{s, dead.Topic, out.room()}
	}
	opts = append(append(opts, more...), kgo.TransactionalID(id), kgo.TransactionTimeout(out.TransactionTimeout),
		kgo.OnPartitionsAssigned(s.assigned), kgo.OnPartitionsRevoked(s.revoked), kgo.OnPartitionsLost(s.lost))
	if s.txn, err = kgo.NewGroupTransactSession(opts...); err != nil {
		return nil, serval.Errorf(serval.InvalidArgument, "kafka: %w", err)
	}
	s.cl = s.txn.Client()
	s.probed.Go(func() { s.probe(in.Group) })
	return s, nil
}

// Read implements stream.Source. From the first message on, partitions stay until the transaction ends.
func (s *session) Read(ctx context.Context, max int) ([]stream.Message, error) {
	for {
		list, err := s.poll(ctx, max)
		s.mu.Lock()
		s.polled = s.polled || len(list) > 0
		if !s.polled {
			s.txn.AllowRebalance()
		}
		s.mu.Unlock()
		if len(list) > 0 || err != nil {
			return list, err
		}
	}
}

// Ack does nothing: Commit does it.
func (s *session) Ack(context.Context, []*stream.Message) error { return nil }

// Write implements stream.Target.
func (s *session) Write(ctx context.Context, messages []*stream.Message) error {
	return s.room.produce(ctx, s.cl, inOrder(""), messages)
}

// Letters implements stream.Lettered.
func (s *session) Letters() stream.Target {
	if s.dead == nil {
		return nil
	}
	return s.dead
}

// letters writes dead letters in the session's transactions.
type letters struct {
	s     *session
	topic string
	room  room
}

func (l *letters) Write(ctx context.Context, messages []*stream.Message) error {
	return l.room.produce(ctx, l.s.cl, inOrder(l.topic), messages)
}

// Close does nothing: the session's does it.
func (*letters) Close() error { return nil }

// Begin implements stream.Session.
func (s *session) Begin(context.Context) error {
	if err := s.txn.Begin(); err != nil {
		return fmt.Errorf("kafka: begin: %w", err)
	}
	return nil
}

// Commit implements stream.Session.
func (s *session) Commit(ctx context.Context) (bool, error) { return s.end(ctx, kgo.TryCommit) }

// Abort implements stream.Session.
func (s *session) Abort(ctx context.Context) error {
	_, err := s.end(ctx, kgo.TryAbort)
	return err
}

func (s *session) end(ctx context.Context, how kgo.TransactionEndTry) (bool, error) {
	done, err := s.txn.End(ctx, how)
	s.mu.Lock()
	s.polled = false
	s.mu.Unlock()
	s.txn.AllowRebalance()
	if err != nil {
		return false, fmt.Errorf("kafka: end of the transaction: %w", err)
	}
	return done, nil
}

// revoked comes between transactions, or has the one that is open undone: franz-go sees to that.
func (s *session) revoked(_ context.Context, _ *kgo.Client, lost map[string][]int32) {
	s.gave(lost, true)
}

// Close implements stream.Session. What a transaction holds that was not committed is undone when its name is used next, or
// when its time is over.
func (s *session) Close() error {
	s.close.Do(func() {
		close(s.over)
		s.txn.CloseAllowingRebalance()
		s.probed.Wait()
	})
	return nil
}

// same says whether two connections reach the same cluster as the same user.
func (c *Connection) same(o *Connection) bool {
	return slices.Equal(c.Brokers, o.Brokers) && c.TLS == o.TLS && c.SASL == o.SASL
}
