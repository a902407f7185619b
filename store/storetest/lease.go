package storetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"serval"
	"serval/batch"
)

// fence: whoever lost a piece changes nothing any more.
func fence(t *testing.T, open func() Store) {
	s := open()
	id := planned(t, s, 1)
	old := claim(t, s, gone)
	if old == nil {
		t.Fatal("nothing to claim")
	}
	if _, err := s.Renew(t.Context(), old, batch.Measure{Rows: 5}); err != nil {
		t.Errorf("late, but nobody else has taken it: %v", err)
	}
	now := must(t, s, id)
	if now.Fence <= old.Fence || now.Piece.Number != old.Piece.Number || now.Piece.Attempts != 2 {
		t.Errorf("%+v after %+v", now, old)
	}
	lost := func(l *batch.Lease) {
		t.Helper()
		if _, err := s.Renew(t.Context(), l, batch.Measure{Rows: 1e6}); !errors.Is(err, batch.ErrLost) {
			t.Errorf("renew: %v", err)
		}
		for _, o := range []batch.Outcome{{Output: []byte(`"old"`)}, {Err: "old"}, {Again: true}} {
			if err := s.Finish(t.Context(), l, o); !errors.Is(err, batch.ErrLost) {
				t.Errorf("finish: %v", err)
			}
		}
	}
	lost(old)
	finish(t, s, now, batch.Outcome{Output: []byte(`"new"`), Measure: batch.Measure{Rows: 7}})
	lost(old)
	lost(now) // twice
	pieces, err := s.Pieces(t.Context(), id, batch.Work)
	if err != nil || string(pieces[0].Output) != `"new"` {
		t.Errorf("%+v %v", pieces, err)
	}
	last := must(t, s, id)
	finish(t, s, last, batch.Outcome{})
	if j := state(t, s, id, batch.Succeeded); j.Tally.Rows != 7 {
		t.Errorf("%+v", j.Tally)
	}
	if err := s.Delete(t.Context(), "", id); err != nil {
		t.Fatal(err)
	}
	lost(last)
	if err := s.Log(t.Context(), last, "x"); !errors.Is(err, batch.ErrLost) {
		t.Errorf("log: %v", err)
	}
}

// order: a piece that was given back waits for its time, the others do not.
func order(t *testing.T, open func() Store) {
	s := open()
	id := planned(t, s, 2)
	l := must(t, s, id)
	finish(t, s, l, batch.Outcome{Again: true, After: 5 * time.Minute, Err: "the model is loading", Measure: batch.Measure{Rows: 3, Done: 0.5}})
	if j := state(t, s, id, batch.Running); j.Reason != "the model is loading" || j.Tally.Rows != 3 {
		t.Errorf("%+v", j)
	}
	if next := must(t, s, id); next.Piece.Number == l.Piece.Number {
		t.Error("it was taken again at once")
	}
	none(t, s)
	other := planned(t, s, 1)
	finish(t, s, must(t, s, other), batch.Outcome{Again: true}) // as at a drain
	must(t, s, other)
}

func pause(t *testing.T, open func() Store) {
	s := open()
	id := planned(t, s, 2)
	change := func(o batch.Order, want batch.State) {
		t.Helper()
		if j, err := s.Change(t.Context(), "a", id, o); err != nil || j.State != want {
			t.Errorf("%q: %+v %v", o, j, err)
		}
	}
	l := must(t, s, id)
	change(batch.GoOn, batch.Running)
	change(batch.Pause, batch.Paused)
	change(batch.Pause, batch.Paused)
	none(t, s)
	if o, err := s.Renew(t.Context(), l, batch.Measure{Rows: 2}); o != batch.Pause || err != nil {
		t.Errorf("%q %v", o, err)
	}
	finish(t, s, l, batch.Outcome{Again: true, Measure: batch.Measure{Rows: 4}})
	state(t, s, id, batch.Paused)
	none(t, s)
	change(batch.GoOn, batch.Running)
	if l := must(t, s, id); l.Piece.Attempts != 2 {
		t.Errorf("%+v", l.Piece)
	}
	id = add(t, s, &batch.Record{}).ID
	change(batch.Pause, batch.Paused)
	change(batch.GoOn, batch.Queued)
	_, err := s.Change(t.Context(), "a", id, "sleep")
	is(t, err, serval.InvalidArgument)
}

func cancel(t *testing.T, open func() Store) {
	s := open()
	id := planned(t, s, 2)
	l := must(t, s, id)
	for range 2 {
		if j, err := s.Change(t.Context(), "a", id, batch.Cancel); err != nil || j.State != batch.Cancelling {
			t.Errorf("%+v %v", j, err)
		}
	}
	none(t, s)
	_, err := s.Change(t.Context(), "a", id, batch.Pause)
	is(t, err, serval.Conflict)
	if o, err := s.Renew(t.Context(), l, batch.Measure{}); o != batch.Cancel || err != nil {
		t.Errorf("%q %v", o, err)
	}
	finish(t, s, l, batch.Outcome{Output: []byte(`"done all the same"`)})
	if j := state(t, s, id, batch.Cancelled); j.Ended.IsZero() {
		t.Errorf("%+v", j)
	}
	if j, err := s.Change(t.Context(), "a", id, batch.Cancel); err != nil || j.State != batch.Cancelled {
		t.Errorf("once more: %+v %v", j, err)
	}
	none(t, s)
	// A worker that was killed does not keep the job from its end.
	id = planned(t, s, 1)
	l = claim(t, s, gone)
	if j, err := s.Change(t.Context(), "a", id, batch.Cancel); err != nil || j.State != batch.Cancelled {
		t.Errorf("%+v %v", j, err)
	}
	if _, err := s.Renew(t.Context(), l, batch.Measure{}); !errors.Is(err, batch.ErrLost) {
		t.Errorf("%v", err)
	}
	id = planned(t, s, 1)
	l = must(t, s, id)
	if _, err := s.Change(t.Context(), "a", id, batch.Cancel); err != nil {
		t.Fatal(err)
	}
	l.For = gone
	if _, err := s.Renew(t.Context(), l, batch.Measure{}); err != nil {
		t.Fatal(err)
	}
	none(t, s)
	state(t, s, id, batch.Cancelled)
	// What was published before it heard of it has succeeded.
	id = planned(t, s, 0)
	l = must(t, s, id)
	if _, err := s.Change(t.Context(), "a", id, batch.Cancel); err != nil {
		t.Fatal(err)
	}
	finish(t, s, l, batch.Outcome{Output: []byte(`1`)})
	state(t, s, id, batch.Succeeded)
}

func expiry(t *testing.T, open func() Store) {
	s := open()
	past := time.Now().Add(-time.Hour)
	id := add(t, s, &batch.Record{Expires: past, Keep: time.Hour}).ID
	none(t, s)
	if j := state(t, s, id, batch.Expired); j.Reason == "" || j.Ended.IsZero() || j.Remove.IsZero() {
		t.Errorf("%+v", j)
	}
	keeps := add(t, s, &batch.Record{Expires: time.Now().Add(time.Hour)}).ID
	must(t, s, keeps)
	paused := add(t, s, &batch.Record{Expires: time.Now().Add(50 * time.Millisecond)}).ID
	if _, err := s.Change(t.Context(), "", paused, batch.Pause); err != nil {
		t.Fatal(err)
	}
	running := add(t, s, &batch.Record{Expires: time.Now().Add(50 * time.Millisecond)}).ID
	l := claim(t, s, long)
	time.Sleep(60 * time.Millisecond)
	if l != nil && l.Job.ID == running { // not on a machine that sleeps that long
		if o, err := s.Renew(t.Context(), l, batch.Measure{}); o != batch.Expire || err != nil {
			t.Errorf("%q %v", o, err)
		}
		none(t, s)
		state(t, s, running, batch.Cancelling)
		finish(t, s, l, batch.Outcome{Again: true})
	}
	none(t, s)
	state(t, s, paused, batch.Expired)
	state(t, s, running, batch.Expired)
	state(t, s, keeps, batch.Running)
}

func failure(t *testing.T, open func() Store) {
	s := open()
	id := planned(t, s, 2)
	one, two := must(t, s, id), must(t, s, id)
	finish(t, s, one, batch.Outcome{Err: "there is no\x00 column \xff'age'"})
	if j := state(t, s, id, batch.Failed); j.Reason != "there is no? column ?'age'" || j.Ended.IsZero() {
		t.Errorf("%+v", j)
	}
	if _, err := s.Renew(t.Context(), two, batch.Measure{}); !errors.Is(err, batch.ErrLost) {
		t.Errorf("the other worker: %v", err)
	}
	none(t, s)
}

// patience: what fails again and again without a row more ends; what gets on does not.
func patience(t *testing.T, open func() Store) {
	s := open()
	id := planned(t, s, 1)
	for i := range 2 * batch.Patience {
		l := claim(t, s, gone) // its worker is killed
		if l == nil {
			t.Fatalf("no piece after %d workers that got on", i)
		}
		if _, err := s.Renew(t.Context(), &batch.Lease{Job: l.Job, Piece: l.Piece, Worker: l.Worker, Fence: l.Fence, For: gone}, batch.Measure{Rows: int64(i + 1), Done: -1}); err != nil {
			t.Fatal(err)
		}
	}
	n := 0
	for claim(t, s, gone) != nil {
		if n++; n > 2*batch.Patience {
			t.Fatal("it is tried for ever")
		}
	}
	if j := state(t, s, id, batch.Failed); !strings.Contains(j.Reason, fmt.Sprint(batch.Patience)) {
		t.Errorf("%s", j.Reason)
	}
	id = planned(t, s, 1)
	for n = 0; ; n++ {
		l := claim(t, s, long)
		if l == nil {
			break
		}
		finish(t, s, l, batch.Outcome{Again: true, Err: "no route to the bucket"})
	}
	if j := state(t, s, id, batch.Failed); n != batch.Patience || !strings.Contains(j.Reason, "no route to the bucket") {
		t.Errorf("%d tries: %s", n, j.Reason)
	}
	id = planned(t, s, 1)
	for range 2 * batch.Patience { // orders and drains are nobody's fault
		finish(t, s, must(t, s, id), batch.Outcome{Again: true})
	}
	must(t, s, id)
}

func retention(t *testing.T, open func() Store) {
	s := open()
	short, stays := add(t, s, &batch.Record{Keep: time.Microsecond}).ID, add(t, s, &batch.Record{}).ID
	for _, id := range []string{short, stays} {
		if _, err := s.Change(t.Context(), "", id, batch.Cancel); err != nil {
			t.Fatal(err)
		}
	}
	long := add(t, s, &batch.Record{Keep: time.Hour}).ID
	if _, err := s.Change(t.Context(), "", long, batch.Cancel); err != nil {
		t.Fatal(err)
	}
	list, err := s.Jobs(t.Context(), batch.Filter{Removable: true})
	if err != nil || len(list) != 1 || list[0].ID != short {
		t.Errorf("%v %v", list, err)
	}
}

func logs(t *testing.T, open func() Store) {
	s := open()
	id := planned(t, s, 1)
	l := must(t, s, id)
	for i := range 5 {
		if err := s.Log(t.Context(), l, fmt.Sprint("line ", i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Log(t.Context(), l, "bad \xff\x00"+strings.Repeat("x", 1<<20)); err != nil {
		t.Fatal(err)
	}
	all, err := s.Lines(t.Context(), "a", id, 0)
	if err != nil || len(all) != 6 || all[0].Text != "line 0" || all[0].Worker != "w" || all[0].Time.IsZero() || len(all[5].Text) > 5000 {
		t.Fatalf("%d lines, %v", len(all), err)
	}
	rest, err := s.Lines(t.Context(), "a", id, all[3].Seq)
	if err != nil || len(rest) != 2 || rest[0].Text != "line 4" {
		t.Errorf("%v %v", rest, err)
	}
	_, err = s.Lines(t.Context(), "b", id, 0)
	is(t, err, serval.NotFound)
}

// crowd: many workers with connections of their own share the jobs; each piece is done once.
func crowd(t *testing.T, open func() Store) {
	s := open()
	const jobs, pieces, workers = 3, 12, 6
	var ids []string
	for range jobs {
		ids = append(ids, add(t, s, &batch.Record{}).ID)
	}
	var mu sync.Mutex
	done := map[string]int{}
	var all sync.WaitGroup
	for w := range workers {
		own := s
		if w%2 == 0 {
			own = open()
		}
		all.Go(func() {
			if err := labour(t.Context(), own, fmt.Sprint("w", w), pieces, ids, func(what string) {
				mu.Lock()
				done[what]++
				mu.Unlock()
			}); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	for what, n := range done {
		if n != 1 {
			t.Errorf("%s was done %d times", what, n)
		}
	}
	if want := jobs * (pieces + 2); len(done) != want {
		t.Errorf("%d pieces were done, want %d", len(done), want)
	}
	for _, id := range ids {
		if j := state(t, s, id, batch.Succeeded); j.Tally.Finished != pieces || j.Tally.Rows != pieces {
			t.Errorf("%+v", j.Tally)
		}
	}
}

// labour works until all jobs have ended.
func labour(ctx context.Context, s Store, name string, pieces int, jobs []string, did func(string)) error {
	for {
		l, err := s.Claim(ctx, name, kinds, long)
		if err != nil {
			return err
		}
		if l == nil {
			open, err := s.Jobs(ctx, batch.Filter{States: []batch.State{batch.Queued, batch.Running}})
			if err != nil || len(open) == 0 {
				return err
			}
			continue
		}
		if _, err := s.Renew(ctx, l, batch.Measure{Done: -1}); err != nil {
			return err
		}
		out := batch.Outcome{}
		switch l.Piece.Stage {
		case batch.Plan:
			out.Next = make([]batch.Piece, pieces)
		case batch.Work:
			out.Measure.Rows = 1
		}
		if err := s.Finish(ctx, l, out); err != nil {
			return err
		}
		did(fmt.Sprint(l.Job.ID, " ", l.Piece.Number))
	}
}
