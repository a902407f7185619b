package storetest

import (
	"encoding/json"
	"fmt"
	"reflect"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"serval"
	"serval/batch"
	"serval/protocol"
)

func put(t *testing.T, s Store, f *protocol.File) *protocol.File {
	t.Helper()
	if err := s.PutFile(t.Context(), f); err != nil {
		t.Fatal(err)
	}
	return f
}

func fileIDs(list []*protocol.File) (ids []string) {
	for _, f := range list {
		ids = append(ids, f.ID)
	}
	return ids
}

// files: a tenant's own, in pages of any order, until they expire or are removed.
func files(t *testing.T, open func() Store) {
	s := open()
	ctx := t.Context()
	begin := time.Now().Add(-time.Hour).Truncate(time.Microsecond)
	for i := range 5 {
		f := put(t, s, &protocol.File{ID: fmt.Sprint("f", i), Tenant: "a", Purpose: []string{"batch", "user_data"}[i%2], Name: "a \x00name ü", Size: int64(10 * i), Created: begin.Add(time.Duration(i/2) * time.Second)})
		if got, err := s.File(ctx, "a", f.ID); err != nil || got.Size != f.Size || !got.Created.Equal(f.Created) || !got.Expires.IsZero() || got.Name != "a ?name ü" {
			t.Errorf("%+v %v", got, err)
		}
	}
	put(t, s, &protocol.File{ID: "other", Tenant: "b", Size: 7})
	put(t, s, &protocol.File{ID: "old", Tenant: "a", Expires: time.Now().Add(-time.Second), Size: 1})
	later := put(t, s, &protocol.File{ID: "later", Tenant: "c", Expires: time.Now().Add(time.Hour).Truncate(time.Microsecond)})
	if got, err := s.File(ctx, "", "later"); err != nil || !got.Expires.Equal(later.Expires) || got.Created.IsZero() {
		t.Errorf("%+v %v", got, err)
	}
	for _, c := range []struct {
		f    protocol.FileFilter
		want []string
	}{
		{protocol.FileFilter{}, []string{"f4", "f3", "f2", "f1", "f0"}},
		{protocol.FileFilter{Ascending: true}, []string{"f0", "f1", "f2", "f3", "f4"}},
		{protocol.FileFilter{After: "f3", Limit: 2}, []string{"f2", "f1"}},
		{protocol.FileFilter{After: "f1", Ascending: true}, []string{"f2", "f3", "f4"}},
		{protocol.FileFilter{Purpose: "batch", Limit: 2}, []string{"f4", "f2"}},
		{protocol.FileFilter{After: "f0"}, nil},
	} {
		c.f.Tenant = "a"
		if c.f.Limit == 0 {
			c.f.Limit = 100
		}
		list, err := s.Files(ctx, c.f)
		if err != nil || !reflect.DeepEqual(fileIDs(list), c.want) {
			t.Errorf("%+v: %v %v, want %v", c.f, fileIDs(list), err, c.want)
		}
	}
	_, err := s.Files(ctx, protocol.FileFilter{Tenant: "a", After: "other", Limit: 9})
	is(t, err, serval.NotFound)
	for tenant, id := range map[string]string{"b": "f1", "a": "old", "": "none"} {
		_, err := s.File(ctx, tenant, id)
		is(t, err, serval.NotFound)
	}
	is(t, s.RemoveFile(ctx, "b", "f1"), serval.NotFound)
	if n, err := s.FileBytes(ctx, "a"); err != nil || n != 101 {
		t.Errorf("%d bytes %v", n, err)
	}
	if n, err := s.FileBytes(ctx, "nobody"); err != nil || n != 0 {
		t.Errorf("%d bytes %v", n, err)
	}
	if list, err := s.ExpiredFiles(ctx); err != nil || !reflect.DeepEqual(fileIDs(list), []string{"old"}) {
		t.Errorf("%v %v", fileIDs(list), err)
	}
	if err := s.RemoveFile(ctx, "a", "f1"); err != nil {
		t.Error(err)
	}
	is(t, s.RemoveFile(ctx, "a", "f1"), serval.NotFound)
	_ = s.Close()
	if got, err := open().File(ctx, "a", "f2"); err != nil || got.Size != 20 {
		t.Errorf("after another start: %+v %v", got, err)
	}
}

func submitBatch(t *testing.T, s Store, id, tenant, key, spec string) (*protocol.Batch, bool) {
	t.Helper()
	b := &protocol.Batch{Tenant: tenant, Endpoint: "/v1/embeddings", Status: protocol.Validating, Metadata: map[string]string{"a": "b"}}
	r := &batch.Record{ID: id, Tenant: tenant, Kind: "data", Key: key, Spec: json.RawMessage(spec)}
	added, err := s.AddBatch(t.Context(), b, r, 0)
	if err != nil {
		t.Fatal(err)
	}
	if !added {
		b.ID = r.ID
	}
	return b, added
}

// batches: one and its job are there together, change by one hand at a time, and end once.
func batches(t *testing.T, open func() Store) {
	s := open()
	ctx := t.Context()
	one, added := submitBatch(t, s, "batch_1", "a", "k", `{"i":1}`)
	if !added || one.ID != "batch_1" || one.Created.IsZero() {
		t.Fatalf("%+v %v", one, added)
	}
	if state(t, s, "batch_1", batch.Queued).Kind != "data" {
		t.Error("its job is another one")
	}
	if again, added := submitBatch(t, s, "batch_1b", "a", "k", `{"i":1}`); added || again.ID != "batch_1" {
		t.Errorf("the same key: %+v %v", again, added)
	}
	_, err := s.AddBatch(ctx, &protocol.Batch{Tenant: "a"}, &batch.Record{ID: "batch_1c", Tenant: "a", Key: "k", Spec: json.RawMessage(`{"i":2}`)}, 0)
	is(t, err, serval.Conflict)
	_, err = s.Batch(ctx, "", "batch_1c")
	is(t, err, serval.NotFound)
	submitBatch(t, s, "batch_2", "a", "", `{}`)
	submitBatch(t, s, "batch_3", "b", "", `{}`)
	submitBatch(t, s, "batch_4", "a", "", `{}`)
	list, err := s.Batches(ctx, protocol.BatchFilter{Tenant: "a", Limit: 2})
	if err != nil || len(list) != 2 || list[0].ID != "batch_4" || list[1].ID != "batch_2" {
		t.Errorf("%+v %v", list, err)
	}
	if list, err = s.Batches(ctx, protocol.BatchFilter{Tenant: "a", After: "batch_2", Limit: 2}); err != nil || len(list) != 1 || list[0].ID != "batch_1" {
		t.Errorf("%+v %v", list, err)
	}
	_, err = s.Batches(ctx, protocol.BatchFilter{Tenant: "a", After: "batch_3", Limit: 2})
	is(t, err, serval.NotFound)
	_, err = s.Batch(ctx, "a", "batch_3")
	is(t, err, serval.NotFound)

	got, err := s.Batch(ctx, "a", "batch_1")
	if err != nil || got.Metadata["a"] != "b" || got.Revision != 1 {
		t.Fatalf("%+v %v", got, err)
	}
	stale := *got
	got.Total = 7
	if ok, err := s.ChangeBatch(ctx, got); err != nil || !ok || got.Revision != 2 {
		t.Errorf("%v %v", ok, err)
	}
	if ok, err := s.ChangeBatch(ctx, &stale); err != nil || ok {
		t.Errorf("what was read before a change was stored after it: %v %v", ok, err)
	}
	if list, err := s.UnsettledBatches(ctx); err != nil || len(list) != 0 {
		t.Errorf("%v %v", list, err)
	}
	for _, id := range []string{"batch_1", "batch_2"} {
		if _, err := s.Change(ctx, "", id, batch.Cancel); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Delete(ctx, "", "batch_2"); err != nil {
		t.Fatal(err)
	}
	if list, err = s.UnsettledBatches(ctx); err != nil || len(list) != 2 || list[0].ID != "batch_1" || list[1].ID != "batch_2" || list[0].Total != 7 {
		t.Errorf("%v %v", list, err)
	}
	var won atomic.Int64
	var all sync.WaitGroup
	for i := range 4 { // several servers find it
		all.Go(func() {
			b := *got
			b.Status, b.Output = protocol.Cancelled, fmt.Sprint("out", i)
			ok, err := s.EndBatch(ctx, &b, []*protocol.File{{ID: b.Output, Tenant: "a", Purpose: "batch_output", Size: 5}},
				[]*protocol.Event{{ID: fmt.Sprint("evt", i), Hook: "h", Tenant: "a", Type: "batch.cancelled", Subject: b.ID}, {ID: fmt.Sprint("evt", i), Hook: "g", Tenant: "a", Type: "batch.cancelled", Subject: b.ID}})
			if err != nil {
				t.Error(err)
			}
			if ok {
				won.Add(1)
			}
		})
	}
	all.Wait()
	end, err := s.Batch(ctx, "a", "batch_1")
	if err != nil || won.Load() != 1 || end.Status != protocol.Cancelled {
		t.Fatalf("%d ended it: %+v %v", won.Load(), end, err)
	}
	if n, err := s.FileBytes(ctx, "a"); err != nil || n != 5 {
		t.Errorf("%d bytes of files %v", n, err)
	}
	if _, err := s.File(ctx, "a", end.Output); err != nil {
		t.Error(err)
	}
	if ok, err := s.ChangeBatch(ctx, end); err != nil || ok {
		t.Errorf("one that has ended was changed: %v %v", ok, err)
	}
	events(t, s)
	if ids, err := s.ForgetBatches(ctx, time.Hour); err != nil || len(ids) != 0 {
		t.Errorf("%v %v", ids, err)
	}
	if ids, err := s.ForgetBatches(ctx, -time.Hour); err != nil || !reflect.DeepEqual(ids, []string{"batch_1"}) {
		t.Errorf("%v %v", ids, err)
	}
	_ = s.Close()
	s = open()
	_, err = s.Batch(ctx, "a", "batch_1")
	is(t, err, serval.NotFound)
	if _, err := s.Batch(ctx, "a", "batch_4"); err != nil {
		t.Error(err)
	}
}

// events are delivered by one at a time, again later, and forgotten.
func events(t *testing.T, s Store) {
	t.Helper()
	ctx := t.Context()
	claim := func(lease time.Duration) []*protocol.Event {
		t.Helper()
		list, err := s.ClaimEvents(ctx, lease)
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	list := claim(gone) // whoever took them was killed
	if len(list) != 2 || list[0].Attempts != 1 || list[0].Type != "batch.cancelled" || list[0].Subject != "batch_1" || list[0].Tenant != "a" || time.Since(list[0].Created) > time.Minute {
		t.Fatalf("%+v", list)
	}
	if list = claim(long); len(list) != 2 || list[1].Attempts != 2 || list[0].ID != list[1].ID || list[0].Hook == list[1].Hook {
		t.Fatalf("%+v", list)
	}
	if more := claim(long); len(more) != 0 {
		t.Errorf("%+v is claimed twice", more)
	}
	if err := s.DelayEvent(ctx, list[0], -time.Second); err != nil {
		t.Error(err)
	}
	if err := s.EndEvent(ctx, list[1]); err != nil {
		t.Error(err)
	}
	if list = claim(long); len(list) != 1 || list[0].Attempts != 3 {
		t.Errorf("%+v", list)
	}
	if err := s.EndEvent(ctx, list[0]); err != nil {
		t.Error(err)
	}
	if list = claim(long); len(list) != 0 {
		t.Errorf("%+v", list)
	}
}
