package batch_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"serval"
	"serval/batch"
	"serval/store/sqlite"
)

// store is an empty one.
func store(t *testing.T) *sqlite.DB {
	t.Helper()
	db, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "state.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func plan(t *testing.T, p batch.SchedulePlan) json.RawMessage {
	t.Helper()
	raw, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func add(t *testing.T, s *batch.Scheduler, name string, p batch.SchedulePlan) *batch.Schedule {
	t.Helper()
	c, err := batch.NewSchedule("t", name, plan(t, p))
	if err == nil {
		err = s.Add(t.Context(), c)
	}
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// outputs are those of all jobs, sorted.
func outputs(t *testing.T, db *sqlite.DB) (out []string) {
	t.Helper()
	jobs, err := db.Jobs(t.Context(), batch.Filter{Limit: 1000})
	if err != nil {
		t.Fatal(err)
	}
	for _, j := range jobs {
		var s batch.DataSpec
		if err := json.Unmarshal(j.Spec, &s); err != nil {
			t.Fatal(err)
		}
		out = append(out, filepath.Base(s.Output)+" of "+filepath.Base(s.Input[0]))
	}
	slices.Sort(out)
	return out
}

// TestScheduleTimes: two processes make each time's job once; after a downtime the last missed one is made, and no other.
func TestScheduleTimes(t *testing.T) {
	now := time.Date(2026, 11, 27, 22, 0, 0, 0, time.UTC)
	clock := func() time.Time { return now }
	db := store(t)
	process := func() *batch.Scheduler {
		return batch.NewScheduler(batch.SchedulerOptions{
			Schedules: db, Submit: db.Submit, Places: func(string) batch.Locator { return batch.Files{} }, Now: clock, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
		})
	}
	one, two := process(), process()
	c, err := batch.NewSchedule("t", "nightly", plan(t, batch.SchedulePlan{Cron: "30 2 * * *", Zone: "Europe/Berlin", Job: batch.DataSpec{Job: batch.Job{Model: "m", Input: []string{"/in.csv"}, Output: "/out-{date}-{time}.csv"}}}))
	if err != nil {
		t.Fatal(err)
	}
	c.Due = time.Date(2026, 11, 28, 1, 30, 0, 0, time.UTC)
	if err := one.Add(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	look := func() {
		t.Helper()
		for _, s := range []*batch.Scheduler{one, two, one} {
			if err := s.Look(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	for range 3 * 24 * 2 {
		look()
		now = now.Add(30 * time.Minute)
	}
	want := []string{"out-2026-11-28-20261128T023000.csv of in.csv", "out-2026-11-29-20261129T023000.csv of in.csv", "out-2026-11-30-20261130T023000.csv of in.csv"}
	if got := outputs(t, db); !slices.Equal(got, want) {
		t.Errorf("three days made %q", got)
	}
	now = now.Add(40 * 24 * time.Hour)
	look()
	if got := outputs(t, db); len(got) != 4 || got[3] != "out-2027-01-09-20270109T023000.csv of in.csv" {
		t.Errorf("after forty days: %q", got)
	}
	if s, err := db.Schedule(t.Context(), "t", "nightly"); err != nil || s.Due.Format(time.RFC3339) != "2027-01-10T01:30:00Z" || s.LastJob == "" {
		t.Errorf("%+v %v", s, err)
	}
	if j, err := two.Trigger(t.Context(), c); err != nil || j.State != batch.Queued || len(outputs(t, db)) != 5 {
		t.Errorf("made now: %+v %v", j, err)
	}
}

// TestScheduleWatch: each object's job is made once, by whichever process, when the object has settled; those that were there before
// make none, and a new content is a new object.
func TestScheduleWatch(t *testing.T) {
	dir := t.TempDir()
	put := func(name, text string, age int) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		at := time.Unix(1_800_000_000+int64(age), 0)
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
	}
	put("old.csv", "1", 0)
	now := time.Unix(1_900_000_000, 0)
	db := store(t)
	var fail atomic.Bool
	process := func() *batch.Scheduler {
		return batch.NewScheduler(batch.SchedulerOptions{
			Schedules: db, Places: func(string) batch.Locator { return batch.Files{} }, Now: func() time.Time { return now }, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
			Submit: func(ctx context.Context, r *batch.Record) (bool, error) {
				if fail.Load() {
					return false, fmt.Errorf("the store is away")
				}
				return db.Submit(ctx, r)
			},
		})
	}
	all := []*batch.Scheduler{process(), process()}
	add(t, all[0], "arrivals", batch.SchedulePlan{Watch: filepath.Join(dir, "*.csv"), Every: "1s", Settle: "10s",
		Job: batch.DataSpec{Job: batch.Job{Model: "m", Output: "/out-{stem}-{time}.csv"}}})
	wait := func(d time.Duration) {
		t.Helper()
		for range int(d / time.Second) {
			now = now.Add(time.Second)
			for _, s := range all {
				if err := s.Look(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	wait(15 * time.Second)
	if got := outputs(t, db); len(got) != 0 {
		t.Fatalf("made of what was there before: %q", got)
	}
	put("a.csv", "1", 1)
	for i := range 12 { // somebody still writes it
		wait(5 * time.Second)
		put("a.csv", strings.Repeat("1", i), 2+i)
	}
	if got := outputs(t, db); len(got) != 0 {
		t.Fatalf("made of a file that grew: %q", got)
	}
	wait(9 * time.Second)
	fail.Store(true) // a store that is away loses nothing
	wait(5 * time.Second)
	if s, err := db.Schedule(t.Context(), "t", "arrivals"); err != nil || s.Reason == "" {
		t.Errorf("no reason: %+v %v", s, err)
	}
	fail.Store(false)
	put("b.csv", "2", 50)
	put("b.txt", "2", 50)
	wait(30 * time.Second)
	all[1] = process() // a process that starts again
	wait(30 * time.Second)
	count := func(prefix string) int {
		all := outputs(t, db)
		return len(all) - len(slices.DeleteFunc(all, func(o string) bool { return strings.HasPrefix(o, prefix) }))
	}
	if got := outputs(t, db); len(got) != 2 || count("out-a-") != 1 || count("out-b-") != 1 {
		t.Errorf("made %q", got)
	}
	put("b.csv", "3", 60)
	put("old.csv", "3", 60)
	wait(30 * time.Second)
	if got := outputs(t, db); len(got) != 4 || count("out-b-") != 2 || count("out-old-") != 1 {
		t.Errorf("new contents made %q", got)
	}
	if s, err := db.Schedule(t.Context(), "t", "arrivals"); err != nil || s.Reason != "" {
		t.Errorf("the reason is still there: %+v %v", s, err)
	}
}

func TestScheduleMistakes(t *testing.T) {
	job := func(in, out string) batch.DataSpec {
		s := batch.DataSpec{Job: batch.Job{Model: "m", Output: out}}
		if in != "" {
			s.Input = []string{in}
		}
		return s
	}
	for param, p := range map[string]batch.SchedulePlan{
		"cron":        {Job: job("/in", "")},
		"cron ":       {Cron: "* * *", Job: job("/in", "")},
		"time_zone":   {Cron: "@daily", Zone: "Mars", Job: job("/in", "")},
		"input":       {Watch: "/in", Job: job("/in", "")},
		"input ":      {Cron: "@daily", Job: job("/in-{name}", "")},
		"input  ":     {Cron: "@daily", Job: job("", "")},
		"output":      {Cron: "@daily", Job: job("/in", "/out.csv")},
		"output ":     {Cron: "@daily", Job: job("/in", "/out-{day}.csv")},
		"output  ":    {Cron: "@daily", Job: job("/in", "/out-{date.csv")},
		"output   ":   {Watch: "/in", Job: job("", "/in/{stem}-out.csv")},
		"output    ":  {Watch: "s3://b/in/*.csv", Job: job("", "s3://b/in/{stem}-out.csv")},
		"output     ": {Watch: "/in/*.jsonl", Job: job("", "/in/{stem}.csv")},
		"settle":      {Watch: "/in", Settle: "soon", Job: job("", "")},
		"every":       {Watch: "/in", Every: "1ms", Job: job("", "")},
		"watch":       {Cron: "@daily", Every: "1s", Job: job("/in", "")},
		"watch ":      {Watch: "https://host/x", Job: job("", "")},
		"priority":    {Cron: "@daily", Priority: 10, Job: job("/in", "")},
	} {
		_, err := batch.NewSchedule("t", "n", plan(t, p))
		if err == nil || serval.AsError(err).Param != strings.TrimSpace(param) {
			t.Errorf("%s: %v", param, err)
		}
	}
	for _, p := range []batch.SchedulePlan{{Watch: "/in", Job: job("", "/in/out/{stem}.csv")}, {Watch: "/in/*.csv", Job: job("", "/in/{stem}.parquet")}, {Watch: "s3://b/in/", Job: job("", "s3://b/out/{name}")}} {
		if _, err := batch.NewSchedule("t", "n", plan(t, p)); err != nil {
			t.Error(err)
		}
	}
	if _, err := batch.NewSchedule("t", "a/b", plan(t, batch.SchedulePlan{Cron: "@daily", Job: job("/in", "")})); err == nil || serval.AsError(err).Param != "name" {
		t.Errorf("a name: %v", err)
	}
}

// TestScheduleClock: whatever the wall clock does, no time's job is made twice, and every time that the clock shows in its course has its
// job: a jump forward and back loses none of those in between. Of times that it jumps over the last one is made, as after a downtime.
func TestScheduleClock(t *testing.T) {
	start := time.Date(2026, 11, 27, 22, 0, 0, 0, time.UTC)
	now := start
	db := store(t)
	process := func() *batch.Scheduler {
		return batch.NewScheduler(batch.SchedulerOptions{
			Schedules: db, Submit: db.Submit, Places: func(string) batch.Locator { return batch.Files{} }, Now: func() time.Time { return now }, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
		})
	}
	one, two := process(), process()
	c, err := batch.NewSchedule("t", "often", plan(t, batch.SchedulePlan{Cron: "*/5 * * * *", Zone: "UTC", Job: batch.DataSpec{Job: batch.Job{Model: "m", Input: []string{"/in.csv"}, Output: "/out-{time}.csv"}}}))
	if err != nil {
		t.Fatal(err)
	}
	c.Due = start.Add(5 * time.Minute)
	if err := one.Add(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	run := func(d time.Duration) {
		t.Helper()
		for end := now.Add(d); now.Before(end); now = now.Add(30 * time.Second) {
			for _, s := range []*batch.Scheduler{one, two} {
				if err := s.Look(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	check := func(what string, from, to time.Time, more int) {
		t.Helper()
		made := outputs(t, db)
		if twice := len(made) - len(slices.Compact(slices.Clone(made))); twice > 0 {
			t.Errorf("%s: %d times were made twice", what, twice)
		}
		n := 0
		for at := from; !at.After(to); at = at.Add(5 * time.Minute) {
			if n++; !slices.Contains(made, "out-"+at.Format("20060102T150405")+".csv of in.csv") {
				t.Errorf("%s: %s has no job", what, at.Format(time.TimeOnly))
			}
		}
		if len(made) != n+more {
			t.Errorf("%s: %d jobs, want %d and %d: %v", what, len(made), n, more, made)
		}
	}
	minutes := func(n int) time.Time { return start.Add(time.Duration(n) * time.Minute) }
	run(20*time.Minute + time.Second) // 22:05 to 22:20
	check("before", minutes(5), minutes(20), 0)
	now = now.Add(time.Hour) // 23:20, for ten minutes
	run(11 * time.Minute)
	check("an hour ahead", minutes(5), minutes(20), 3) // 23:20, 23:25, 23:30
	now = now.Add(-time.Hour)
	run(30 * time.Minute) // 22:31 to 23:01
	check("right again", minutes(35), minutes(60), 4+3)
	now = now.Add(-time.Hour) // 22:01: all that was made is not made again, and what was jumped over is
	run(35 * time.Minute)
	check("an hour behind", minutes(5), minutes(60), 3)
	now = now.Add(time.Hour)
	run(35 * time.Minute)
	check("at last", minutes(95), minutes(130), 12+3) // what the clock jumped over once more is missed, but for the last, as after a downtime
}
