package batch

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"time"

	"serval"
)

// SchedulerOptions are what a Scheduler needs.
type SchedulerOptions struct {
	Schedules Schedules
	Submit    func(context.Context, *Record) (bool, error)
	Places    func(tenant string) Locator
	Keep      time.Duration    // of jobs whose plan does not say
	Poll      time.Duration    // 0: 1 s
	Now       func() time.Time // nil: time.Now
	Log       *slog.Logger
}

// Scheduler makes the jobs of schedules. Any number of processes may do so for one store: each job has a key, and is made once.
type Scheduler struct {
	o SchedulerOptions
	// watched is what Run remembers of the objects of each schedule that watches. Only its goroutine uses it.
	watched map[string]*watched
	told    map[string]string // schedule → the reason that was logged
}

// watched are the objects that lay at a schedule's place at the last look.
type watched struct {
	next    time.Time // look
	objects map[string]*appeared
}

// appeared is an object.
type appeared struct {
	version string
	since   time.Time // it was seen with this version
	made    bool      // its job
}

// NewScheduler makes one; Run has it work.
func NewScheduler(o SchedulerOptions) *Scheduler {
	if o.Poll <= 0 {
		o.Poll = time.Second
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Scheduler{o: o, watched: map[string]*watched{}, told: map[string]string{}}
}

// Run works until ctx ends.
func (s *Scheduler) Run(ctx context.Context) {
	for sleepFor(ctx, s.o.Poll) == nil {
		if err := s.Look(ctx); err != nil && ctx.Err() == nil {
			s.o.Log.Warn("schedules cannot be read", "error", err)
			_ = sleepFor(ctx, 5*s.o.Poll) // ends with ctx, as Run does
		}
	}
}

// Look makes the jobs that are due. Run calls it; it is not for several goroutines.
func (s *Scheduler) Look(ctx context.Context) error {
	list, err := s.o.Schedules.Schedules(ctx, "")
	if err != nil {
		return err
	}
	known := map[string]bool{}
	for _, c := range list {
		known[c.ID] = true
		p, err := readPlan(c.Plan)
		switch {
		case err != nil: // of a newer program
		case p.Watch != "":
			err = s.watch(ctx, c, p)
		case !c.Due.IsZero() && !s.o.Now().Before(c.Due):
			err = s.fire(ctx, c, p)
		case !c.Due.IsZero() && p.times.next(s.o.Now().Add(skew)).Before(c.Due):
			// The clock went back. Times that come again make the jobs that they made, and no others.
			err = s.o.Schedules.Fired(ctx, c, p.times.next(s.o.Now()), "", c.Reason)
		}
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			s.tell(ctx, c, err)
		case c.Reason != "":
			delete(s.told, c.ID)
			if c.Due.IsZero() { // else Fired said so
				err = s.o.Schedules.Fired(ctx, c, c.Due, "", "")
			}
			if err != nil {
				return err
			}
		}
	}
	for id := range s.watched {
		if !known[id] {
			delete(s.watched, id)
		}
	}
	return nil
}

// skew is by how much the clocks of servers that share schedules may differ.
const skew = time.Minute

// tell notes why a schedule could not do what it should, once.
func (s *Scheduler) tell(ctx context.Context, c *Schedule, err error) {
	why := serval.AsError(err).Message
	if s.told[c.ID] == why && c.Reason != "" {
		return
	}
	s.told[c.ID] = why
	s.o.Log.Warn("a schedule could not make its job", "schedule", c.Name, "error", err)
	if err := s.o.Schedules.Fired(ctx, c, c.Due, "", why); err != nil {
		s.o.Log.Warn("the state of a schedule cannot be stored", "schedule", c.Name, "error", err)
	}
}

// fire makes the job of the last time that has come: after a downtime the times before it are left out.
func (s *Scheduler) fire(ctx context.Context, c *Schedule, p *ready) error {
	at := p.times.last(c.Due, s.o.Now())
	r, err := c.record(p, c.timeKey(at), at, "", s.o.Keep)
	if err != nil {
		return err
	}
	if _, err := s.o.Submit(ctx, r); err != nil {
		if e := (*serval.Error)(nil); errors.As(err, &e) && e.Code == serval.Conflict && e.Param == "key" { // made, before the plan was changed
			return s.o.Schedules.Fired(ctx, c, p.times.next(s.o.Now()), "", "")
		}
		return err
	}
	return s.o.Schedules.Fired(ctx, c, p.times.next(s.o.Now()), r.ID, "")
}

// atOnce bounds the jobs that one look makes.
const atOnce = 1000

// watch makes the jobs of objects that have appeared and settled.
func (s *Scheduler) watch(ctx context.Context, c *Schedule, p *ready) error {
	w, now := s.watched[c.ID], s.o.Now()
	if w == nil {
		w = &watched{objects: map[string]*appeared{}}
		s.watched[c.ID] = w
	}
	if now.Before(w.next) {
		return nil
	}
	w.next = now.Add(p.every)
	list, err := locateAll(ctx, s.o.Places(c.Tenant), p.Watch)
	if err != nil {
		w.next = s.o.Now().Add(max(p.every, 5*time.Minute))
		return err
	}
	fresh, again := w.settled(list, now, p)
	if again > 0 { // a file settles before the next look is due
		w.next = now.Add(min(p.every, again))
	}
	keys := make([]string, len(fresh))
	for i, o := range fresh {
		keys[i] = c.objectKey(o)
	}
	used, err := s.o.Schedules.UsedKeys(ctx, c.Tenant, keys)
	if err != nil {
		return err
	}
	made := 0
	for i, o := range fresh {
		if !used[keys[i]] {
			if made++; made > atOnce {
				w.next = now
				break
			}
			if err := s.object(ctx, c, p, o, keys[i]); err != nil {
				w.next = now.Add(p.every)
				return err
			}
		}
		w.objects[o.Name()].made = true
	}
	return nil
}

// object makes one object's job.
func (s *Scheduler) object(ctx context.Context, c *Schedule, p *ready, o Object, key string) error {
	r, err := c.record(p, key, s.o.Now(), o.Name(), s.o.Keep)
	if err != nil {
		return err
	}
	// The time is part of what the job is, and each server that sees the object has its own: a key in use is no fault.
	if _, err := s.o.Submit(ctx, r); err != nil {
		if e := (*serval.Error)(nil); errors.As(err, &e) && e.Code == serval.Conflict && e.Param == "key" {
			return nil
		}
		return err
	}
	return s.o.Schedules.Fired(ctx, c, c.Due, r.ID, "")
}

// locateAll lists a place; none that is there is no fault.
func locateAll(ctx context.Context, places Locator, location string) ([]Object, error) {
	ctx, stop := context.WithTimeout(ctx, time.Minute) // a place that never answers must not hold up the schedules of others
	defer stop()
	list, err := places.Locate(ctx, location)
	if e := (*serval.Error)(nil); errors.As(err, &e) && e.Code == serval.NotFound {
		return nil, nil
	}
	return list, err
}

// settled are the objects that are to be taken and were not yet; wait is after how long the next one settles, 0: none does.
func (w *watched) settled(list []Object, now time.Time, p *ready) (fresh []Object, wait time.Duration) {
	settle := p.settle
	if strings.Contains(p.Watch, "://") {
		settle = 0 // what appears in a bucket is whole
	}
	seen := map[string]bool{}
	for _, o := range list {
		name := o.Name()
		if strings.HasPrefix(name[strings.LastIndexByte(name, '/')+1:], ".") { // a pattern finds them too
			continue
		}
		seen[name] = true
		a := w.objects[name]
		if a == nil || a.version != o.Version() {
			a = &appeared{version: o.Version(), since: now}
			w.objects[name] = a
		}
		switch age := now.Sub(a.since); {
		case a.made:
		case age >= settle:
			fresh = append(fresh, o)
		case wait == 0 || settle-age < wait:
			wait = settle - age
		}
	}
	for name := range w.objects {
		if !seen[name] {
			delete(w.objects, name)
		}
	}
	return fresh, wait
}

// Add checks a schedule's places and adds it; what lies at a place that it watches counts as seen, unless its plan says otherwise.
func (s *Scheduler) Add(ctx context.Context, c *Schedule) error {
	if err := s.prepare(ctx, c); err != nil {
		return err
	}
	return s.o.Schedules.AddSchedule(ctx, c)
}

// Alter is Add for one that is there and has another plan from now on: it stays the one it was, and what it did stays known. Whenever that
// is cut off, it is there, with the old plan or with the new one.
func (s *Scheduler) Alter(ctx context.Context, c *Schedule) error {
	if err := s.prepare(ctx, c); err != nil {
		return err
	}
	return s.o.Schedules.UpdateSchedule(ctx, c)
}

func (s *Scheduler) prepare(ctx context.Context, c *Schedule) error {
	p, err := readPlan(c.Plan)
	if err != nil {
		return err
	}
	places := s.o.Places(c.Tenant)
	if err := s.reach(places, p); err != nil {
		return err
	}
	if p.Watch != "" && !p.Existing {
		list, err := locateAll(ctx, places, p.Watch)
		if err != nil {
			return err
		}
		keys := make([]string, len(list))
		for i, o := range list {
			keys[i] = c.objectKey(o)
		}
		if err := s.o.Schedules.UseKeys(ctx, c.Tenant, keys); err != nil {
			return err
		}
	}
	return nil
}

// reach says whether the tenant may use the schedule's places.
func (s *Scheduler) reach(places Locator, p *ready) error {
	g, ok := places.(Guard)
	if !ok {
		return nil
	}
	name := "sample.csv"
	if p.Watch != "" {
		if err := g.May(p.Watch, false); err != nil {
			return err
		}
		name = p.Watch
	}
	raw, err := p.spec(s.o.Now(), name)
	if err != nil {
		return err
	}
	var spec DataSpec
	if err := json.Unmarshal(raw, &spec); err != nil {
		return err
	}
	for _, in := range p.Job.Input {
		if err := g.May(in, false); err != nil {
			return err
		}
	}
	if spec.Output != "" {
		return g.May(spec.Output, true)
	}
	return nil
}

// Trigger makes a schedule's job now, whatever the time is; one that watches looks at the next opportunity by itself.
func (s *Scheduler) Trigger(ctx context.Context, c *Schedule) (*Record, error) {
	p, err := readPlan(c.Plan)
	if err != nil {
		return nil, err
	}
	if p.Watch != "" {
		return nil, serval.Errorf(serval.InvalidArgument, "schedule '%s' makes jobs of objects that appear at %s; put one there", c.Name, p.Watch).At("schedule")
	}
	r, err := c.record(p, "", s.o.Now(), "", s.o.Keep)
	if err != nil {
		return nil, err
	}
	if _, err := s.o.Submit(ctx, r); err != nil {
		return nil, err
	}
	return r, s.o.Schedules.Fired(ctx, c, c.Due, r.ID, "")
}
