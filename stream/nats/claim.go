package nats

import (
	"context"
	"errors"
	"fmt"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"serval"
	"serval/stream"
)

// claim is a lane for as long as this member has its lease; without order, the one consumer that all members pull from. Its
// goroutine, own, pulls into a bounded buffer that Read empties. source.mu guards what changes.
type claim struct {
	s      *source
	number int
	ctx    context.Context // of own
	cancel context.CancelFunc
	done   chan struct{} // own has ended
	room   chan struct{} // the buffer has room again

	lane   *stream.Lane // nil: without order, or nothing was read yet
	open   bool         // Read may take from the buffer
	buffer []stream.Message
	bytes  int
	held   map[uint64]*delivery // given out and not acked, by sequence
	last   uint64               // sequence that was delivered last
	count  uint64               // deliveries since the consumer was reset, as the server counts them
	behind uint64               // messages that wait at the server
	acked  string               // the last ack's subject

	revision uint64    // of the lease
	renewed  time.Time // when
	leaving  bool      // it is being handed over
}

// delivery is a message that the server waits for an ack of.
type delivery struct {
	claim    *claim
	sequence uint64
	reply    string // the newest, where it was delivered more than once
	seen     time.Time
}

// errGap says that the consumer delivered something that did not come here.
var errGap = errors.New("a delivery is missing")

// claim begins to read a lane.
func (s *source) claim(number int, revision uint64, renewed time.Time) *claim {
	c := &claim{s: s, number: number, done: make(chan struct{}), room: make(chan struct{}, 1), revision: revision, renewed: renewed, held: map[uint64]*delivery{}}
	c.ctx, c.cancel = context.WithCancel(s.ctx)
	s.mu.Lock()
	s.claims = append(s.claims, c)
	s.mu.Unlock()
	s.work.Go(func() {
		defer close(c.done)
		c.own()
	})
	return c
}

// own reads the lane until the claim is given up, anew from what was not acked whenever something was missed.
func (c *claim) own() {
	s := c.s
	for troubled := false; c.ctx.Err() == nil; {
		err := c.begin()
		if err == nil {
			if troubled {
				s.env.Owner.Trouble("")
			}
			err = c.pull()
		}
		if c.ctx.Err() != nil {
			return
		}
		if errors.Is(err, stream.ErrBroken) {
			s.fail(err)
			return
		}
		if errors.Is(err, errGap) {
			s.env.Warn("nats: a message was delivered elsewhere or lost on its way; the lane is read again from what was not acked", "stream", s.stream, "lane", c.number, "error", err)
		} else {
			troubled = true
			s.env.Owner.Trouble(err.Error())
		}
		c.drop()
		pause(c.ctx, retryInterval)
	}
}

// begin has the consumer start at the first message that was not acked, whoever had it before.
func (c *claim) begin() error {
	s := c.s
	ctx, cancel := context.WithTimeout(c.ctx, openTimeout)
	defer cancel()
	var behind uint64
	name := s.cons[c.number].CachedInfo().Name
	if s.share == nil {
		info, err := s.cons[c.number].Info(ctx)
		if err != nil {
			return c.gone(err)
		}
		behind = info.NumPending
	} else {
		r, err := s.js.ResetConsumer(ctx, s.stream, name)
		if errors.Is(err, natsgo.ErrNoResponders) {
			if _, err := s.cons[c.number].Info(ctx); err == nil {
				return serval.Errorf(serval.Unimplemented, "nats: the server (version %s) cannot reset consumers, by which a lane is handed over in order; use version 2.14 or later, or order: none", s.nc.ConnectedServerVersion()).At("order")
			}
		}
		if err != nil {
			return c.gone(err)
		}
		if r.ConsumerInfo != nil {
			behind = r.NumPending
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.share != nil {
		c.lane = stream.NewLane(name, c)
	}
	c.open, c.buffer, c.bytes, c.held = true, nil, 0, map[uint64]*delivery{}
	c.last, c.count, c.behind, c.acked = 0, 0, behind, ""
	return nil
}

// gone makes ErrBroken of an error that says that the stream or the consumer does not exist any more.
func (c *claim) gone(err error) error {
	s := c.s
	name := s.cons[c.number].CachedInfo().Name
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return serval.Errorf(serval.NotFound, "nats: the stream '%s' was deleted", s.stream).Because(errors.Join(stream.ErrBroken, err))
	case errors.Is(err, jetstream.ErrConsumerNotFound), errors.Is(err, jetstream.ErrConsumerDeleted), errors.Is(err, jetstream.ErrConsumerDoesNotExist):
		return serval.Errorf(serval.NotFound, "nats: the consumer '%s' of stream '%s' was deleted, and where reading stood with it; it is made anew and begins where start says", name, s.stream).
			Because(errors.Join(stream.ErrBroken, err))
	}
	return refused("consumer "+name, err)
}

// drop forgets all that was read and not acked: it is read again, or by somebody else.
func (c *claim) drop() {
	s := c.s
	s.mu.Lock()
	lane := c.lane
	c.open, c.lane = false, nil
	c.buffer, c.bytes, c.held = nil, 0, map[uint64]*delivery{}
	s.mu.Unlock()
	if lane != nil {
		s.env.Owner.Lost([]*stream.Lane{lane})
	}
}

// pull asks for messages and takes them until something is wrong.
func (c *claim) pull() error {
	s := c.s
	line, err := s.listen(c.number)
	if err != nil {
		return err
	}
	defer line.close()
	for troubled := false; ; {
		n, err := c.wanted()
		if err != nil {
			return err
		}
		taken, err := line.pull(c.ctx, n, c.take)
		if c.ctx.Err() != nil {
			return c.ctx.Err()
		}
		if troubled && (taken > 0 || err == nil) {
			troubled = false
			s.env.Owner.Trouble("")
		}
		switch {
		case err == nil:
			continue
		case errors.Is(err, errGap):
			return err
		case errors.Is(err, errMoved) || !s.nc.IsConnected(): // leaders come back in a moment, and the connection says it itself
			pause(c.ctx, retryInterval)
			continue
		}
		if err := c.inquire(); errors.Is(err, stream.ErrBroken) {
			return err
		}
		troubled = true
		s.env.Owner.Trouble("nats: " + err.Error())
		pause(c.ctx, retryInterval)
	}
}

// inquire finds out whether the consumer is still there.
func (c *claim) inquire() error {
	ctx, cancel := context.WithTimeout(c.ctx, askTimeout)
	defer cancel()
	if _, err := c.s.cons[c.number].Info(ctx); err != nil {
		return c.gone(err)
	}
	return nil
}

// wanted waits for room in the buffer, and says for how many messages there is.
func (c *claim) wanted() (int, error) {
	for {
		c.s.mu.Lock()
		have, bytes := len(c.buffer), c.bytes
		c.s.mu.Unlock()
		if have <= pullMessages/2 && bytes <= c.s.most/2 {
			return pullMessages - have, nil
		}
		select {
		case <-c.room:
		case <-c.ctx.Done():
			return 0, c.ctx.Err()
		}
	}
}

// take puts a delivery into the buffer.
func (c *claim) take(m *natsgo.Msg) error {
	md, err := m.Metadata()
	if err != nil {
		return fmt.Errorf("nats: %w", err)
	}
	s := c.s
	d := &delivery{claim: c, sequence: md.Sequence.Stream, reply: m.Reply, seen: time.Now()}
	s.mu.Lock()
	defer s.mu.Unlock()
	c.behind = md.NumPending
	if s.share != nil {
		if md.Sequence.Consumer != c.count+1 {
			return fmt.Errorf("%w: %d after %d, sequence %d, given out %d times", errGap, md.Sequence.Consumer, c.count, md.Sequence.Stream, md.NumDelivered)
		}
		c.count++
	}
	if old := c.held[d.sequence]; old != nil { // still worked on here; the server had not heard of it for too long
		old.reply, old.seen = m.Reply, d.seen
		return nil
	}
	if s.share != nil && d.sequence <= c.last { // acked here, which the server did not hear
		_ = s.nc.Publish(m.Reply, ackDone)
		return nil
	}
	c.last = d.sequence
	c.held[d.sequence] = d
	keys := s.keys
	if s.share != nil && len(s.lanes) > 1 {
		keys = s.lanes[c.number]
	}
	msg := received(m, md, keys)
	msg.Lane, msg.Handle = c.lane, d
	c.buffer = append(c.buffer, msg)
	c.bytes += msg.Size
	s.ring()
	return nil
}

// give moves messages from the buffer to list. s.mu is held.
func (c *claim) give(list []stream.Message, most int) []stream.Message {
	n := min(most, len(c.buffer))
	if !c.open || n <= 0 {
		return list
	}
	for i := range c.buffer[:n] {
		c.bytes -= c.buffer[i].Size
	}
	list = append(list, c.buffer[:n]...)
	clear(c.buffer[:n])
	if c.buffer = c.buffer[n:]; len(c.buffer) == 0 {
		c.buffer = nil
	}
	select {
	case c.room <- struct{}{}:
	default:
	}
	return list
}

// confirm waits until the server knows of the last ack, and so of all before it.
func (c *claim) confirm(ctx context.Context) {
	c.s.mu.Lock()
	subject := c.acked
	c.s.mu.Unlock()
	if subject == "" {
		return
	}
	if _, err := c.s.nc.RequestWithContext(ctx, subject, ackDone); err != nil {
		c.s.env.Warn("nats: the server did not confirm the last acks; messages that were answered may be answered again", "error", err)
	}
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
