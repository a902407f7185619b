package storetest

import (
	"testing"

	"serval"
	"serval/batch"
	"serval/protocol"
)

// texts: what clients may send and no database takes is refused alike, with the name of its field.
func texts(t *testing.T, open func() Store) {
	s := open()
	defer s.Close()
	ctx := t.Context()
	for _, bad := range []string{"a\x00b", "\x00", "a\xff"} {
		for field, call := range map[string]func() error{
			"file_id": func() error { _, err := s.File(ctx, "a", bad); return err },
			"purpose": func() error {
				_, err := s.Files(ctx, protocol.FileFilter{Tenant: "a", Purpose: bad, Limit: 1})
				return err
			},
			"after": func() error {
				_, err := s.Files(ctx, protocol.FileFilter{Tenant: "a", After: bad, Limit: 1})
				return err
			},
			"file_id ": func() error { return s.RemoveFile(ctx, "a", bad) },
			"batch_id": func() error { _, err := s.Batch(ctx, "a", bad); return err },
			"after ": func() error {
				_, err := s.Batches(ctx, protocol.BatchFilter{Tenant: "a", After: bad, Limit: 1})
				return err
			},
			"idempotency_key": func() error { return submitText(t, s, bad) },
			"job":             func() error { _, err := s.Job(ctx, "a", bad); return err },
			"job ":            func() error { _, err := s.Change(ctx, "a", bad, batch.Cancel); return err },
			"job  ":           func() error { return s.Delete(ctx, "a", bad) },
			"job   ":          func() error { _, err := s.Lines(ctx, "a", bad, 0); return err },
			"before":          func() error { _, err := s.Jobs(ctx, batch.Filter{Before: bad}); return err },
			"id":              func() error { _, err := s.Submit(ctx, &batch.Record{ID: bad, Tenant: "a"}); return err },
			"name":            func() error { _, err := s.Submit(ctx, &batch.Record{Name: bad, Tenant: "a"}); return err },
			"key":             func() error { _, err := s.Submit(ctx, &batch.Record{Key: bad, Tenant: "a"}); return err },
			"response_id":     func() error { _, err := s.Response(ctx, "a", bad); return err },
			"response_id ":    func() error { return s.DeleteResponse(ctx, "a", bad) },
			"schedule":        func() error { _, err := s.(batch.Schedules).Schedule(ctx, "a", bad); return err },
			"schedule ":       func() error { return s.(batch.Schedules).DeleteSchedule(ctx, "a", bad) },
			"name ": func() error {
				return s.(batch.Schedules).AddSchedule(ctx, &batch.Schedule{ID: "s", Tenant: "a", Name: bad})
			},
		} {
			for field[len(field)-1] == ' ' {
				field = field[:len(field)-1]
			}
			if e := serval.AsError(call()); e == nil || e.Code != serval.InvalidArgument || e.Param != field {
				t.Errorf("%s %q: %v", field, bad, e)
			}
		}
	}
}

func submitText(t *testing.T, s Store, key string) error {
	_, err := s.AddBatch(t.Context(), &protocol.Batch{Tenant: "a"}, &batch.Record{ID: "batch_t", Tenant: "a", Key: key}, 0)
	return err
}
