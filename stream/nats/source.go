package nats

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"serval"
	"serval/stream"
)

const (
	openTimeout   = 20 * time.Second // of finding or making streams and consumers
	closeTimeout  = 5 * time.Second  // of the last acks and of giving leases back
	lagInterval   = 5 * time.Second  // deliveries tell how many wait, too, but not while nothing is read
	pullBytes     = 2 << 20          // of one pull, where no single message is larger
	pullMessages  = 512
	pullOverhead  = 64 << 10         // what the server counts of a message beside its payload: subjects
	pullWait      = 10 * time.Second // for messages: how long a server may go on giving them to somebody who is not heard of any more
	askTimeout    = 2 * time.Second  // of a question about a consumer
	retryInterval = 250 * time.Millisecond
)

// source reads a stream as a member of a consumer.
type source struct {
	o        *SourceOptions
	env      stream.Env
	nc       *natsgo.Conn
	js       jetstream.JetStream
	stream   string
	consumer string
	lanes    [][]string           // the subjects of each
	keys     []string             // see layout
	cons     []jetstream.Consumer // one a lane
	most     int                  // bytes of a pull
	share    *share               // nil: without order there are no leases

	ctx  context.Context // of all goroutines
	stop context.CancelFunc
	work sync.WaitGroup
	wake chan struct{} // something is there to be read
	once sync.Once
	back func() // see reads; nil: the consumer has a name of its own

	mu     sync.Mutex // guards what follows, and the claims
	claims []*claim   // that are read
	turn   int        // of them, which comes first
	failed error      // what Read says next
}

func (b *Broker) newSource(ctx context.Context, o *SourceOptions, env stream.Env) (_ *source, err error) {
	s := &source{o: o, env: env, stream: o.Stream, consumer: o.Consumer, wake: make(chan struct{}, 1)}
	if s.consumer == "" {
		s.consumer = named(env.Stream)
		if s.back, err = b.reads(o, s.consumer, env.Stream); err != nil {
			return nil, err
		}
		defer func() {
			if err != nil {
				s.back()
			}
		}()
	}
	if s.nc, err = b.connect(&o.Connection, env); err != nil {
		return nil, err
	}
	s.ctx, s.stop = context.WithCancel(context.Background())
	defer func() {
		if err != nil {
			s.stop()
			s.nc.Close()
		}
	}()
	if s.js, err = o.jetStream(s.nc); err != nil {
		return nil, refused("JetStream", err)
	}
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	subjects := o.Subjects
	if len(subjects) == 0 {
		subjects = below(o.Stream)
	}
	st, err := find(ctx, s.js, &o.Connection, &o.Make, o.Stream, subjects)
	if err != nil {
		return nil, err
	}
	config := &st.CachedInfo().Config
	l, err := o.lay(config)
	if err != nil {
		return nil, err
	}
	s.lanes, s.keys = l.lanes, l.keys
	if s.cons, err = s.consumers(ctx, st); err != nil {
		return nil, err
	}
	s.most = max(pullBytes, int(s.nc.MaxPayload())+pullOverhead)
	if o.Order == "none" {
		s.claim(0, 0, time.Time{})
	} else if s.share, err = s.newShare(ctx, config.Replicas); err != nil {
		return nil, err
	} else {
		s.work.Go(s.share.keep)
	}
	s.work.Go(s.tend)
	return s, nil
}

// Read implements stream.Source.
func (s *source) Read(ctx context.Context, max int) ([]stream.Message, error) {
	for {
		s.mu.Lock()
		list := s.gather(max)
		var err error
		if len(list) == 0 {
			err, s.failed = s.failed, nil
		}
		s.mu.Unlock()
		if len(list) > 0 || err != nil {
			return list, err
		}
		select {
		case <-s.wake:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// gather takes up to max messages from the claims, from each alike. s.mu is held.
func (s *source) gather(most int) (list []stream.Message) {
	n := len(s.claims)
	for _, quota := range []int{max(1, most/max(1, n)), most} {
		for i := range n {
			c := s.claims[(s.turn+i)%n]
			list = c.give(list, min(quota, most-len(list)))
		}
	}
	s.turn++
	return list
}

// ring wakes Read.
func (s *source) ring() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// fail has Read say an error.
func (s *source) fail(err error) {
	s.mu.Lock()
	s.failed = err
	s.mu.Unlock()
	s.ring()
}

// Ack implements stream.Source. The server hears of it a little later.
func (s *source) Ack(_ context.Context, done []*stream.Message) error {
	acks := make([]string, 0, len(done))
	s.mu.Lock()
	for _, m := range done {
		d, ok := m.Handle.(*delivery)
		if !ok || d.claim.lane != m.Lane { // of a lane that was somebody else's in between
			continue
		}
		delete(d.claim.held, d.sequence)
		d.claim.acked = d.reply
		acks = append(acks, d.reply)
	}
	s.mu.Unlock()
	for _, reply := range acks {
		if err := s.nc.Publish(reply, ackDone); err != nil {
			return refused("ack", err)
		}
	}
	return nil
}

// Lag implements stream.Source.
func (s *source) Lag() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	lag := uint64(0)
	for _, c := range s.claims {
		lag += c.behind + uint64(len(c.buffer))
	}
	return int64(lag)
}

// tend tells the server which messages are still worked on, asks how many wait, and gives up leases that are over.
func (s *source) tend() {
	progress, lag, leases := time.NewTicker(s.o.AckWait/3), time.NewTicker(lagInterval), time.NewTicker(s.o.Lease/20)
	defer progress.Stop()
	defer lag.Stop()
	defer leases.Stop()
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-progress.C:
			s.progress()
		case <-lag.C:
			s.ask()
		case <-leases.C:
			if s.share != nil {
				s.share.expire()
			}
		}
	}
}

func (s *source) progress() {
	var list []string
	before := time.Now().Add(-s.o.AckWait / 4)
	s.mu.Lock()
	for _, c := range s.claims {
		for _, d := range c.held {
			if d.seen.Before(before) {
				list = append(list, d.reply)
			}
		}
	}
	s.mu.Unlock()
	for _, reply := range list {
		_ = s.nc.Publish(reply, ackProgress) // where the connection is lost, it comes again
	}
}

func (s *source) ask() {
	s.mu.Lock()
	claims := append([]*claim(nil), s.claims...)
	s.mu.Unlock()
	for _, c := range claims {
		ctx, cancel := context.WithTimeout(s.ctx, askTimeout)
		info, err := s.cons[c.number].Info(ctx)
		cancel()
		if err != nil {
			return // the lag stays what it was
		}
		s.mu.Lock()
		c.behind = info.NumPending
		s.mu.Unlock()
	}
}

// Close implements stream.Source: what was acked is known to the server then, and what was not comes again at once.
func (s *source) Close() error {
	s.once.Do(func() {
		s.stop()
		s.work.Wait()
		ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
		defer cancel()
		s.mu.Lock()
		claims := append([]*claim(nil), s.claims...)
		s.mu.Unlock()
		for _, c := range claims {
			c.confirm(ctx)
		}
		if s.share != nil {
			s.share.leave(ctx)
		} else {
			for _, c := range claims {
				for _, d := range c.held { // nobody else touches it any more
					_ = s.nc.Publish(d.reply, ackNot)
				}
			}
			_ = s.nc.FlushWithContext(ctx)
		}
		s.nc.Close()
		if s.back != nil {
			s.back()
		}
	})
	return nil
}

// reads notes that a stream of ours reads with the consumer that is named after it; back takes that back. Two whose names make the same
// one, as a.b and a_b do, would each have a part of the messages, and are refused.
func (b *Broker) reads(o *SourceOptions, consumer, name string) (back func(), err error) {
	key := strings.Join(append(slices.Clone(o.URLs), o.Stream, consumer), " ")
	b.mu.Lock()
	defer b.mu.Unlock()
	r := b.readers[key]
	if r.open > 0 && r.stream != name {
		return nil, serval.Errorf(serval.InvalidArgument, "nats: the streams '%s' and '%s' would read '%s' with one consumer, '%s', and each have a part of it; name a consumer for one of them", r.stream, name, o.Stream, consumer).
			At("consumer")
	}
	b.readers[key] = reader{name, r.open + 1}
	return sync.OnceFunc(func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		if r := b.readers[key]; r.open > 1 {
			b.readers[key] = reader{r.stream, r.open - 1}
		} else {
			delete(b.readers, key)
		}
	}), nil
}
