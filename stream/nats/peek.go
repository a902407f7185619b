package nats

import (
	"context"
	"errors"
	"io"
	"slices"
	"sort"
	"strings"
	"sync"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"serval"
	"serval/stream"
)

var (
	_ stream.Peeker   = (*Broker)(nil)
	_ stream.Returner = (*Broker)(nil)
	_ stream.Shared   = (*source)(nil)
)

const (
	peekWindow = 64 // messages that are asked for together
	peekPoll   = 200 * time.Millisecond
)

// peek reads messages by their sequences, without a consumer: a stream that hands each message to one consumer would not have a
// second one. To it the stream is one lane.
type peek struct {
	nc      *natsgo.Conn
	st      jetstream.Stream
	lane    *stream.Lane
	filters []string // none: all
	keys    []string
	follow  bool
	bounded bool   // by View.To or View.Until: nothing is read behind the end, also of a view that follows
	next    uint64 // the sequence that is read next
	end     uint64 // the one before which the view ends
	last    uint64 // the stream's newest, as far as known
	size    int64
	ended   bool
}

// Peek implements stream.Peeker.
func (b *Broker) Peek(ctx context.Context, options any, v stream.View, env stream.Env) (_ stream.Peek, err error) {
	var c *Connection
	switch o := options.(type) {
	case *SourceOptions:
		c = &o.Connection
	case *TargetOptions:
		c = &o.Connection
	default:
		return nil, wrong(options)
	}
	p := &peek{follow: v.Follow}
	if p.nc, err = b.connect(c, env); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			p.nc.Close()
		}
	}()
	js, err := c.jetStream(p.nc)
	if err != nil {
		return nil, refused("JetStream", err)
	}
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	if err := p.find(ctx, js, options); err != nil {
		return nil, err
	}
	if err := p.open(ctx, &v); err != nil {
		return nil, err
	}
	return p, nil
}

// find finds the stream, and which of its messages are meant.
func (p *peek) find(ctx context.Context, js jetstream.JetStream, options any) (err error) {
	name := ""
	switch o := options.(type) {
	case *SourceOptions:
		name = o.Stream
		for _, s := range o.Subjects {
			p.filters = append(p.filters, strings.ReplaceAll(s, partitionMark, "*"))
		}
	case *TargetOptions:
		base := o.base()
		if name, err = js.StreamNameBySubject(ctx, base); errors.Is(err, jetstream.ErrStreamNotFound) {
			return serval.Errorf(serval.NotFound, "nats: no stream takes the subject %s", base)
		} else if err != nil {
			return refused("subject "+base, err)
		}
		p.filters = below(base)
	}
	if p.st, err = js.Stream(ctx, name); errors.Is(err, jetstream.ErrStreamNotFound) {
		return serval.Errorf(serval.NotFound, "nats: there is no stream '%s'", name)
	} else if err != nil {
		return refused("stream "+name, err)
	}
	config := &p.st.CachedInfo().Config
	if slices.Equal(p.filters, config.Subjects) {
		p.filters = nil
	}
	source, ok := options.(*SourceOptions)
	if !ok {
		source = &SourceOptions{Order: "none"}
	}
	l, err := source.lay(config)
	p.keys = l.keys
	return err
}

// open finds out where the view begins and ends.
func (p *peek) open(ctx context.Context, v *stream.View) error {
	state := p.st.CachedInfo().State
	p.lane = stream.NewLane(p.st.CachedInfo().Config.Name, p)
	p.next, p.last = max(1, state.FirstSeq), state.LastSeq
	p.end = p.last + 1
	name := p.lane.Name
	at := func(list []stream.Position) (sequence uint64, ok bool, err error) {
		for _, q := range list {
			if q.ID != "" || q.Partition != 0 || q.Offset < 0 {
				return 0, false, serval.Errorf(serval.InvalidArgument, "nats: %s is no position of stream '%s'; write %s/0@ and the message's sequence", q, name, name)
			}
			if q.Topic == name {
				return uint64(q.Offset), true, nil
			}
		}
		return 0, false, nil
	}
	from, named, err := at(v.From)
	switch {
	case err != nil:
		return err
	case len(v.From) > 0 && !named:
		return serval.Errorf(serval.NotFound, "nats: %s is not of the stream '%s', which is looked at", v.From[0], name).At("from")
	}
	p.next = max(p.next, from)
	to, ok, err := at(v.To)
	if err != nil {
		return err
	}
	if ok {
		p.end, p.bounded = min(p.end, to), true
	}
	if !v.Since.IsZero() {
		sequence, err := p.since(ctx, v.Since)
		if err != nil {
			return err
		}
		p.next = max(p.next, sequence)
	}
	if !v.Until.IsZero() {
		sequence, err := p.since(ctx, v.Until)
		if err != nil {
			return err
		}
		p.end, p.bounded = min(p.end, sequence), true
	}
	if v.Last > 0 {
		if err := p.newest(ctx, v.Last); err != nil {
			return err
		}
	}
	if p.size = -1; p.filters == nil || p.next >= p.end {
		p.size = max(0, int64(p.end)-int64(p.next))
	}
	return nil
}

// since is the first sequence of a message that is not older than t.
func (p *peek) since(ctx context.Context, t time.Time) (uint64, error) {
	first, n := max(1, p.st.CachedInfo().State.FirstSeq), 0
	if p.last >= first {
		n = int(p.last - first + 1)
	}
	var failed error
	i := sort.Search(n, func(i int) bool {
		m, err := p.st.GetMsg(ctx, first+uint64(i), jetstream.WithGetMsgSubject(">")) // it, or the next that is there
		if err != nil && !errors.Is(err, jetstream.ErrMsgNotFound) {
			failed = err
		}
		return err != nil || !m.Time.Before(t)
	})
	if failed != nil {
		return 0, refused("stream "+p.lane.Name, failed)
	}
	return first + uint64(i), nil
}

// newest has the view begin so many messages before its end.
func (p *peek) newest(ctx context.Context, count int) error {
	if p.filters == nil && p.st.CachedInfo().State.NumDeleted == 0 {
		if n := uint64(count); p.end > n {
			p.next = max(p.next, p.end-n)
		}
		return nil
	}
	at := p.end
	for found := 0; at > p.next && found < count; {
		from := max(p.next, at-min(at, peekWindow))
		list, err := p.window(ctx, from, at)
		if err != nil {
			return err
		}
		at = from
		if n := len(list); n > 0 && found+n >= count {
			at = uint64(list[n-(count-found)].Position.Offset)
		}
		found += len(list)
	}
	p.next = max(p.next, at)
	return nil
}

// window reads the messages from one sequence to before another one.
func (p *peek) window(ctx context.Context, from, to uint64) (list []stream.Message, err error) {
	found := make([]*jetstream.RawStreamMsg, to-from)
	failed := make([]error, to-from)
	var asked sync.WaitGroup
	for i := range found {
		asked.Go(func() { found[i], failed[i] = p.st.GetMsg(ctx, from+uint64(i)) })
	}
	asked.Wait()
	for i, m := range found {
		if errors.Is(failed[i], jetstream.ErrMsgNotFound) { // removed
			continue
		}
		if failed[i] != nil {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			return nil, refused("stream "+p.lane.Name, failed[i])
		}
		if p.filters == nil || slices.ContainsFunc(p.filters, func(f string) bool { _, ok := match(f, m.Subject); return ok }) {
			list = append(list, p.message(m))
		}
	}
	return list, nil
}

func (p *peek) message(m *jetstream.RawStreamMsg) stream.Message {
	out := stream.Message{Value: m.Data, Time: m.Time, Lane: p.lane, Position: stream.Position{Topic: p.lane.Name, Offset: int64(m.Sequence)}}
	out.Headers, out.Key = headers(m.Header)
	if out.Key == nil {
		if key := matched(p.keys, m.Subject); key != "" {
			out.Key = []byte(key)
		}
	}
	return out
}

// Size implements stream.Peek.
func (p *peek) Size() int64 { return p.size }

// Read implements stream.Peek.
func (p *peek) Read(ctx context.Context, most int) ([]stream.Message, error) {
	for {
		end := p.end
		switch {
		case !p.ended && p.next >= p.end:
			p.ended = true
			return nil, io.EOF
		case p.ended && (!p.follow || p.bounded):
			return nil, io.EOF
		case p.ended:
			if end = p.last + 1; p.next >= end {
				if err := p.grow(ctx); err != nil {
					return nil, err
				}
				continue
			}
		}
		to := min(end, p.next+uint64(min(max(1, most), peekWindow)))
		list, err := p.window(ctx, p.next, to)
		if err != nil {
			return nil, err
		}
		p.next = to
		if len(list) > 0 {
			return list, nil
		}
		if err := p.skip(ctx, end); err != nil {
			return nil, err
		}
	}
}

// skip passes what was removed.
func (p *peek) skip(ctx context.Context, end uint64) error {
	m, err := p.st.GetMsg(ctx, p.next, jetstream.WithGetMsgSubject(">"))
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound):
		p.next = max(p.next, end)
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return refused("stream "+p.lane.Name, err)
	default:
		p.next = max(p.next, min(end, m.Sequence))
	}
	return nil
}

// grow waits for newer messages.
func (p *peek) grow(ctx context.Context) error {
	pause(ctx, peekPoll)
	info, err := p.st.Info(ctx)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return refused("stream "+p.lane.Name, err)
	}
	p.last = info.State.LastSeq
	return nil
}

// Close implements stream.Peek.
func (p *peek) Close() error {
	p.nc.Close()
	return nil
}

// Backlog implements stream.Shared.
func (s *source) Backlog(ctx context.Context) (int64, error) {
	sum := int64(0)
	for _, c := range s.cons {
		info, err := c.Info(ctx)
		if err != nil {
			return 0, refused("consumer "+c.CachedInfo().Name, err)
		}
		sum += int64(info.NumPending) + int64(info.NumAckPending)
	}
	return sum, nil
}
