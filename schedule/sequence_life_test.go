package schedule

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"serval"
)

// slow is a stateful model.fake whose output repeats its input after 50 ms, one call at a time.
func slow(t *testing.T, s serval.SequenceSettings) *Sequences {
	t.Helper()
	s.States = []serval.SequenceState{{Input: "h", Output: "h_next"}}
	o := open(t, map[string]any{"delay": "50ms",
		"inputs":  []map[string]any{{"name": "x", "datatype": "FP32", "shape": []int{-1, 1}}, {"name": "h", "datatype": "FP32", "shape": []int{-1, 1}}},
		"outputs": []map[string]any{{"name": "y", "datatype": "FP32", "shape": []int{-1, 1}}, {"name": "h_next", "datatype": "FP32", "shape": []int{-1, 1}}},
	}, serval.ModelSettings{Instances: 1, Batching: serval.BatchSettings{Mode: "off"}, Queue: serval.QueueSettings{Limit: 10, MaxWait: time.Minute}, Sequence: &s})
	return o.Loaded.(*Sequences)
}

// ask sends one call of sequence id. Flags are s and e, for start and end.
func ask(ctx context.Context, h serval.Handler, id, flags string) error {
	_, err := send(ctx, h, serval.Sequence{ID: id, Start: strings.Contains(flags, "s"), End: strings.Contains(flags, "e")}, fp32s("x", 1))
	return err
}

// wantCode wants an error of that code whose message has all the words.
func wantCode(t *testing.T, err error, code serval.Code, words ...string) {
	t.Helper()
	var e *serval.Error
	if !errors.As(err, &e) || e.Code != code {
		t.Errorf("%v; want %s", err, code)
		return
	}
	for _, w := range words {
		if !strings.Contains(e.Message, w) {
			t.Errorf("%q lacks %q", e.Message, w)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestAnIdleSequenceIsLetGo(t *testing.T) {
	q := slow(t, serval.SequenceSettings{MaxSequences: 1, IdleTimeout: 100 * time.Millisecond})
	defer q.Close()
	ctx := context.Background()
	must(t, ask(ctx, q, "1", "s"))
	must(t, ask(ctx, q, "2", "s")) // waits until 1 was let go
	wantCode(t, ask(ctx, q, "1", ""), serval.InvalidArgument, "must specify the START flag", "after 100ms without a request")
}

func TestACallThatIsDroppedBreaksItsSequence(t *testing.T) {
	q := slow(t, serval.SequenceSettings{MaxSequences: 2, IdleTimeout: time.Hour})
	defer q.Close()
	ctx := context.Background()
	must(t, ask(ctx, q, "1", "s"))
	must(t, ask(ctx, q, "2", "s"))
	q.Model.mu.Lock()
	busy := q.idle[0] // as if another call were at work
	q.idle = q.idle[:0]
	q.Model.mu.Unlock()
	left, leave := context.WithCancel(ctx)
	gone := make(chan error, 1)
	go func() { gone <- ask(left, q, "2", "") }()
	await(t, "waiting call", func() bool { return q.Stats().Waiting == 1 })
	leave()
	wantCode(t, <-gone, serval.Canceled)
	if n := q.Stats().Sequences; n != 1 {
		t.Errorf("%d sequences live, the broken one still among them", n)
	}
	wantCode(t, ask(ctx, q, "2", ""), serval.InvalidArgument, "must specify the START flag", "when a request of it fails")
	busy.wake <- struct{}{}
	must(t, ask(ctx, q, "1", "")) // the neighbour goes on
	must(t, ask(ctx, q, "2", "s"))
}

func TestACallThatLeavesWhileItWaitsForItsTurn(t *testing.T) {
	q := slow(t, serval.SequenceSettings{})
	defer q.Close()
	ctx := context.Background()
	must(t, ask(ctx, q, "1", "s"))
	s := q.live[sequenceKey{id: "1"}]
	s.turn <- struct{}{} // as if a call were at work
	left, leave := context.WithCancel(ctx)
	first, second, third := make(chan error, 1), make(chan error, 1), make(chan error, 1)
	go func() { first <- ask(left, q, "1", "") }()
	await(t, "first call", func() bool { return q.Stats().Waiting == 1 })
	go func() { second <- ask(ctx, q, "1", "") }()
	await(t, "second call", func() bool { return q.Stats().Waiting == 2 })
	go func() { third <- ask(ctx, q, "1", "s") }()
	await(t, "third call", func() bool { return q.Stats().Waiting == 3 })
	leave()
	wantCode(t, <-first, serval.Canceled)
	<-s.turn
	wantCode(t, <-second, serval.InvalidArgument, "sequence '1' of model 'm' version 1 was broken by an earlier request (the request was cancelled by the client)", "begin anew with the START flag")
	must(t, <-third)
	must(t, ask(ctx, q, "1", "e"))
	if n := q.Stats().Sequences; n != 0 {
		t.Errorf("%d sequences live", n)
	}
}

// TestCallsBehindAnEnd wants those that waited behind the end to be told, and all of them to come back.
func TestCallsBehindAnEnd(t *testing.T) {
	q := slow(t, serval.SequenceSettings{})
	defer q.Close()
	ctx := context.Background()
	must(t, ask(ctx, q, "1", "s"))
	s := q.live[sequenceKey{id: "1"}]
	s.turn <- struct{}{}
	end := make(chan error, 1)
	go func() { end <- ask(ctx, q, "1", "e") }()
	await(t, "the end to wait", func() bool { return q.Stats().Waiting == 1 })
	late := make(chan error, 5)
	for i := range cap(late) {
		go func() { late <- ask(ctx, q, "1", "e") }()
		await(t, "a late call", func() bool { return q.Stats().Waiting == i+2 })
	}
	<-s.turn
	must(t, <-end)
	for range cap(late) {
		wantCode(t, <-late, serval.InvalidArgument, "must specify the START flag")
	}
	if n := q.Stats().Sequences; n != 0 || len(q.slots) != 0 {
		t.Errorf("%d sequences live, %d slots taken", n, len(q.slots))
	}
}

func TestAStartBeyondTheLimitWaits(t *testing.T) {
	q := slow(t, serval.SequenceSettings{MaxSequences: 2, IdleTimeout: time.Hour})
	defer q.Close()
	ctx := context.Background()
	must(t, ask(ctx, q, "1", "s"))
	must(t, ask(ctx, q, "2", "s"))

	late := &serval.Request{Sequence: serval.Sequence{ID: "3", Start: true}, Deadline: time.Now().Add(20 * time.Millisecond), Input: &serval.Tensors{List: []serval.Tensor{fp32s("x", 1)}}}
	_, err := sendRequest(ctx, q, late)
	wantCode(t, err, serval.DeadlineExceeded, "waited for one of 2 sequences to end (sequence.max_sequences)")
	left, leave := context.WithCancel(ctx)
	leave()
	wantCode(t, ask(left, q, "3", "s"), serval.Canceled)

	var wg sync.WaitGroup
	for i := range 10 { // as many as queue.limit
		wg.Go(func() {
			if err := ask(ctx, q, fmt.Sprint("w", i), "se"); err != nil {
				t.Error(err)
			}
		})
	}
	await(t, "ten waiting", func() bool { return q.Stats().Waiting == 10 })
	wantCode(t, ask(ctx, q, "more", "s"), serval.Unavailable, "10 requests wait already, which is its queue.limit")
	must(t, ask(ctx, q, "1", "e"))
	wg.Wait()
	s := q.Stats()
	if s.Sequences != 1 || s.Waiting != 0 || s.Rejected["deadline"] != 1 || s.Rejected["canceled"] != 1 || s.Rejected["queue_full"] != 1 {
		t.Errorf("%+v", s)
	}
}

// TestTheQueuesTimeoutCoversTheWaitForASlot uses queue.timeout instead of the request's own deadline.
func TestTheQueuesTimeoutCoversTheWaitForASlot(t *testing.T) {
	q := slow(t, serval.SequenceSettings{MaxSequences: 1, IdleTimeout: time.Hour})
	defer q.Close()
	must(t, ask(context.Background(), q, "1", "s"))
	short := &serval.Request{Sequence: serval.Sequence{ID: "2", Start: true}, Timeout: 20 * time.Millisecond, Input: &serval.Tensors{List: []serval.Tensor{fp32s("x", 1)}}}
	_, err := sendRequest(context.Background(), q, short)
	wantCode(t, err, serval.DeadlineExceeded, "sequence.max_sequences")
	if !short.Deadline.IsZero() {
		t.Error("the request came back with another deadline")
	}
	for i := range q.policies {
		q.policies[i].timeout = 20 * time.Millisecond
	}
	wantCode(t, ask(context.Background(), q, "2", "s"), serval.DeadlineExceeded, "sequence.max_sequences")
}

func TestCloseRetiresSequences(t *testing.T) {
	q := slow(t, serval.SequenceSettings{MaxSequences: 1, IdleTimeout: time.Hour})
	ctx := context.Background()
	must(t, ask(ctx, q, "1", "s"))
	waits := make(chan error, 1)
	go func() { waits <- ask(ctx, q, "2", "s") }()
	await(t, "a waiting start", func() bool { return q.Stats().Waiting == 1 })
	must(t, q.Close())
	if err := <-waits; !errors.Is(err, serval.ErrRetired) {
		t.Error(err)
	}
	if err := ask(ctx, q, "1", ""); !errors.Is(err, serval.ErrRetired) {
		t.Error(err)
	}
}

// TestAFailureBreaksOneSequence wants neighbours in the same batch to go on.
func TestAFailureBreaksOneSequence(t *testing.T) {
	o := mustOpen(t, "lookup", serval.ModelSettings{Batching: serval.BatchSettings{Mode: "on"},
		Sequence: &serval.SequenceSettings{States: []serval.SequenceState{{Input: "sum", Output: "sum_next"}}}})
	at := func(i int64) serval.Tensor {
		return serval.Tensor{Name: "x", DType: serval.Int64, Shape: []int64{1, 1}, Data: binary.LittleEndian.AppendUint64(nil, uint64(i))}
	}
	run(t, o.Loaded, []step{
		{"1", "s", at(2), "y[1,1]=4", ""},
		{"2", "s", at(3), "y[1,1]=9", ""},
		{"1", "", at(3), "y[1,1]=13", ""},
	})
	var wg sync.WaitGroup
	for k := range 30 {
		wg.Go(func() {
			id, bad := fmt.Sprint("k", k), k%3 == 0
			for i := range 10 {
				index := int64(2)
				if bad && i == 5 {
					index = 99
				}
				got, err := send(context.Background(), o.Loaded, serval.Sequence{ID: id, Start: i == 0}, at(index))
				switch {
				case bad && i == 5:
					wantCode(t, err, serval.InvalidArgument, "99")
				case bad && i > 5:
					wantCode(t, err, serval.InvalidArgument, "must specify the START flag")
				case got != fmt.Sprintf("y[1,1]=%d", 4*(i+1)):
					t.Errorf("sequence %s, call %d: %s, %v", id, i, got, err)
				}
			}
		})
	}
	wg.Wait()
	run(t, o.Loaded, []step{{"1", "", at(1), "y[1,1]=14", ""}, {"2", "", at(1), "y[1,1]=10", ""}})
}

// TestClientsThatComeAndGo leaves at random, with the race detector watching; at the end nothing is held.
func TestClientsThatComeAndGo(t *testing.T) {
	o := mustOpen(t, "accumulate", serval.ModelSettings{Sequence: func() *serval.SequenceSettings {
		s := accumulating()
		s.MaxSequences, s.IdleTimeout = 8, 40*time.Millisecond
		return s
	}()})
	q := o.Loaded.(*Sequences)
	var wg sync.WaitGroup
	for k := range 64 {
		wg.Go(func() {
			for i := range 30 {
				ctx, cancel := context.WithTimeout(context.Background(), time.Duration(1+(k*7+i*13)%20)*time.Millisecond)
				_, err := send(ctx, q, serval.Sequence{ID: fmt.Sprint(k % 20), Start: i%3 == 0, End: i%7 == 0}, int32s("INPUT", 1))
				var e *serval.Error
				if err != nil && (!errors.As(err, &e) || e.Code == serval.Internal) {
					t.Error(err)
				}
				cancel()
			}
		})
	}
	wg.Wait()
	await(t, "end of the idle ones", func() bool { return q.Stats().Sequences == 0 })
	if len(q.slots) != 0 || q.waiting != 0 {
		t.Errorf("%d slots and %d waiting calls are left", len(q.slots), q.waiting)
	}
}
