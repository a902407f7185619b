package server

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"serval"
	"serval/batch"
	"serval/config"
	"serval/store/sqlite"
)

// cutOff are schedules whose process ends after so many changes.
type cutOff struct {
	plans
	left int
}

var errEnded = errors.New("the process has ended")

func (c *cutOff) may() error {
	if c.left--; c.left < 0 {
		return errEnded
	}
	return nil
}

func (c *cutOff) AddSchedule(ctx context.Context, s *batch.Schedule) error {
	if err := c.may(); err != nil {
		return err
	}
	return c.plans.AddSchedule(ctx, s)
}

func (c *cutOff) UpdateSchedule(ctx context.Context, s *batch.Schedule) error {
	if err := c.may(); err != nil {
		return err
	}
	return c.plans.UpdateSchedule(ctx, s)
}

func (c *cutOff) DeleteSchedule(ctx context.Context, tenant, id string) error {
	if err := c.may(); err != nil {
		return err
	}
	return c.plans.DeleteSchedule(ctx, tenant, id)
}

func (c *cutOff) UseKeys(ctx context.Context, tenant string, keys []string) error {
	if err := c.may(); err != nil {
		return err
	}
	return c.plans.UseKeys(ctx, tenant, keys)
}

// TestScheduleChange: whenever a server is killed that changes a schedule of its configuration, the schedule is there, with what it did
// last.
func TestScheduleChange(t *testing.T) {
	db, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "state.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	settle := func(left int, c config.Schedule) error {
		cut := &cutOff{db, left}
		s := &schedules{plans: cut, from: map[string]config.Schedule{"nightly": c}, Scheduler: batch.NewScheduler(batch.SchedulerOptions{
			Schedules: cut, Submit: db.Submit, Places: func(string) batch.Locator { return batch.Files{} }, Log: log,
		})}
		return s.settle(t.Context())
	}
	job := config.ScheduledJob{Model: "m", Input: []string{"/in.csv"}, Output: "/out-{date}.csv"}
	watched := job
	watched.Input, watched.Output = nil, "/out-{stem}.csv"
	plans := []config.Schedule{{Cron: "30 2 * * *", Job: job}, {Cron: "30 3 * * *", Job: job}, {Watch: t.TempDir(), Job: watched}, {Watch: t.TempDir(), Job: watched}, {Cron: "@hourly", Job: job}}
	if err := settle(9, plans[0]); err != nil {
		t.Fatal(err)
	}
	first, err := db.Schedule(t.Context(), "nightly", "nightly")
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Fired(t.Context(), first, first.Due, "job_1", ""); err != nil {
		t.Fatal(err)
	}
	for i, p := range plans[1:] {
		for left := 0; ; left++ {
			cut := settle(left, p)
			s, err := db.Schedule(t.Context(), "nightly", "nightly")
			if err != nil || s.LastJob != "job_1" || s.Last.IsZero() || s.ID != first.ID || s.Origin != fromConfig {
				t.Fatalf("change %d, killed after %d steps: %+v %v", i, left, s, err)
			}
			if cut == nil {
				want, err := scheduleOf("nightly", p)
				if err != nil || string(s.Plan) != string(want.Plan) || s.Due.IsZero() != (p.Watch != "") || p.Watch == "" && !s.Due.After(time.Now()) {
					t.Errorf("change %d: %+v, want %s %v", i, s, want.Plan, err)
				}
				break
			}
			if !errors.Is(cut, errEnded) || left > 3 {
				t.Fatal(cut)
			}
		}
	}
	if err := settle(9, plans[4]); err != nil {
		t.Error(err)
	}
	if _, err := db.Schedule(t.Context(), "", "nightly"); err != nil {
		t.Error(serval.AsError(err))
	}
}
