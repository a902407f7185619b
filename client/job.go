package client

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

// Submission is a job for a server's queue; see the control API (/api/v1/openapi.json of the admin listener).
type Submission struct {
	Name      string          `json:"name,omitempty"`
	Job       json.RawMessage `json:"job"`
	Priority  int             `json:"priority,omitempty"`
	Key       string          `json:"key,omitempty"`
	ExpiresIn string          `json:"expires_in,omitempty"`
	Keep      string          `json:"keep,omitempty"`
	Tenant    string          `json:"tenant,omitempty"`
}

// Job is a job of a server's queue.
type Job struct {
	ID       string    `json:"id"`
	Name     string    `json:"name,omitempty"`
	Tenant   string    `json:"tenant"`
	State    string    `json:"state"` // queued, running, paused, cancelling, succeeded, failed, cancelled, expired
	Reason   string    `json:"reason,omitempty"`
	Priority int       `json:"priority"`
	Created  time.Time `json:"created"`
	Started  time.Time `json:"started,omitzero"`
	Ended    time.Time `json:"ended,omitzero"`
	Expires  time.Time `json:"expires,omitzero"`
	Progress struct {
		Rows     int64   `json:"rows"`
		Bad      int64   `json:"bad"`
		Done     float64 `json:"done"` // 0 to 1; -1: not known
		Rate     float64 `json:"rate"` // rows a second
		Left     float64 `json:"left"` // seconds; -1: not known
		Pieces   int     `json:"pieces"`
		Finished int     `json:"finished"`
		Attempts int     `json:"attempts"`
	} `json:"progress"`
	Job    json.RawMessage `json:"job,omitempty"`
	Result *JobResult      `json:"result,omitempty"`
}

// Over says whether the job has ended.
func (j *Job) Over() bool {
	return j.State == "succeeded" || j.State == "failed" || j.State == "cancelled" || j.State == "expired"
}

// JobResult is what a job came to.
type JobResult struct {
	Rows   int64     `json:"rows"`
	Bad    int64     `json:"bad"`
	Output string    `json:"output,omitempty"` // "": the server holds the files
	Files  []JobFile `json:"files"`
}

// JobFile is a file of a result.
type JobFile struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"`
	Errors bool   `json:"errors,omitempty"`
	Held   string `json:"held,omitempty"` // "": it lies at the result's Output
}

// JobLine is a line of a job's log.
type JobLine struct {
	Seq    int64     `json:"seq"`
	Time   time.Time `json:"time"`
	Worker string    `json:"worker"`
	Text   string    `json:"text"`
}

const jobsPath = "/api/v1/jobs"

// Submit queues a job. The client must be one of the admin listener's address, as for all calls about jobs.
func (c *Client) Submit(ctx context.Context, s *Submission) (*Job, error) {
	j := &Job{}
	return j, c.call(ctx, http.MethodPost, jobsPath, s, j)
}

// Job shows one.
func (c *Client) Job(ctx context.Context, id string) (*Job, error) {
	j := &Job{}
	return j, c.call(ctx, http.MethodGet, jobsPath+"/"+url.PathEscape(id), nil, j)
}

// Jobs lists the newest ones, in the given states, if there are any.
func (c *Client) Jobs(ctx context.Context, limit int, states ...string) ([]Job, error) {
	q := url.Values{"state": states}
	if limit > 0 {
		q.Set("limit", fmt.Sprint(limit))
	}
	var l struct{ Jobs []Job }
	err := c.call(ctx, http.MethodGet, jobsPath+"?"+q.Encode(), nil, &l)
	return l.Jobs, err
}

// ChangeJob asks for cancel, pause or resume.
func (c *Client) ChangeJob(ctx context.Context, id, verb string) (*Job, error) {
	j := &Job{}
	return j, c.call(ctx, http.MethodPost, jobsPath+"/"+url.PathEscape(id)+"/"+verb, nil, j)
}

// DeleteJob removes one that has ended.
func (c *Client) DeleteJob(ctx context.Context, id string) error {
	return c.call(ctx, http.MethodDelete, jobsPath+"/"+url.PathEscape(id), nil, nil)
}

// JobLog are the lines behind the one of that Seq, at most 1000.
func (c *Client) JobLog(ctx context.Context, id string, after int64) ([]JobLine, error) {
	var l struct{ Lines []JobLine }
	err := c.call(ctx, http.MethodGet, fmt.Sprintf("%s/%s/logs?after=%d", jobsPath, url.PathEscape(id), after), nil, &l)
	return l.Lines, err
}

// JobResult writes a file of a result that the server holds.
func (c *Client) JobResult(ctx context.Context, id, name string, to io.Writer) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+jobsPath+"/"+url.PathEscape(id)+"/result/"+url.PathEscape(name), nil)
	if err != nil {
		return err
	}
	if c.key != "" {
		req.Header.Set("Authorization", "Bearer "+c.key)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return c.unreachable(ctx, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, maxError))
		return refusal(resp, text)
	}
	_, err = io.Copy(to, resp.Body)
	if err != nil {
		err = c.unreachable(ctx, err)
	}
	return err
}
