package server

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"
	_ "time/tzdata" // time zones, where the machine has none

	"serval"
	"serval/batch"
	"serval/config"
)

type plans = batch.Schedules // to embed it without its name, which is that of a method

// schedules are the store's, with what checks and fires them.
type schedules struct {
	plans
	*batch.Scheduler
	from map[string]config.Schedule
	s    *Server
}

// Run puts the configuration's schedules into the store, and makes the jobs of all.
func (c *schedules) Run(ctx context.Context) {
	var settling sync.WaitGroup
	settling.Go(func() { // beside the others: a place that cannot be reached may be there later
		for wait := time.Second; ; wait = min(2*wait, time.Minute) {
			err := c.settle(ctx)
			if err == nil || ctx.Err() != nil {
				return
			}
			c.s.log.Error("the configuration's schedules could not all be stored, and those make no jobs; tried again", "error", err, "in", wait.String())
			select {
			case <-ctx.Done():
			case <-time.After(wait):
			}
		}
	})
	c.Scheduler.Run(ctx)
	settling.Wait()
}

// settle makes the store's schedules of the configuration what the configuration says. Servers that share a store should have the
// same ones: the one that starts last is right.
func (c *schedules) settle(ctx context.Context) error {
	list, err := c.Schedules(ctx, "")
	if err != nil {
		return err
	}
	type key struct{ tenant, name string }
	have := map[key]*batch.Schedule{}
	for _, h := range list {
		if h.Origin == fromConfig {
			have[key{h.Tenant, h.Name}] = h
		}
	}
	var failed []error
	for _, name := range slices.Sorted(maps.Keys(c.from)) {
		s, err := scheduleOf(name, c.from[name])
		if err == nil {
			k := key{s.Tenant, s.Name}
			err = c.put(ctx, s, have[k])
			delete(have, k)
		}
		if err != nil {
			failed = append(failed, fmt.Errorf("batch.schedules.%s: %w", name, err))
		}
	}
	for _, h := range have {
		failed = append(failed, c.DeleteSchedule(ctx, h.Tenant, h.ID))
	}
	return errors.Join(failed...)
}

// put adds a schedule, or changes the one of that name, in one step: it is never missing, and keeps what it did last. One that watches the
// same place goes on: what appeared there while no server ran is new to it.
func (c *schedules) put(ctx context.Context, s, old *batch.Schedule) error {
	if old != nil {
		var was, is batch.SchedulePlan
		switch err := errors.Join(json.Unmarshal(old.Plan, &was), json.Unmarshal(s.Plan, &is)); {
		case bytes.Equal(old.Plan, s.Plan):
			return nil
		case err == nil && was.Watch == is.Watch && was.Cron == is.Cron && was.Zone == is.Zone:
			s.ID, s.Due = old.ID, old.Due
			return c.UpdateSchedule(ctx, s)
		}
		s.ID = old.ID
		return c.Alter(ctx, s)
	}
	err := c.Add(ctx, s)
	if e := (*serval.Error)(nil); errors.As(err, &e) && e.Code == serval.Conflict {
		if there, _ := c.Schedule(ctx, s.Tenant, s.ID); there != nil && there.ID == s.ID {
			return nil // another server was faster
		}
	}
	return err
}

const fromConfig = "config"

// scheduleOf is a schedule of the configuration. Its ID is made of what it says at first, so that servers that start together make one.
func scheduleOf(name string, c config.Schedule) (*batch.Schedule, error) {
	tenant := c.Tenant
	if tenant == "" {
		tenant = name
	}
	j := &c.Job
	job := batch.Job{
		Model: j.Model, Input: j.Input, Output: j.Output, InputFormat: j.InputFormat, OutputFormat: j.OutputFormat, InputOptions: j.InputOptions, OutputOptions: j.OutputOptions,
		Map: j.Map, Passthrough: j.Passthrough, Want: j.Want, MaxErrors: j.MaxErrors,
	}
	if j.Prompt != "" || j.System != "" || j.Task != "" || j.MaxTokens > 0 {
		job.Text = &batch.Text{Task: j.Task, Prompt: j.Prompt, System: j.System}
		if j.MaxTokens > 0 {
			job.Text.MaxTokens = &j.MaxTokens
		}
	}
	plan, err := json.Marshal(batch.SchedulePlan{
		Cron: c.Cron, Zone: c.TimeZone, Watch: c.Watch, Every: pause(c.Every, c.Watch), Settle: pause(c.Settle, c.Watch), Existing: c.Existing, Priority: c.Priority,
		Job: batch.DataSpec{Job: job, Split: j.Split, Parts: j.Parts, Restart: j.Restart},
	})
	if err != nil {
		return nil, err
	}
	s, err := batch.NewSchedule(tenant, name, plan)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(append([]byte(tenant+"\x00"+name+"\x00"), plan...))
	s.ID, s.Origin = "sch_"+hex.EncodeToString(sum[:12]), fromConfig
	return s, nil
}

// pause is a duration of a schedule that watches; "" of another, or of none.
func pause(d time.Duration, watch string) string {
	if watch == "" || d == 0 {
		return ""
	}
	return d.String()
}

// checkSchedules says what is wrong with the configuration's schedules, before the server starts.
func checkSchedules(list map[string]config.Schedule) error {
	var failed []error
	for _, name := range slices.Sorted(maps.Keys(list)) {
		if _, err := scheduleOf(name, list[name]); err != nil {
			failed = append(failed, fmt.Errorf("batch.schedules.%s: %w", name, err))
		}
	}
	return errors.Join(failed...)
}
