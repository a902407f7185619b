package streamtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"serval"
	"serval/stream"
)

// Looker is a broker under test whose places can be looked at; see stream.Peeker and stream.Returner.
type Looker interface {
	Bus
	Peek(ctx context.Context, place string, v stream.View, env stream.Env) (stream.Peek, error)
	// Return is Unimplemented where messages cannot be put back.
	Return(ctx context.Context, place string, env stream.Env) (stream.Target, error)
}

// RunPeek runs the suite of what can be looked at.
func RunPeek(t *testing.T, bus Looker) {
	for name, run := range map[string]func(*looking, *testing.T){
		"All": (*looking).all, "Last": (*looking).last, "Times": (*looking).times, "Positions": (*looking).positions, "Follow": (*looking).follow,
		"Empty": (*looking).empty, "Return": (*looking).back,
	} {
		t.Run(name, func(t *testing.T) {
			l := &looking{Looker: bus, place: fmt.Sprintf("peek-%d", time.Now().UnixNano())}
			bus.Create(t, l.place)
			run(l, t)
		})
	}
}

type looking struct {
	Looker
	place string
}

var quietly = stream.Env{Stream: "peek", Instance: "peek", Warn: func(string, ...any) {}}

// peek reads all of a view that does not follow, and checks that lanes keep their order.
func (l *looking) peek(t *testing.T, v stream.View) (list []stream.Message) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	p, err := l.Peek(ctx, l.place, v, quietly)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	for {
		some, err := p.Read(ctx, 37)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil || len(some) > 37 {
			t.Fatalf("%d messages, %v", len(some), err)
		}
		list = append(list, some...)
	}
	if _, err := p.Read(ctx, 1); !errors.Is(err, io.EOF) {
		t.Errorf("behind the end: %v", err)
	}
	if n := p.Size(); n >= 0 && n < int64(len(list)) {
		t.Errorf("its size was said to be %d; it had %d", n, len(list))
	}
	last := map[string]int64{}
	for i := range list {
		m := &list[i]
		if m.Lane == nil || m.Position.ID != "" {
			continue
		}
		if at, ok := last[m.Lane.Name]; ok && m.Position.Offset <= at {
			t.Errorf("lane %s: %d comes behind %d", m.Lane.Name, m.Position.Offset, at)
		}
		last[m.Lane.Name] = m.Position.Offset
	}
	return list
}

// values checks that messages are those of numbered(from, to), each once.
func values(t *testing.T, list []stream.Message, from, to int) {
	t.Helper()
	seen := map[int]int{}
	for i := range list {
		var n int
		if _, err := fmt.Sscan(string(list[i].Value), &n); err != nil {
			t.Fatal(err)
		}
		if seen[n]++; n < from || n >= to || seen[n] > 1 {
			t.Errorf("message %d is there, for the %d. time", n, seen[n])
		}
	}
	if len(seen) != to-from {
		t.Errorf("%d messages, not %d", len(seen), to-from)
	}
}

// all: everything is seen, twice, and then a source reads it all, as nobody noticed.
func (l *looking) all(t *testing.T) {
	l.Send(t, l.place, numbered(0, 300, 7))
	values(t, l.peek(t, stream.View{}), 0, 300)
	values(t, l.peek(t, stream.View{}), 0, 300)
	env := quietly
	env.Owner = owner{}
	src, err := l.Source(t.Context(), l.place, env)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	var list []stream.Message
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for len(list) < 300 {
		some, err := src.Read(ctx, 100)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, some...)
	}
	values(t, list, 0, 300)
	values(t, l.peek(t, stream.View{}), 0, 300) // and what is read can be looked at too
}

// last: of each lane the newest.
func (l *looking) last(t *testing.T) {
	l.Send(t, l.place, numbered(0, 300, 7))
	newest := map[string]int64{}
	for _, m := range l.peek(t, stream.View{}) {
		newest[m.Lane.Name] = m.Position.Offset
	}
	count := map[string]int{}
	for _, m := range l.peek(t, stream.View{Last: 5}) {
		if count[m.Lane.Name]++; m.Position.Offset <= newest[m.Lane.Name]-5 {
			t.Errorf("lane %s: %d is not of the newest five, up to %d", m.Lane.Name, m.Position.Offset, newest[m.Lane.Name])
		}
	}
	for lane, at := range newest {
		if want := int(min(5, at+1)); count[lane] != want {
			t.Errorf("lane %s: %d messages, not %d", lane, count[lane], want)
		}
	}
}

// times: what was there before a moment, and what came later.
func (l *looking) times(t *testing.T) {
	l.Send(t, l.place, numbered(0, 100, 7))
	time.Sleep(20 * time.Millisecond)
	middle := time.Now()
	time.Sleep(20 * time.Millisecond)
	l.Send(t, l.place, numbered(100, 250, 7))
	values(t, l.peek(t, stream.View{Since: middle}), 100, 250)
	values(t, l.peek(t, stream.View{Until: middle}), 0, 100)
	values(t, l.peek(t, stream.View{Since: middle.Add(-time.Hour), Until: middle.Add(time.Hour)}), 0, 250)
	values(t, l.peek(t, stream.View{Since: middle.Add(time.Hour)}), 0, 0)
}

// positions: one lane from a message on, and up to another one.
func (l *looking) positions(t *testing.T) {
	l.Send(t, l.place, numbered(0, 300, 7))
	lanes := map[string][]stream.Message{}
	lane := ""
	for _, m := range l.peek(t, stream.View{}) {
		lanes[m.Lane.Name] = append(lanes[m.Lane.Name], m)
		if len(lanes[m.Lane.Name]) >= 30 {
			lane = m.Lane.Name
		}
	}
	all := lanes[lane]
	if len(all) < 30 {
		t.Fatal("no lane has thirty messages")
	}
	check := func(got, want []stream.Message) {
		t.Helper()
		if len(got) != len(want) {
			t.Fatalf("%d messages, not %d", len(got), len(want))
		}
		for i := range got {
			if got[i].Position != want[i].Position {
				t.Fatalf("message %d is %s, not %s", i, got[i].Position, want[i].Position)
			}
		}
	}
	check(l.peek(t, stream.View{From: []stream.Position{all[10].Position}}), all[10:])
	check(l.peek(t, stream.View{From: []stream.Position{all[10].Position}, To: []stream.Position{all[25].Position}}), all[10:25])
	if got := l.peek(t, stream.View{To: []stream.Position{all[0].Position}}); len(got) != 300-len(all) {
		t.Errorf("without a lane: %d messages", len(got))
	}
}

// follow: what is there, its end, and what comes.
func (l *looking) follow(t *testing.T) {
	l.Send(t, l.place, numbered(0, 50, 7))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	p, err := l.Peek(ctx, l.place, stream.View{Follow: true}, quietly)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	var list []stream.Message
	for ended := false; !ended || len(list) < 120; {
		some, err := p.Read(ctx, 100)
		if errors.Is(err, io.EOF) && !ended {
			values(t, list, 0, 50)
			ended = true
			l.Send(t, l.place, numbered(50, 120, 7))
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, some...)
	}
	values(t, list, 0, 120)
	short, stop := context.WithTimeout(ctx, 50*time.Millisecond)
	defer stop()
	if some, err := p.Read(short, 100); len(some) > 0 || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("with nothing to read: %d messages, %v", len(some), err)
	}
}

// empty: a place without messages has an end, too.
func (l *looking) empty(t *testing.T) {
	values(t, l.peek(t, stream.View{}), 0, 0)
	values(t, l.peek(t, stream.View{Last: 10}), 0, 0)
}

// back: messages are put back as they were, each to those that it stood with.
func (l *looking) back(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	to, err := l.Return(ctx, l.place, quietly)
	if unimplemented(err) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer to.Close()
	list := numbered(0, 100, 7)
	list = append(list, stream.Message{Value: []byte("100")})
	for i := range list {
		list[i].Headers = []stream.Header{{Key: "row", Value: fmt.Appendf(nil, "%d", i)}}
	}
	l.Send(t, l.place, list)
	old := l.peek(t, stream.View{})
	var again []*stream.Message
	lanes := map[string]string{}
	for i := range old {
		m := old[i]
		if m.Lane != nil {
			lanes[string(m.Value)] = m.Lane.Name
		}
		m.Lane = nil
		again = append(again, &m)
	}
	if err := to.Write(ctx, again); err != nil {
		t.Fatal(err)
	}
	now := l.peek(t, stream.View{})
	if len(now) != 2*len(old) {
		t.Fatalf("%d messages, not %d", len(now), 2*len(old))
	}
	for i := range now {
		m := &now[i]
		row, _ := m.Header("row")
		if string(row) != string(m.Value) || len(m.Headers) != 1 {
			t.Errorf("message %s has the headers %v", m.Value, m.Headers)
		}
		if m.Lane != nil && m.Lane.Name != lanes[string(m.Value)] {
			t.Errorf("message %s came back in lane %s, not %s", m.Value, m.Lane.Name, lanes[string(m.Value)])
		}
	}
	strange := *again[0]
	strange.Position.Topic = "somewhere-else"
	if err := to.Write(ctx, []*stream.Message{&strange}); err == nil || !permanentOf(err) {
		t.Errorf("a message of another place: %v", err)
	}
}

func permanentOf(err error) bool {
	var partly *stream.WriteError
	if errors.As(err, &partly) {
		err = partly.Failed[0]
	}
	return stream.IsPermanent(err)
}

func unimplemented(err error) bool {
	var e *serval.Error
	return errors.As(err, &e) && e.Code == serval.Unimplemented
}
