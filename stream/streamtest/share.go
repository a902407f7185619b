package streamtest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"serval"
	"serval/stream"
)

// handover: workers come and go while messages flow; none is lost, and the results of a key end in order.
func handover(t *testing.T, s *setup) {
	s.handler = uneven
	come(t, s, 6000, 40, false)
}

func come(t *testing.T, s *setup, n, keys int, once bool) {
	if s.Slow {
		n /= 4
	}
	var sent sync.WaitGroup
	sent.Go(func() {
		for i := 0; i < n; i += 100 {
			s.bus.Send(t, s.from, numbered(i, i+100, keys))
			time.Sleep(10 * time.Millisecond)
		}
	})
	var workers []*worker
	total := func() (sum uint64) {
		for _, w := range workers {
			sum += w.Status().Written
		}
		return sum
	}
	reach := func(share int) {
		await(t, fmt.Sprintf("%d%% of the results", share), func() bool { return total() >= uint64(n*share/100) })
	}
	workers = append(workers, s.start(t))
	reach(10)
	workers = append(workers, s.start(t))
	reach(25)
	workers = append(workers, s.start(t))
	reach(45)
	workers[0].stop()
	reach(65)
	workers = append(workers, s.start(t))
	reach(75)
	workers[1].stop()
	reach(100)
	sent.Wait()
	for _, w := range workers {
		w.stop()
	}
	s.check(t, s.bus.All(t, s.to), n, keys, once)
	busy := 0
	for _, w := range workers {
		if w.Status().Written > 0 {
			busy++
		}
	}
	if busy < 3 {
		t.Errorf("only %d of the workers had any work", busy)
	}
}

// transactional says whether the bus has transactions.
func (s *setup) transactional(t *testing.T) {
	session, err := s.bus.Session(t.Context(), s.from, s.to, s.dead, stream.Env{Stream: s.name, Instance: "probe", Owner: owner{}, Warn: func(string, ...any) {}})
	var e *serval.Error
	if errors.As(err, &e) && e.Code == serval.Unimplemented {
		t.Skip("no transactions: ", e.Message)
	}
	if err != nil {
		t.Fatal(err)
	}
	_ = session.Close()
	s.exact = true
}

// exactlyOnce: each message has one result, poison a dead letter, and what follows is in order.
func exactlyOnce(t *testing.T, s *setup) {
	s.transactional(t)
	const n, keys = 3000, 17
	s.handler = func(ctx context.Context, req *serval.Request, sink serval.Sink) error {
		if req.Input.(*serval.Completion).Text == "poison" {
			return serval.Errorf(serval.InvalidArgument, "no")
		}
		return uneven(ctx, req, sink)
	}
	list := numbered(0, n/2, keys)
	list = append(list, stream.Message{Key: []byte("key-1"), Value: []byte("poison")})
	list = append(list, numbered(n/2, n, keys)...)
	s.bus.Send(t, s.from, list)
	w := s.start(t)
	w.written(t, n)
	w.stop()
	s.check(t, s.bus.All(t, s.to), n, keys, true)
	s.deadLetters(t, 1)
	if st := w.Status(); st.Read != n+1 || st.Delivery != "exactly-once" {
		t.Errorf("status: %+v", st)
	}
}

// breaking is a session that fails in the middle of transactions.
type breaking struct {
	stream.Session
	writes atomic.Int64
}

// Letters passes the session's on.
func (b *breaking) Letters() stream.Target { return b.Session.(stream.Lettered).Letters() }

func (b *breaking) Write(ctx context.Context, list []*stream.Message) error {
	switch b.writes.Add(1) {
	case 2, 3, 7:
		_ = b.Session.Write(ctx, list[:len(list)/2]) // written, and then undone
		return errors.New("the broker is in trouble")
	}
	return b.Session.Write(ctx, list)
}

// undone: transactions that fail leave nothing behind; a result that the target refuses becomes a dead letter.
func undone(t *testing.T, s *setup) {
	s.transactional(t)
	const n, keys = 2000, 13
	_, refused := s.bus.Large()
	s.handler = func(ctx context.Context, req *serval.Request, sink serval.Sink) error {
		if c := req.Input.(*serval.Completion); c.Text == "grow" {
			c.Text = strings.Repeat("g", refused)
		}
		return uneven(ctx, req, sink)
	}
	s.around = func(in stream.Session) stream.Session { return &breaking{Session: in} }
	list := append(numbered(0, n/2, keys), stream.Message{Key: []byte("key-1"), Value: []byte("grow")})
	s.bus.Send(t, s.from, append(list, numbered(n/2, n, keys)...))
	w := s.start(t)
	w.written(t, n)
	await(t, "the dead letter", func() bool { return deadOf(w.Status()) == 1 })
	w.stop()
	s.check(t, s.bus.All(t, s.to), n, keys, true)
	if m, ok := s.deadLetters(t, 1)["grow"]; !ok {
		t.Error("the message whose result was refused is no dead letter")
	} else if code, _ := m.Header(stream.HeaderCode); string(code) != "too_large" {
		t.Errorf("its code is %q", code)
	}
	if w.Status().Aborted < 3 {
		t.Errorf("%d transactions were undone", w.Status().Aborted)
	}
}

// exactHandover is handover with transactions: none lost, none twice.
func exactHandover(t *testing.T, s *setup) {
	s.transactional(t)
	s.handler = uneven
	come(t, s, 4000, 40, true)
}
