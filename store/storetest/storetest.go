package storetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"serval"
	"serval/batch"
	"serval/batch/requests"
	"serval/protocol"
)

// Store is what is tested.
type Store interface {
	batch.Jobs
	batch.Leases
	protocol.Responses
	requests.Store
	Close() error
}

// Run runs the suite. open opens the same data each time within one test, and new data in another.
func Run(t *testing.T, open func(t *testing.T) func() Store) {
	for name, test := range map[string]func(*testing.T, func() Store){
		"responses": responses, "submit": submit, "life": life, "lists": lists, "fence": fence, "order": order, "pause": pause,
		"cancel": cancel, "expiry": expiry, "failure": failure, "patience": patience, "retention": retention, "log": logs, "crowd": crowd, "schedules": schedules,
		"files": files, "batches": batches, "texts": texts,
	} {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
}

// long and gone are leases that hold for the whole test, and that have ended when they begin.
const (
	long = time.Hour
	gone = -time.Second
)

var kinds = []string{"data"}

func is(t *testing.T, err error, code serval.Code) {
	t.Helper()
	var e *serval.Error
	if !errors.As(err, &e) || e.Code != code {
		t.Errorf("%v, want %v", err, code)
	}
}

func add(t *testing.T, s Store, r *batch.Record) *batch.Record {
	t.Helper()
	if r.Tenant == "" {
		r.Tenant = "a"
	}
	if r.Kind == "" {
		r.Kind = "data"
	}
	if r.Spec == nil {
		r.Spec = json.RawMessage(`{"model":"m"}`)
	}
	if added, err := s.Submit(t.Context(), r); err != nil || !added {
		t.Fatal(added, err)
	}
	return r
}

func claim(t *testing.T, s Store, lease time.Duration) *batch.Lease {
	t.Helper()
	l, err := s.Claim(t.Context(), "w", kinds, lease)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// must claims a piece of that job.
func must(t *testing.T, s Store, job string) *batch.Lease {
	t.Helper()
	l := claim(t, s, long)
	if l == nil || l.Job.ID != job {
		t.Fatalf("claimed %+v, want a piece of %s", l, job)
	}
	return l
}

func none(t *testing.T, s Store) {
	t.Helper()
	if l := claim(t, s, long); l != nil {
		t.Fatalf("there is nothing to do, and %s piece %d was claimed", l.Job.ID, l.Piece.Number)
	}
}

func finish(t *testing.T, s Store, l *batch.Lease, o batch.Outcome) {
	t.Helper()
	if err := s.Finish(t.Context(), l, o); err != nil {
		t.Fatal(err)
	}
}

func state(t *testing.T, s Store, id string, want batch.State) *batch.Record {
	t.Helper()
	j, err := s.Job(t.Context(), "", id)
	if err != nil {
		t.Fatal(err)
	}
	if j.State != want {
		t.Fatalf("%s is %s (%s), want %s", id, j.State, j.Reason, want)
	}
	return j
}

// planned is a job whose plan is done, with that many pieces of work.
func planned(t *testing.T, s Store, pieces int) string {
	t.Helper()
	r := add(t, s, &batch.Record{})
	next := make([]batch.Piece, pieces)
	for i := range next {
		next[i] = batch.Piece{Spec: fmt.Appendf(nil, `{"n":%d}`, i), Weight: 1}
	}
	finish(t, s, must(t, s, r.ID), batch.Outcome{Next: next})
	return r.ID
}

func responses(t *testing.T, open func() Store) {
	const keep = 30 * 24 * 60 * 60
	s := open()
	ctx := t.Context()
	put := func(tenant, id string, created int64, open bool, body string) {
		t.Helper()
		if err := s.PutResponse(ctx, &protocol.Response{Tenant: tenant, ID: id, Created: created, Open: open, Body: []byte(body), Request: []byte(`{"q":1}`)}); err != nil {
			t.Fatal(err)
		}
	}
	put("a", "old", 7, false, "old")
	put("a", "r1", 7, true, "one")
	change := func(id string, open bool, body string) bool {
		t.Helper()
		ok, err := s.UpdateResponse(ctx, &protocol.Response{Tenant: "a", ID: id, Open: open, Body: []byte(body)})
		if err != nil {
			t.Fatal(err)
		}
		return ok
	}
	if !change("r1", true, "begun") || !change("r1", false, "two") || change("r1", false, "three") || change("none", false, "x") {
		t.Error("only what is open can be changed")
	}
	put("a", "r2", 7, true, "open")
	put("b", "r1", 7, false, "other")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open() // as after a restart
	r, err := s.Response(ctx, "a", "r1")
	if err != nil || string(r.Body) != "two" || r.Open || string(r.Request) != `{"q":1}` || r.Created != 7 {
		t.Errorf("%+v %v", r, err)
	}
	put("a", "new", 7+keep+1, true, "x")
	_, err = s.Response(ctx, "a", "old")
	is(t, err, serval.NotFound)
	if err := s.DeleteResponse(ctx, "a", "new"); err != nil {
		t.Error(err)
	}
	list, err := s.OpenResponses(ctx)
	if err != nil || len(list) != 1 || list[0].ID != "r2" || list[0].Tenant != "a" || !list[0].Open {
		t.Errorf("open: %v %v", list, err)
	}
	_, err = s.Response(ctx, "b", "r2")
	is(t, err, serval.NotFound)
	is(t, s.DeleteResponse(ctx, "b", "r1"), serval.NotFound) // it went as too old
	if err := s.DeleteResponse(ctx, "a", "r2"); err != nil {
		t.Error(err)
	}
	if list, err := s.OpenResponses(ctx); err != nil || len(list) != 0 {
		t.Errorf("open: %v %v", list, err)
	}
}

func submit(t *testing.T, open func() Store) {
	s := open()
	ctx := context.Background()
	expires := time.Now().Add(time.Hour).UTC().Truncate(time.Microsecond)
	r := add(t, s, &batch.Record{Name: "nightly", Priority: 3, Key: "k", Expires: expires, Keep: 2 * time.Hour})
	if r.ID == "" || r.Created.IsZero() || r.State != batch.Queued {
		t.Errorf("%+v", r)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open()
	got, err := s.Job(ctx, "a", r.ID)
	if err != nil || got.Name != "nightly" || got.Priority != 3 || got.Key != "k" || !got.Expires.Equal(expires) || got.Keep != 2*time.Hour || string(got.Spec) != `{"model":"m"}` ||
		!got.Created.Equal(r.Created) || !got.Started.IsZero() || !got.Ended.IsZero() || got.Result != nil {
		t.Errorf("%+v %v", got, err)
	}
	again := &batch.Record{Tenant: "a", Kind: "data", Key: "k", Spec: got.Spec}
	if added, err := s.Submit(ctx, again); added || err != nil || again.ID != r.ID || again.Name != "nightly" {
		t.Errorf("the same key: %v %v %+v", added, err, again)
	}
	_, err = s.Submit(ctx, &batch.Record{Tenant: "a", Kind: "data", Key: "k", Spec: json.RawMessage(`{"model":"n"}`)})
	is(t, err, serval.Conflict)
	other := add(t, s, &batch.Record{Tenant: "b", Key: "k"})
	if other.ID == r.ID {
		t.Error("another tenant's key is another one")
	}
	_, err = s.Submit(ctx, &batch.Record{ID: r.ID, Tenant: "a", Kind: "data", Spec: got.Spec})
	is(t, err, serval.Conflict)
	_, err = s.Job(ctx, "b", r.ID)
	is(t, err, serval.NotFound)
	_, err = s.Change(ctx, "b", r.ID, batch.Cancel)
	is(t, err, serval.NotFound)
	is(t, s.Delete(ctx, "b", r.ID), serval.NotFound)
	is(t, s.Delete(ctx, "a", r.ID), serval.Conflict) // it has not ended
	if _, err := s.Change(ctx, "a", r.ID, batch.Cancel); err != nil {
		t.Fatal(err)
	}
	if err := s.Delete(ctx, "a", r.ID); err != nil {
		t.Fatal(err)
	}
	late := &batch.Record{Tenant: "a", Kind: "data", Key: "k", Spec: got.Spec}
	if added, err := s.Submit(ctx, late); added || err != nil || late.ID != r.ID {
		t.Errorf("the key of a job that is deleted: %v %v %+v", added, err, late)
	}
}

func life(t *testing.T, open func() Store) {
	s := open()
	r := add(t, s, &batch.Record{Keep: time.Hour})
	l := must(t, s, r.ID)
	if l.Piece.Stage != batch.Plan || l.Piece.Attempts != 1 || l.Job.State != batch.Running || string(l.Piece.Spec) != string(r.Spec) {
		t.Errorf("%+v", l)
	}
	none(t, s)
	finish(t, s, l, batch.Outcome{Next: []batch.Piece{{Spec: []byte(`1`), Weight: 1}, {Spec: []byte(`2`), Weight: 3}}, Output: []byte(`"plan"`)})
	one, two := must(t, s, r.ID), must(t, s, r.ID)
	if one.Piece.Stage != batch.Work || string(one.Piece.Spec) != "1" || string(two.Piece.Spec) != "2" {
		t.Errorf("%+v %+v", one.Piece, two.Piece)
	}
	none(t, s)
	if o, err := s.Renew(t.Context(), two, batch.Measure{Rows: 30, Bad: 2, Done: 0.5, Rate: 10}); o != batch.GoOn || err != nil {
		t.Errorf("%q %v", o, err)
	}
	j := state(t, s, r.ID, batch.Running)
	if want := (batch.Tally{Rows: 30, Bad: 2, Done: 0.375, Rate: 10, Pieces: 2, Attempts: 3}); j.Tally != want {
		t.Errorf("%+v, want %+v", j.Tally, want)
	}
	if left := j.Tally.Left(); left != 5*time.Second {
		t.Errorf("left: %v", left)
	}
	finish(t, s, two, batch.Outcome{Measure: batch.Measure{Rows: 60, Bad: 2}, Output: []byte(`"second"`)})
	none(t, s)
	finish(t, s, one, batch.Outcome{Measure: batch.Measure{Rows: 20}, Output: []byte(`"first"`)})
	last := must(t, s, r.ID)
	if last.Piece.Stage != batch.Close {
		t.Errorf("%+v", last.Piece)
	}
	pieces, err := s.Pieces(t.Context(), r.ID, batch.Work)
	if err != nil || len(pieces) != 2 || string(pieces[0].Output) != `"first"` || string(pieces[1].Output) != `"second"` || pieces[1].Weight != 3 {
		t.Errorf("%+v %v", pieces, err)
	}
	finish(t, s, last, batch.Outcome{Output: []byte(`{"rows":80}`)})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open()
	j = state(t, s, r.ID, batch.Succeeded)
	if string(j.Result) != `{"rows":80}` || j.Tally.Rows != 80 || j.Tally.Done != 1 || j.Tally.Finished != 2 || j.Ended.IsZero() || !j.Remove.Equal(j.Ended.Add(time.Hour)) {
		t.Errorf("%+v", j)
	}
	none(t, s)
	_, err = s.Change(t.Context(), "", r.ID, batch.Cancel)
	is(t, err, serval.Conflict)
	empty := add(t, s, &batch.Record{})
	finish(t, s, must(t, s, empty.ID), batch.Outcome{}) // nothing to do
	if l := must(t, s, empty.ID); l.Piece.Stage != batch.Close {
		t.Errorf("%+v", l.Piece)
	}
}

func lists(t *testing.T, open func() Store) {
	s := open()
	var ids []string
	for i := range 5 {
		ids = append(ids, add(t, s, &batch.Record{Tenant: string(rune('a' + i%2))}).ID)
	}
	if _, err := s.Change(t.Context(), "", ids[2], batch.Cancel); err != nil {
		t.Fatal(err)
	}
	get := func(f batch.Filter) (out []string) {
		t.Helper()
		list, err := s.Jobs(t.Context(), f)
		if err != nil {
			t.Fatal(err)
		}
		for _, j := range list {
			out = append(out, j.ID)
		}
		return out
	}
	same := func(got []string, want ...int) {
		t.Helper()
		var named []string
		for _, i := range want {
			named = append(named, ids[i])
		}
		if fmt.Sprint(got) != fmt.Sprint(named) {
			t.Errorf("%v, want %v", got, named)
		}
	}
	same(get(batch.Filter{}), 4, 3, 2, 1, 0)
	same(get(batch.Filter{Tenant: "b"}), 3, 1)
	same(get(batch.Filter{States: []batch.State{batch.Cancelled}}), 2)
	same(get(batch.Filter{States: []batch.State{batch.Queued, batch.Running}, Tenant: "a"}), 4, 0)
	same(get(batch.Filter{Limit: 2}), 4, 3)
	same(get(batch.Filter{Limit: 2, Before: ids[3]}), 2, 1)
	_, err := s.Jobs(t.Context(), batch.Filter{Tenant: "a", Before: ids[3]})
	is(t, err, serval.NotFound)
	low, high := add(t, s, &batch.Record{Priority: 9, Kind: "other"}), add(t, s, &batch.Record{Priority: -1})
	must(t, s, high.ID)
	for _, i := range []int{0, 1, 3, 4} {
		must(t, s, ids[i])
	}
	none(t, s) // another kind is another worker's
	if l, err := s.Claim(t.Context(), "w", []string{"data", "other"}, long); err != nil || l == nil || l.Job.ID != low.ID {
		t.Errorf("%+v %v", l, err)
	}
}

// Submitted adds a job and returns its id.
func Submitted(t *testing.T, s Store) string {
	t.Helper()
	return add(t, s, &batch.Record{}).ID
}
