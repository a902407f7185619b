package schedule

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"serval"
	"serval/engine"
)

// counting is a Decoder of text that gives each call as many tokens as its Limit, on a number of slots.
type counting struct {
	slots int
	live  []*engine.Call
	left  []int
	step  time.Duration
}

func (d *counting) Signature() serval.Signature { return serval.Signature{} }
func (d *counting) Memory() engine.Memory       { return engine.Memory{} }
func (d *counting) Close() error                { return nil }
func (d *counting) Language() serval.Language {
	return serval.Language{Slots: d.slots, Generate: true}
}

func (d *counting) Admit(c *engine.Call) error {
	if len(d.live) == d.slots {
		return engine.ErrNoRoom
	}
	d.live = append(d.live, c)
	d.left = append(d.left, c.Input.(*serval.Generate).Limit)
	return nil
}

func (d *counting) Step(context.Context) (int, error) {
	time.Sleep(d.step)
	live, left := d.live[:0], d.left[:0]
	for i, c := range d.live {
		if c.Stream.Canceled() {
			c.Stream.End(context.Canceled)
			continue
		}
		chunk := serval.Chunk{Output: &serval.Tokens{List: []serval.Token{{ID: int32(d.left[i])}}}, Usage: serval.Usage{Completion: 1}}
		if d.left[i] == 1 {
			chunk.Finish = serval.Length
		}
		if c.Stream.Emit(chunk) {
			d.left[i]--
		}
		if d.left[i] == 0 {
			c.Stream.End(nil)
			continue
		}
		live, left = append(live, c), append(left, d.left[i])
	}
	d.live, d.left = live, left
	return len(live), nil
}

func streams(t *testing.T, d *counting, s serval.ModelSettings) *Streams {
	t.Helper()
	if s.Queue.Limit == 0 {
		s.Queue.Limit = 100
	}
	m := newStreams("model 'x' version 1", s, d)
	t.Cleanup(func() { _ = m.Close() })
	return m
}

func generate(tokens int) *serval.Request {
	return &serval.Request{Input: &serval.Generate{Tokens: []int32{1}, Limit: tokens}}
}

// full is a counting Decoder with a cache that each live call takes ten tokens of.
type full struct{ counting }

func (d *full) Cache() (used, size int) { return 10 * len(d.live), 40 }

// TestCacheIsTold: how full the cache is while calls are live, and that it is empty without them.
func TestCacheIsTold(t *testing.T) {
	d := &full{counting{slots: 4, step: time.Millisecond}}
	m := newStreams("model 'x' version 1", serval.ModelSettings{Queue: serval.QueueSettings{Limit: 100}}, d)
	t.Cleanup(func() { _ = m.Close() })
	if s := m.Stats(); s.CacheUsed != 0 || s.CacheSize != 40 {
		t.Errorf("at first %d of %d", s.CacheUsed, s.CacheSize)
	}
	ctx, leave := context.WithCancel(t.Context())
	var calls sync.WaitGroup
	for range 3 {
		calls.Go(func() {
			_ = m.Handle(ctx, generate(1<<30), serval.SinkFunc(func(*serval.Chunk) error { return nil }))
		})
	}
	for m.Stats().CacheUsed != 30 {
		time.Sleep(time.Millisecond)
	}
	leave()
	calls.Wait()
	if s := m.Stats(); s.CacheUsed != 0 || s.CacheSize != 40 {
		t.Errorf("at last %d of %d", s.CacheUsed, s.CacheSize)
	}
	if s := streams(t, &counting{slots: 1}, serval.ModelSettings{}).Stats(); s.CacheSize != 0 {
		t.Errorf("one that has none says %d", s.CacheSize)
	}
}

// TestWhoWaitsIsWoken: sequences that end in one step leave every slot free, and those that wait must get them though
// nothing else happens.
func TestWhoWaitsIsWoken(t *testing.T) {
	for _, slots := range []int{1, 4} {
		m := streams(t, &counting{slots: slots}, serval.ModelSettings{})
		var wait sync.WaitGroup
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		for i := range 5 * slots {
			wait.Go(func() {
				if err := m.Handle(ctx, generate(3), serval.SinkFunc(func(*serval.Chunk) error { return nil })); err != nil {
					t.Errorf("slots %d, call %d: %v", slots, i, err)
				}
			})
		}
		wait.Wait()
	}
}

// TestWaitIsBounded: queue.timeout is of waiting, and not of the answer.
func TestWaitIsBounded(t *testing.T) {
	m := streams(t, &counting{slots: 1, step: 10 * time.Millisecond}, serval.ModelSettings{Queue: serval.QueueSettings{Timeout: 50 * time.Millisecond}})
	first := make(chan error, 1)
	begun := make(chan struct{})
	var once sync.Once
	go func() {
		first <- m.Handle(t.Context(), generate(30), serval.SinkFunc(func(*serval.Chunk) error { once.Do(func() { close(begun) }); return nil }))
	}()
	<-begun
	err := m.Handle(t.Context(), generate(1), serval.SinkFunc(func(*serval.Chunk) error { return nil }))
	var e *serval.Error
	if !errors.As(err, &e) || e.Code != serval.DeadlineExceeded {
		t.Errorf("who waited: %v", err)
	}
	if err := <-first; err != nil {
		t.Errorf("who was answered: %v", err)
	}
}

// TestReceiverHasTheLastWord: what a receiver says is wrong is the call's error, and enough is none.
func TestReceiverHasTheLastWord(t *testing.T) {
	m := streams(t, &counting{slots: 1}, serval.ModelSettings{})
	for _, tokens := range []int{1, 5} { // the last chunk, and one before it
		own := serval.Errorf(serval.InvalidArgument, "not this")
		if err := m.Handle(t.Context(), generate(tokens), serval.SinkFunc(func(*serval.Chunk) error { return own })); err != own {
			t.Errorf("%d tokens: %v", tokens, err)
		}
		if err := m.Handle(t.Context(), generate(tokens), serval.SinkFunc(func(*serval.Chunk) error { return serval.ErrEnough })); err != nil {
			t.Errorf("%d tokens, enough: %v", tokens, err)
		}
		var e *serval.Error
		if err := m.Handle(t.Context(), generate(tokens), serval.SinkFunc(func(*serval.Chunk) error { return errors.New("gone") })); !errors.As(err, &e) || e.Code != serval.Canceled {
			t.Errorf("%d tokens, gone: %v", tokens, err)
		}
	}
	if n := m.Stats().Sequences; n != 0 {
		t.Errorf("%d sequences are left", n)
	}
}

// TestUrgentFirst: of those that wait, the urgent come first, and equals in their order.
func TestUrgentFirst(t *testing.T) {
	m := streams(t, &counting{slots: 1, step: 5 * time.Millisecond}, serval.ModelSettings{})
	begun := make(chan struct{})
	var once, lock sync.Mutex
	started := false
	var order []int8
	var wait sync.WaitGroup
	wait.Go(func() {
		_ = m.Handle(t.Context(), generate(60), serval.SinkFunc(func(*serval.Chunk) error {
			once.Lock()
			if !started {
				started = true
				close(begun)
			}
			once.Unlock()
			return nil
		}))
	})
	<-begun
	for i, p := range []int8{3, 0, 1, 2, 1} {
		wait.Go(func() {
			req := generate(1)
			req.Priority = p
			_ = m.Handle(t.Context(), req, serval.SinkFunc(func(*serval.Chunk) error {
				lock.Lock()
				order = append(order, urgency(p))
				lock.Unlock()
				return nil
			}))
		})
		for m.Stats().Waiting <= i { // each stands in the queue before the next comes
			time.Sleep(time.Millisecond)
		}
	}
	wait.Wait()
	want := []int8{1, 1, 2, 2, 3}
	for i := range want {
		if order[i] != want[i] {
			t.Fatalf("order %v, want %v", order, want)
		}
	}
}
