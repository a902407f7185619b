package schedule

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"serval"
	"serval/engine"
)

// gate is a Batcher that runs a batch when it is let, and tells the first value of each.
type gate struct {
	engine.Batcher
	let chan struct{}
	ran chan float64
}

func (g *gate) Execute(_ context.Context, calls []*engine.Call) error {
	<-g.let
	for _, c := range calls {
		g.ran <- float64(c.Inputs[0].Data[0])
		c.Answer(nil, nil)
	}
	return nil
}
func (g *gate) Close() error { return nil }

// gated makes a queue with one instance, whose first call holds it until the test lets it go.
func gated(t *testing.T, q serval.QueueSettings) (*Model, *gate, func(tag byte, priority int8, timeout time.Duration) <-chan error) {
	t.Helper()
	s := withDefaults(serval.ModelSettings{Queue: q, Batching: serval.BatchSettings{Mode: "off"}})
	g := &gate{let: make(chan struct{}, 64), ran: make(chan float64, 64)}
	m := newModel("m", s, serval.Signature{}, probed{})
	m.start([]engine.Batcher{g})
	var wg sync.WaitGroup
	send := func(tag byte, priority int8, timeout time.Duration) <-chan error {
		done := make(chan error, 1)
		before := m.Stats().Waiting
		idle := func() bool { m.mu.Lock(); defer m.mu.Unlock(); return len(m.idle) > 0 }
		free := idle()
		wg.Add(1)
		go func() {
			defer wg.Done()
			req := &serval.Request{Priority: priority, Timeout: timeout, Input: &serval.Tensors{List: []serval.Tensor{{Name: "x", DType: serval.Uint8, Shape: []int64{1}, Data: []byte{tag}}}}}
			done <- m.Handle(context.Background(), req, serval.SinkFunc(func(*serval.Chunk) error { return nil }))
		}()
		for { // until it waits, runs or is refused
			if m.Stats().Waiting > before || free && !idle() || len(done) > 0 {
				return done
			}
			time.Sleep(time.Millisecond)
		}
	}
	t.Cleanup(func() {
		close(g.let)
		wg.Wait()
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m, g, send
}

func (g *gate) next(t *testing.T) byte {
	t.Helper()
	g.let <- struct{}{}
	select {
	case v := <-g.ran:
		return byte(v)
	case <-time.After(time.Minute):
		t.Fatal("nothing ran")
	}
	return 0
}

func TestDelayedCallsGoBehindAllOthers(t *testing.T) {
	m, g, send := gated(t, serval.QueueSettings{PriorityLevels: 2, DefaultPriority: 2, MaxWait: time.Hour, Priorities: []serval.PriorityPolicy{
		{Priority: 1, Timeout: time.Millisecond, OnTimeout: "delay"}}})
	first := send(1, 0, 0)
	late := send(2, 1, 0) // the most urgent, but it waits too long
	for m.lateCalls() == 0 {
		time.Sleep(time.Millisecond)
	}
	normal := send(3, 0, 0)
	var order []byte
	for range 3 {
		order = append(order, g.next(t))
	}
	if string(order) != "\x01\x03\x02" {
		t.Errorf("they ran in the order %v", order)
	}
	for _, done := range []<-chan error{first, late, normal} {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// lateCalls are those that went behind all others.
func (m *Model) lateCalls() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.q.levels[m.q.least()].calls
}

func TestPoliciesOfPriorities(t *testing.T) {
	m, g, send := gated(t, serval.QueueSettings{PriorityLevels: 3, DefaultPriority: 2, MaxWait: time.Hour, ClientTimeout: "ignore", Priorities: []serval.PriorityPolicy{
		{Priority: 3, Limit: 1, Timeout: 20 * time.Millisecond, ClientTimeout: "honour"}}})
	if m.level(0) != 1 || m.level(9) != 1 || m.level(3) != 2 || m.level(1) != 0 {
		t.Errorf("levels %d %d %d %d", m.level(0), m.level(9), m.level(3), m.level(1))
	}
	first := send(1, 0, 0)
	patient := send(2, 2, time.Nanosecond) // ignored
	short := send(3, 3, 0)
	if err := <-send(4, 3, 0); err == nil || !strings.Contains(err.Error(), "requests of priority 3 wait already") || serval.AsError(err).Code != serval.Unavailable {
		t.Errorf("one too many of priority 3: %v", err)
	}
	if err := <-short; serval.AsError(err).Code != serval.DeadlineExceeded {
		t.Errorf("the queue's timeout passed: %v", err)
	}
	if err := <-send(5, 3, time.Nanosecond); serval.AsError(err).Code != serval.DeadlineExceeded {
		t.Errorf("the client's timeout passed: %v", err)
	}
	if got := string([]byte{g.next(t), g.next(t)}); got != "\x01\x02" {
		t.Errorf("they ran in the order %q", got)
	}
	if err := errors.Join(<-first, <-patient); err != nil {
		t.Error(err)
	}
}

func TestWarmRunsOnEveryInstance(t *testing.T) {
	o := open(t, nil, serval.ModelSettings{Instances: 3})
	defer o.Loaded.Close()
	in := request(1, 2).Input.(*serval.Tensors).List
	if err := o.Loaded.(*Model).Warm(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	if s := o.Loaded.Stats(); s.Inferences != 0 || s.Executions != 0 {
		t.Errorf("a warm-up was counted: %+v", s)
	}
	if err := check(o.Loaded, 3, 2); err != nil {
		t.Error(err)
	}
}
