package api

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"time"

	"serval"
	"serval/batch"
)

// Jobs is what the API does with jobs; server implements it over the queue.
type Jobs interface {
	batch.Jobs
	// Check says what is wrong with a tenant's data job before it is queued.
	Check(ctx context.Context, tenant string, spec json.RawMessage) error
	// Open opens a file of a result that the server holds.
	Open(ctx context.Context, j *batch.Record, name string) (batch.File, error)
	// Forget deletes a job that has ended, and its files.
	Forget(ctx context.Context, j *batch.Record) error
	// Keep is how long jobs are kept that do not say.
	Keep() time.Duration
	// Scheduling is what makes jobs by itself.
	Scheduling() Schedules
}

// Submission is a job to be queued.
type Submission struct {
	Name      string         `json:"name,omitempty" doc:"for people"`
	Job       batch.DataSpec `json:"job" doc:"what is to be done"`
	Priority  int            `json:"priority,omitempty" doc:"among jobs; 1 is the most urgent, 5 the default, 9 the least"`
	Key       string         `json:"key,omitempty" doc:"makes the call idempotent: a second job of the same key is the first one"`
	ExpiresIn string         `json:"expires_in,omitempty" doc:"a job that has not ended after that is given up: 24h; default: never"`
	Keep      string         `json:"keep,omitempty" doc:"how long the job and its result are kept after its end: 168h; 0s: until it is deleted; default: as the server is configured"`
	Tenant    string         `json:"tenant,omitempty" doc:"as whom the model is asked; default: the caller"`
}

// Job is a job of the queue.
type Job struct {
	ID       string            `json:"id"`
	Name     string            `json:"name,omitempty"`
	Tenant   string            `json:"tenant"`
	State    batch.State       `json:"state" enum:"queued,running,paused,cancelling,succeeded,failed,cancelled,expired"`
	Reason   string            `json:"reason,omitempty" doc:"why it failed, expired or waits"`
	Priority int               `json:"priority"`
	Key      string            `json:"key,omitempty"`
	Created  time.Time         `json:"created"`
	Started  time.Time         `json:"started,omitzero"`
	Ended    time.Time         `json:"ended,omitzero"`
	Expires  time.Time         `json:"expires,omitzero" doc:"when it is given up"`
	Remove   time.Time         `json:"remove,omitzero" doc:"when it goes, with its result"`
	Progress JobProgress       `json:"progress"`
	Job      json.RawMessage   `json:"job,omitempty" doc:"what was asked for"`
	Result   *batch.DataResult `json:"result,omitempty"`
}

// JobProgress says how far a job is.
type JobProgress struct {
	Rows     int64   `json:"rows" doc:"read, answered and written"`
	Bad      int64   `json:"bad" doc:"of them"`
	Done     float64 `json:"done" doc:"part of the whole, 0 to 1; -1: not known"`
	Rate     float64 `json:"rate" doc:"rows a second at present"`
	Left     float64 `json:"left" doc:"seconds at that rate; -1: not known"`
	Pieces   int     `json:"pieces"`
	Finished int     `json:"finished" doc:"pieces that are done"`
	Attempts int     `json:"attempts" doc:"how often workers took a piece"`
}

// JobList is a list of jobs, the newest first.
type JobList struct {
	Jobs []Job  `json:"jobs"`
	Next string `json:"next,omitempty" doc:"the value of 'before' for the next page"`
}

// JobLine is a line of a job's log.
type JobLine struct {
	Seq    int64     `json:"seq"`
	Time   time.Time `json:"time"`
	Worker string    `json:"worker"`
	Text   string    `json:"text"`
}

// JobLog is a part of a job's log.
type JobLog struct {
	Lines []JobLine `json:"lines"`
}

type jobs struct{ Jobs }

func (j *jobs) routes() []route {
	const one = "/api/v1/jobs/{id}"
	return append((&schedules{j.Scheduling()}).routes(), []route{
		{method: "POST", path: "/api/v1/jobs", id: "submitJob", says: "queues a job", in: Submission{}, out: Job{}, status: http.StatusCreated, change: true, serve: j.submit},
		{method: "GET", path: "/api/v1/jobs", id: "listJobs", says: "lists jobs, the newest first", out: JobList{}, serve: j.list, query: []param{
			{"state", "only jobs in this state; may be given several times"}, {"limit", "most jobs; default: 100, at most 1000"}, {"before", "only jobs that were made before this one"}}},
		{method: "GET", path: one, id: "getJob", says: "shows a job", out: Job{}, serve: j.get},
		{method: "POST", path: one + "/cancel", id: "cancelJob", says: "cancels a job", out: Job{}, change: true, serve: j.change(batch.Cancel)},
		{method: "POST", path: one + "/pause", id: "pauseJob", says: "pauses a job; what is done stays done", out: Job{}, change: true, serve: j.change(batch.Pause)},
		{method: "POST", path: one + "/resume", id: "resumeJob", says: "lets a paused job go on", out: Job{}, change: true, serve: j.change(batch.GoOn)},
		{method: "DELETE", path: one, id: "deleteJob", says: "deletes a job that has ended, and the results that the server holds", change: true, serve: j.remove},
		{method: "GET", path: one + "/logs", id: "getJobLog", says: "shows a job's log", out: JobLog{}, serve: j.lines, query: []param{{"after", "only lines that came after the one of this seq"}}},
		{method: "GET", path: one + "/result/{name}", id: "getJobResult", says: "gives a file of the result that the server holds; ranges are taken", out: file{}, serve: j.result},
	}...)
}

func show(r *batch.Record) Job {
	t := &r.Tally
	j := Job{
		ID: r.ID, Name: r.Name, Tenant: r.Tenant, State: r.State, Reason: r.Reason, Priority: r.Priority, Key: r.Key, Created: r.Created, Started: r.Started, Ended: r.Ended,
		Expires: r.Expires, Remove: r.Remove, Job: shown(r),
		Progress: JobProgress{Rows: t.Rows, Bad: t.Bad, Done: t.Done, Rate: t.Rate, Left: t.Left().Seconds(), Pieces: t.Pieces, Finished: t.Finished, Attempts: t.Attempts},
	}
	if t.Left() < 0 {
		j.Progress.Left = -1
	}
	var result batch.DataResult
	if r.Result != nil && json.Unmarshal(r.Result, &result) == nil {
		j.Result = &result
	}
	return j
}

// shown is a job's spec without what may be secret in it.
func shown(r *batch.Record) json.RawMessage {
	if r.Kind != batch.DataKind {
		return r.Spec
	}
	return batch.Shown(r.Spec)
}

func (j *jobs) submit(c *call) (any, error) {
	var s Submission
	if err := c.body(&s); err != nil {
		return nil, err
	}
	r := &batch.Record{Kind: batch.DataKind, Tenant: c.own, Name: s.Name, Priority: s.Priority, Key: s.Key, Keep: j.Keep()}
	if s.Tenant != "" {
		r.Tenant = s.Tenant
	}
	switch {
	case s.Priority == 0:
		r.Priority = 5
	case s.Priority < 1 || s.Priority > 9:
		return nil, serval.Errorf(serval.InvalidArgument, "priority must be 1 to 9, not %d", s.Priority).At("priority")
	case len(s.Name) > 200 || len(s.Key) > 200 || len(s.Tenant) > 128:
		return nil, serval.Errorf(serval.InvalidArgument, "name and key have at most 200 bytes, tenant 128").At("name")
	}
	if s.ExpiresIn != "" {
		d, err := span("expires_in", s.ExpiresIn)
		if err != nil {
			return nil, err
		}
		r.Expires = time.Now().Add(d)
	}
	if s.Keep != "" {
		d, err := span("keep", s.Keep)
		if err != nil {
			return nil, err
		}
		r.Keep = d
	}
	var err error
	if r.Spec, err = json.Marshal(s.Job); err != nil {
		return nil, err
	}
	if err := j.Check(c.Context(), r.Tenant, r.Spec); err != nil {
		return nil, err
	}
	added, err := j.Submit(c.Context(), r)
	if err != nil {
		return nil, err
	}
	return created{show(r), added}, nil
}

func span(name, text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return 0, serval.Errorf(serval.InvalidArgument, "%s must be a duration such as 24h, not %.50q", name, text).At(name)
	}
	return d, nil
}

func (j *jobs) list(c *call) (any, error) {
	f := batch.Filter{Tenant: c.tenant, Before: c.URL.Query().Get("before")}
	n, err := c.number("limit")
	if err != nil {
		return nil, err
	}
	f.Limit = int(min(n, 1000))
	if f.Limit == 0 {
		f.Limit = 100
	}
	for _, s := range c.URL.Query()["state"] {
		if !slices.Contains(batch.States(), batch.State(s)) {
			return nil, serval.Errorf(serval.InvalidArgument, "state %.50q is not known; there are %v", s, batch.States()).At("state")
		}
		f.States = append(f.States, batch.State(s))
	}
	found, err := j.Jobs.Jobs(c.Context(), f)
	if err != nil {
		return nil, err
	}
	l := JobList{Jobs: []Job{}}
	for _, r := range found {
		l.Jobs = append(l.Jobs, show(r))
	}
	if len(found) == f.Limit {
		l.Next = found[len(found)-1].ID
	}
	return l, nil
}

func (j *jobs) get(c *call) (any, error) {
	r, err := j.Job(c.Context(), c.tenant, c.PathValue("id"))
	if err != nil {
		return nil, err
	}
	return show(r), nil
}

func (j *jobs) change(o batch.Order) func(*call) (any, error) {
	return func(c *call) (any, error) {
		r, err := j.Change(c.Context(), c.tenant, c.PathValue("id"), o)
		if err != nil {
			return nil, err
		}
		return show(r), nil
	}
}

func (j *jobs) remove(c *call) (any, error) {
	r, err := j.Job(c.Context(), c.tenant, c.PathValue("id"))
	if err != nil {
		return nil, err
	}
	return nil, j.Forget(c.Context(), r)
}

func (j *jobs) lines(c *call) (any, error) {
	after, err := c.number("after")
	if err != nil {
		return nil, err
	}
	list, err := j.Lines(c.Context(), c.tenant, c.PathValue("id"), after)
	if err != nil {
		return nil, err
	}
	l := JobLog{Lines: []JobLine{}}
	for _, line := range list {
		l.Lines = append(l.Lines, JobLine(line))
	}
	return l, nil
}

func (j *jobs) result(c *call) (any, error) {
	r, err := j.Job(c.Context(), c.tenant, c.PathValue("id"))
	if err != nil {
		return nil, err
	}
	f, err := j.Open(c.Context(), r, c.PathValue("name"))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	c.w.Header().Set("Content-Type", "application/octet-stream")
	c.w.Header().Set("X-Content-Type-Options", "nosniff")
	http.ServeContent(c.w, c.Request, "", r.Ended, f)
	return nil, errSent
}
