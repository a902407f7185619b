package stream

import (
	"log/slog"
	"testing"
	"time"

	"serval"
)

// TestBite: a model that takes its time whatever its rows are is given many at once, though one before it was faster, and though messages
// came that no model had to do with.
func TestBite(t *testing.T) {
	t.Parallel()
	a := &aside{}
	work := func(loaded int64, each time.Duration) (bite int) {
		for range 64 {
			n := a.bite()
			a.spent(time.Unix(loaded, 0), each+time.Duration(n)*time.Microsecond, n)
		}
		return a.bite()
	}
	unknown := a.bite()
	a.spent(time.Time{}, time.Microsecond, 0)
	if b := a.bite(); b != unknown {
		t.Errorf("before any answer a bite is %d, behind a group without one %d", unknown, b)
	}
	work(1, time.Microsecond)
	if b := work(2, 2*time.Millisecond); b != biteMost {
		t.Errorf("of a model that takes 2 ms a call, behind a faster one, a bite is %d", b)
	}
	a.spent(time.Unix(2, 0), time.Microsecond, 0)
	a.spent(time.Unix(1, 0), time.Microsecond, 1) // late, by the faster one
	if b := work(2, 2*time.Millisecond); b != biteMost {
		t.Errorf("behind a group without an answer a bite is %d", b)
	}
}

// TestBiteBehindOthers: calls that wait behind others' as long as the model takes, and longer, are still given many messages.
func TestBiteBehindOthers(t *testing.T) {
	t.Parallel()
	a := &aside{}
	for i := range 512 {
		n := a.bite()
		took := 2*time.Millisecond + time.Duration(n)*time.Microsecond
		if i%4 != 0 {
			took += time.Duration(i%7) * 2 * time.Millisecond
		}
		a.spent(time.Unix(1, 0), took, n)
	}
	if b := a.bite(); b < biteMost/2 {
		t.Errorf("a bite is %d", b)
	}
}

type noModels struct{}

func (noModels) Model(serval.Ref) (serval.ModelInfo, error) {
	return serval.ModelInfo{}, serval.Errorf(serval.NotFound, "there is none")
}

// TestBiteWithoutModel: how fast there is no model does not count.
func TestBiteWithoutModel(t *testing.T) {
	t.Parallel()
	r := newRun(New(Options{Name: "none", Models: noModels{}, Log: slog.New(slog.DiscardHandler)}))
	defer r.close()
	before := r.aside.bite()
	for range 3 {
		r.serve([]*item{{}, {}})
	}
	if b := r.aside.bite(); b != before {
		t.Errorf("a bite was %d, and is %d", before, b)
	}
}

// TestPriorityOfMessages: a message may say how urgent it is, but not in a background stream.
func TestPriorityOfMessages(t *testing.T) {
	t.Parallel()
	for own, want := range map[int8]int8{3: 1, 0: 1, serval.Background: serval.Background} {
		r := newRun(New(Options{Name: "s", Priority: own}))
		if p := r.request(&item{call: Call{Priority: 1}}, nil).Priority; p != want {
			t.Errorf("in a stream of priority %d, a message of priority 1 has %d, not %d", own, p, want)
		}
		r.close()
	}
}

// TestDeadlineBehindOthers: a message of a background stream that waited too long since others were answered is no dead letter for it.
func TestDeadlineBehindOthers(t *testing.T) {
	t.Parallel()
	busy := true
	r := newRun(New(Options{Name: "s", OnError: "drop", Busy: func() bool { return busy }, Log: slog.New(slog.DiscardHandler)}))
	defer r.close()
	late := func() *item {
		it := &item{}
		for range 2 * r.w.opt.Retry.Attempts {
			it.failed, it.after = nil, 0
			it.attempts++
			r.judge(it, serval.Errorf(serval.DeadlineExceeded, "the deadline passed"))
		}
		return it
	}
	if it := late(); it.dropped || it.after == 0 {
		t.Errorf("while others call: %+v", it.failed)
	}
	busy = false
	if it := late(); !it.dropped {
		t.Error("where nobody calls, a message that always takes too long is tried for ever")
	}
}
