package api

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"serval"
	"serval/batch"
)

// Schedules is what the API does with schedules; server implements it.
type Schedules interface {
	// Schedule returns one, by its id or its name; tenant "" may see all.
	Schedule(ctx context.Context, tenant, id string) (*batch.Schedule, error)
	Schedules(ctx context.Context, tenant string) ([]*batch.Schedule, error)
	DeleteSchedule(ctx context.Context, tenant, id string) error
	// Add checks one and adds it.
	Add(context.Context, *batch.Schedule) error
	// Trigger makes its job now.
	Trigger(context.Context, *batch.Schedule) (*batch.Record, error)
}

// Scheduling is a schedule to be made.
type Scheduling struct {
	Name      string         `json:"name" doc:"a word that tells it from the tenant's others"`
	Cron      string         `json:"cron,omitempty" doc:"when a job is made: minute, hour, day of month, month, day of week, as in 30 2 * * *; or @hourly, @daily, @weekly, @monthly"`
	Zone      string         `json:"time_zone,omitempty" doc:"whose clock it is, as in Europe/Berlin; default: UTC"`
	Watch     string         `json:"watch,omitempty" doc:"instead of cron: a folder, pattern or s3://bucket/prefix/, gs:// or azblob:// of which each object that appears is the input of a job"`
	Every     string         `json:"every,omitempty" doc:"how often watch is looked at; default: 10s"`
	Settle    string         `json:"settle,omitempty" doc:"how long a file must have been the same before it is taken; default: 10s"`
	Existing  bool           `json:"existing,omitempty" doc:"take the objects, too, that are there already"`
	Job       batch.DataSpec `json:"job" doc:"what is to be done; its input and output may have {date} and {time}, with watch also {name} and {stem}"`
	Priority  int            `json:"priority,omitempty" doc:"of the jobs; 1 is the most urgent, 5 the default, 9 the least"`
	ExpiresIn string         `json:"expires_in,omitempty" doc:"a job that has not ended after that is given up: 24h"`
	Keep      string         `json:"keep,omitempty" doc:"how long jobs and results are kept after their end: 168h"`
	Tenant    string         `json:"tenant,omitempty" doc:"as whom the model is asked; default: the caller"`
}

// Schedule makes jobs by itself.
type Schedule struct {
	ID       string             `json:"id"`
	Name     string             `json:"name"`
	Tenant   string             `json:"tenant"`
	Origin   string             `json:"origin,omitempty" doc:"config: it is in a server's configuration, and changed there"`
	Created  time.Time          `json:"created"`
	Next     time.Time          `json:"next,omitzero" doc:"when the next job is due; none: it watches"`
	Last     time.Time          `json:"last,omitzero" doc:"when it made a job"`
	LastJob  string             `json:"last_job,omitempty"`
	Reason   string             `json:"reason,omitempty" doc:"why it could not do what it should, the last time"`
	Schedule batch.SchedulePlan `json:"schedule" doc:"when, and what"`
}

// ScheduleList is a list of schedules, by name.
type ScheduleList struct {
	Schedules []Schedule `json:"schedules"`
}

type schedules struct{ Schedules }

func (s *schedules) routes() []route {
	const one = "/api/v1/schedules/{id}"
	return []route{
		{method: "POST", path: "/api/v1/schedules", id: "addSchedule", says: "adds a schedule", in: Scheduling{}, out: Schedule{}, status: http.StatusCreated, change: true, serve: s.add},
		{method: "GET", path: "/api/v1/schedules", id: "listSchedules", says: "lists schedules, by name", out: ScheduleList{}, serve: s.list},
		{method: "GET", path: one, id: "getSchedule", says: "shows a schedule, by its id or name", out: Schedule{}, serve: s.get},
		{method: "DELETE", path: one, id: "deleteSchedule", says: "deletes a schedule; its jobs stay", change: true, serve: s.remove},
		{method: "POST", path: one + "/run", id: "runSchedule", says: "makes the schedule's job now", out: Job{}, status: http.StatusCreated, change: true, serve: s.run},
	}
}

func showSchedule(s *batch.Schedule) Schedule {
	out := Schedule{ID: s.ID, Name: s.Name, Tenant: s.Tenant, Origin: s.Origin, Created: s.Created, Next: s.Due, Last: s.Last, LastJob: s.LastJob, Reason: s.Reason}
	if json.Unmarshal(s.Plan, &out.Schedule) == nil { // else a newer program's
		if raw, err := json.Marshal(out.Schedule.Job); err == nil {
			_ = json.Unmarshal(batch.Shown(raw), &out.Schedule.Job) // it was just written
		}
	}
	return out
}

func (s *schedules) add(c *call) (any, error) {
	var in Scheduling
	if err := c.body(&in); err != nil {
		return nil, err
	}
	tenant := c.own
	if in.Tenant != "" {
		tenant = in.Tenant
	}
	if len(tenant) > 128 {
		return nil, serval.Errorf(serval.InvalidArgument, "tenant has at most 128 bytes").At("tenant")
	}
	plan, err := json.Marshal(batch.SchedulePlan{
		Cron: in.Cron, Zone: in.Zone, Watch: in.Watch, Every: in.Every, Settle: in.Settle, Existing: in.Existing, Job: in.Job, Priority: in.Priority, ExpiresIn: in.ExpiresIn, Keep: in.Keep,
	})
	if err != nil {
		return nil, err
	}
	r, err := batch.NewSchedule(tenant, in.Name, plan)
	if err != nil {
		return nil, err
	}
	if err := s.Add(c.Context(), r); err != nil {
		return nil, err
	}
	return showSchedule(r), nil
}

func (s *schedules) list(c *call) (any, error) {
	found, err := s.Schedules.Schedules(c.Context(), c.tenant)
	if err != nil {
		return nil, err
	}
	l := ScheduleList{Schedules: []Schedule{}}
	for _, r := range found {
		l.Schedules = append(l.Schedules, showSchedule(r))
	}
	return l, nil
}

func (s *schedules) get(c *call) (any, error) {
	r, err := s.Schedule(c.Context(), c.tenant, c.PathValue("id"))
	if err != nil {
		return nil, err
	}
	return showSchedule(r), nil
}

func (s *schedules) remove(c *call) (any, error) {
	r, err := s.Schedule(c.Context(), c.tenant, c.PathValue("id"))
	if err != nil {
		return nil, err
	}
	if r.Origin != "" {
		return nil, serval.Errorf(serval.Conflict, "schedule '%s' is in the server's configuration (batch.schedules); take it out there", r.Name).At("schedule")
	}
	return nil, s.DeleteSchedule(c.Context(), r.Tenant, r.ID)
}

func (s *schedules) run(c *call) (any, error) {
	r, err := s.Schedule(c.Context(), c.tenant, c.PathValue("id"))
	if err != nil {
		return nil, err
	}
	j, err := s.Trigger(c.Context(), r)
	if err != nil {
		return nil, err
	}
	return show(j), nil
}
