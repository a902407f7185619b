package storetest

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"serval"
	"serval/batch"
)

// schedules: names are a tenant's own, one process of several moves a schedule on, and keys are used once.
func schedules(t *testing.T, open func() Store) {
	s := open()
	defer s.Close()
	c, ok := s.(batch.Schedules)
	if !ok {
		t.Fatal("the store keeps no schedules")
	}
	ctx := t.Context()
	due := time.Date(2026, 11, 28, 1, 30, 0, 0, time.UTC)
	one := &batch.Schedule{ID: "sch_1", Tenant: "a", Name: "nightly", Plan: json.RawMessage(`{"cron":"30 1 * * *"}`), Due: due}
	if err := c.AddSchedule(ctx, one); err != nil || one.Created.IsZero() {
		t.Fatal(err)
	}
	is(t, c.AddSchedule(ctx, &batch.Schedule{ID: "sch_2", Tenant: "a", Name: "nightly", Plan: one.Plan}), serval.Conflict)
	for _, other := range []*batch.Schedule{{ID: "sch_3", Tenant: "b", Name: "nightly", Plan: one.Plan, Origin: "config"}, {ID: "sch_4", Tenant: "a", Name: "arrivals", Plan: one.Plan}} {
		if err := c.AddSchedule(ctx, other); err != nil {
			t.Fatal(err)
		}
	}
	names := func(tenant string) (out string) {
		list, err := c.Schedules(ctx, tenant)
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range list {
			out += l.Tenant + "/" + l.Name + " "
		}
		return out
	}
	if all, own := names(""), names("a"); all != "a/arrivals a/nightly b/nightly " || own != "a/arrivals a/nightly " {
		t.Errorf("%q, of one %q", all, own)
	}
	got, err := c.Schedule(ctx, "a", "nightly")
	if err != nil || got.ID != "sch_1" || !got.Due.Equal(due) || string(got.Plan) != string(one.Plan) || !got.Last.IsZero() {
		t.Errorf("%+v %v", got, err)
	}
	_, err = c.Schedule(ctx, "", "nightly") // a's or b's?
	is(t, err, serval.Conflict)
	if e := serval.AsError(err); !strings.Contains(e.Message, "sch_1 of 'a'") || !strings.Contains(e.Message, "sch_3 of 'b'") {
		t.Error(e)
	}
	is(t, c.DeleteSchedule(ctx, "", "nightly"), serval.Conflict)
	for id, want := range map[string]string{"sch_3": "b", "arrivals": "a"} {
		if got, err := c.Schedule(ctx, "", id); err != nil || got.Tenant != want {
			t.Errorf("%s: %+v %v", id, got, err)
		}
	}
	_, err = c.Schedule(ctx, "b", "sch_1")
	is(t, err, serval.NotFound)
	fired(t, ctx, c, got, due)
	other := *got
	other.Plan, other.Due = json.RawMessage(`{"cron":"@daily"}`), time.Time{}
	if err := c.UpdateSchedule(ctx, &other); err != nil {
		t.Fatal(err)
	}
	if now, err := c.Schedule(ctx, "a", "sch_1"); err != nil || string(now.Plan) != string(other.Plan) || !now.Due.IsZero() || now.Name != "nightly" || now.LastJob != "job_1" {
		t.Errorf("%+v %v", now, err)
	}
	is(t, c.UpdateSchedule(ctx, &batch.Schedule{ID: "sch_none", Plan: other.Plan}), serval.NotFound)
	used, err := c.UsedKeys(ctx, "a", []string{"x", "y", "z"})
	if err != nil || len(used) != 0 {
		t.Errorf("%v %v", used, err)
	}
	add(t, s, &batch.Record{Tenant: "a", Key: "x"})
	if err := c.UseKeys(ctx, "a", []string{"x", "z"}); err != nil {
		t.Fatal(err)
	}
	many := make([]string, 1203) // more than one statement takes
	for i := range many {
		many[i] = fmt.Sprint("object ", i)
	}
	for range 2 {
		if err := c.UseKeys(ctx, "a", many); err != nil {
			t.Fatal(err)
		}
	}
	if used, err = c.UsedKeys(ctx, "a", many); err != nil || len(used) != len(many) {
		t.Errorf("%d of %d keys, %v", len(used), len(many), err)
	}
	used, err = c.UsedKeys(ctx, "a", []string{"x", "y", "z"})
	if err != nil || len(used) != 2 || !used["x"] || !used["z"] {
		t.Errorf("%v %v", used, err)
	}
	if used, err = c.UsedKeys(ctx, "b", []string{"x"}); err != nil || len(used) != 0 {
		t.Errorf("another tenant's: %v %v", used, err)
	}
	is(t, c.DeleteSchedule(ctx, "b", "sch_1"), serval.NotFound)
	if err := c.DeleteSchedule(ctx, "a", "nightly"); err != nil {
		t.Error(err)
	}
	if left := names(""); left != "a/arrivals b/nightly " {
		t.Error(left)
	}
}

// fired: who comes second with the same time changes nothing.
func fired(t *testing.T, ctx context.Context, c batch.Schedules, s *batch.Schedule, due time.Time) {
	t.Helper()
	next := due.Add(24 * time.Hour)
	for i, job := range []string{"job_1", "job_2"} {
		if err := c.Fired(ctx, s, next.Add(time.Duration(i)*time.Hour), job, ""); err != nil {
			t.Fatal(err)
		}
	}
	got, err := c.Schedule(ctx, "", s.ID)
	if err != nil || !got.Due.Equal(next) || got.LastJob != "job_1" || got.Last.IsZero() {
		t.Errorf("%+v %v", got, err)
	}
	if err := c.Fired(ctx, got, got.Due, "", "it rains"); err != nil {
		t.Fatal(err)
	}
	if got, err = c.Schedule(ctx, "", s.ID); err != nil || got.Reason != "it rains" || got.LastJob != "job_1" || !got.Due.Equal(next) {
		t.Errorf("%+v %v", got, err)
	}
}
