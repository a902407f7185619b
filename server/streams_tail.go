package server

import (
	"cmp"
	"container/heap"
	"context"
	"errors"
	"io"
	"slices"
	"sync"

	"serval"
	"serval/config"
	"serval/console/api"
	"serval/stream"
)

const (
	maxLooks    = 16       // tails and replays that are open at the same time
	searchDepth = 10_000   // of each lane, where keys are looked for among the newest
	lookBatch   = 500      // messages that are read at once
	lookBytes   = 32 << 20 // of messages that wait to be shown
)

// look begins something that reads places; it ends with the caller, and with the server. Its end calls done.
func (s *Streams) look(ctx context.Context) (inner context.Context, done func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.over || s.life.Err() != nil:
		return nil, nil, serval.Errorf(serval.Unavailable, "%w", errStopping)
	case s.looks >= maxLooks:
		return nil, nil, serval.Errorf(serval.ResourceExhausted, "%d tails and replays are open already; end one of them first", maxLooks)
	}
	s.looks++
	s.working.Add(1)
	inner, cancel := context.WithCancel(ctx)
	unbind := context.AfterFunc(s.life, cancel)
	return inner, sync.OnceFunc(func() {
		unbind()
		cancel()
		s.mu.Lock()
		s.looks--
		s.mu.Unlock()
		s.working.Done()
	}), nil
}

// placeOf is a stream's place, and who looks at it.
func (s *Streams) placeOf(e *streamed, place string) (stream.Peeker, any, error) {
	var p config.Plugin
	switch place {
	case api.PlaceSource:
		p = e.conf.Source
	case api.PlaceTarget:
		p = e.conf.Target
	case api.PlaceDead:
		if p = e.conf.DeadLetter; p.Name == "" {
			return nil, nil, serval.Errorf(serval.Conflict, "stream '%s' has no place for dead letters; its definition names none (dead_letter)", e.name).At("place")
		}
	}
	b, ok := s.known[p.Name].(stream.Peeker)
	if !ok {
		return nil, nil, serval.Errorf(serval.Unimplemented, "the %s of stream '%s' is %s, whose messages cannot be looked at", map[string]string{api.PlaceDead: "place for dead letters", api.PlaceSource: "source", api.PlaceTarget: "target"}[place], e.name, p.Name).At("place")
	}
	return b, p.Options, nil
}

// Tail implements api.Streams. It reads on only when what it read was sent: a slow listener holds up nobody but itself.
func (s *Streams) Tail(ctx context.Context, name string, look api.StreamLook, send func([]api.StreamMessage) error) error {
	e, err := s.able(name)
	if err != nil {
		return err
	}
	ctx, done, err := s.look(ctx)
	if err != nil {
		return err
	}
	defer done()
	b, options, err := s.placeOf(e, look.Place)
	if err != nil {
		return err
	}
	v := stream.View{Since: look.Since, Follow: look.Follow}
	switch {
	case !look.Since.IsZero(): // all from then on are read, and the last ones of them kept
	case len(look.Keys) > 0:
		v.Last = max(look.Last, searchDepth)
	default:
		v.Last = max(look.Last, 1)
	}
	peek, err := b.Peek(ctx, options, v, s.envOf(name, "tail", false, false)(nil))
	if err != nil {
		return err
	}
	defer peek.Close()
	if err := send(nil); err != nil { // the answer begins
		return err
	}
	t := &tail{look: look, peek: peek, send: send}
	if err := t.newest(ctx); err != nil || !look.Follow {
		return err
	}
	return t.follow(ctx)
}

// tail is an open look.
type tail struct {
	look api.StreamLook
	peek stream.Peek
	send func([]api.StreamMessage) error
}

// newest shows what is there: the last messages by their times, or with Last below 0 all as they come.
func (t *tail) newest(ctx context.Context) error {
	var kept newest
	for n := 0; ; {
		list, err := t.peek.Read(ctx, lookBatch)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if t.look.Last < 0 {
			if err := t.show(list); err != nil {
				return err
			}
			continue
		}
		for i := range list {
			if m := &list[i]; t.wanted(m) && t.look.Last > 0 {
				n++
				kept.keep(shown(m, t.look.Bytes), n, t.look.Last)
			}
		}
	}
	if len(kept.list) == 0 {
		return nil
	}
	slices.SortStableFunc(kept.list, func(a, b one) int { return a.compare(&b) })
	out := make([]api.StreamMessage, len(kept.list))
	for i := range kept.list {
		out[i] = kept.list[i].m
	}
	return t.send(out)
}

// follow shows what comes until nobody listens any more.
func (t *tail) follow(ctx context.Context) error {
	for {
		list, err := t.peek.Read(ctx, lookBatch)
		switch {
		case ctx.Err() != nil, errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		if err := t.show(list); err != nil {
			return err
		}
	}
}

func (t *tail) show(list []stream.Message) error {
	var out []api.StreamMessage
	for i := range list {
		if t.wanted(&list[i]) {
			out = append(out, shown(&list[i], t.look.Bytes))
		}
	}
	if len(out) == 0 {
		return nil
	}
	return t.send(out)
}

func (t *tail) wanted(m *stream.Message) bool {
	return (len(t.look.Keys) == 0 || slices.Contains(t.look.Keys, string(m.Key))) && (t.look.Since.IsZero() || m.Time.IsZero() || !m.Time.Before(t.look.Since))
}

// shown is a message as the API shows it, with the first bytes of its value.
func shown(m *stream.Message, most int) api.StreamMessage {
	out := api.StreamMessage{Topic: m.Position.Topic, Partition: m.Position.Partition, Offset: m.Position.Offset, ID: m.Position.ID, Time: m.Time, Size: len(m.Value)}
	value := m.Value
	if len(value) > most {
		value = value[:most]
		for cut := most; cut > most-4 && cut > 0; cut-- { // not in the middle of a character
			if text, _ := api.Shown(value[:cut]); text != nil {
				value = value[:cut]
				break
			}
		}
	}
	out.Key, out.KeyRaw = api.Shown(m.Key)
	out.Value, out.ValueRaw = api.Shown(value)
	for _, h := range m.Headers {
		text, raw := api.Shown(h.Value)
		out.Headers = append(out.Headers, api.StreamHeader{Name: h.Key, Value: text, ValueRaw: raw})
	}
	return out
}

// one is a message that waits to be shown; came is its number.
type one struct {
	m    api.StreamMessage
	came int
}

func (o *one) compare(p *one) int {
	return cmp.Or(o.m.Time.Compare(p.m.Time), cmp.Compare(o.came, p.came))
}

func (o *one) size() int {
	n := len(o.m.KeyRaw) + len(o.m.ValueRaw) + 200
	for _, s := range []*string{o.m.Key, o.m.Value} {
		if s != nil {
			n += len(*s)
		}
	}
	for _, h := range o.m.Headers {
		n += len(h.Name) + len(h.ValueRaw) + 50
		if h.Value != nil {
			n += len(*h.Value)
		}
	}
	return n
}

// newest keeps the newest messages, by number and by bytes: a heap with the oldest at its top.
type newest struct {
	list  []one
	bytes int
}

func (n *newest) keep(m api.StreamMessage, came, most int) {
	o := one{m, came}
	n.bytes += o.size()
	heap.Push(n, o)
	for len(n.list) > most || n.bytes > lookBytes && len(n.list) > 1 {
		old := heap.Pop(n).(one)
		n.bytes -= old.size()
	}
}

func (n *newest) Len() int           { return len(n.list) }
func (n *newest) Less(i, j int) bool { return n.list[i].compare(&n.list[j]) < 0 }
func (n *newest) Swap(i, j int)      { n.list[i], n.list[j] = n.list[j], n.list[i] }
func (n *newest) Push(x any)         { n.list = append(n.list, x.(one)) }
func (n *newest) Pop() any {
	last := len(n.list) - 1
	o := n.list[last]
	n.list[last] = one{}
	n.list = n.list[:last]
	return o
}
