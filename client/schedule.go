package client

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"time"
)

// Scheduling is a schedule for a server; see the control API (/api/v1/openapi.json of the admin listener).
type Scheduling struct {
	Name      string          `json:"name"`
	Cron      string          `json:"cron,omitempty"`
	Zone      string          `json:"time_zone,omitempty"`
	Watch     string          `json:"watch,omitempty"`
	Every     string          `json:"every,omitempty"`
	Settle    string          `json:"settle,omitempty"`
	Existing  bool            `json:"existing,omitempty"`
	Job       json.RawMessage `json:"job"`
	Priority  int             `json:"priority,omitempty"`
	ExpiresIn string          `json:"expires_in,omitempty"`
	Keep      string          `json:"keep,omitempty"`
	Tenant    string          `json:"tenant,omitempty"`
}

// Schedule makes jobs by itself.
type Schedule struct {
	ID       string     `json:"id"`
	Name     string     `json:"name"`
	Tenant   string     `json:"tenant"`
	Origin   string     `json:"origin,omitempty"`
	Created  time.Time  `json:"created"`
	Next     time.Time  `json:"next,omitzero"` // none: it watches
	Last     time.Time  `json:"last,omitzero"`
	LastJob  string     `json:"last_job,omitempty"`
	Reason   string     `json:"reason,omitempty"`
	Schedule Scheduling `json:"schedule"`
}

const schedulesPath = "/api/v1/schedules"

// AddSchedule adds one.
func (c *Client) AddSchedule(ctx context.Context, s *Scheduling) (*Schedule, error) {
	out := &Schedule{}
	return out, c.call(ctx, http.MethodPost, schedulesPath, s, out)
}

// Schedules lists them.
func (c *Client) Schedules(ctx context.Context) ([]Schedule, error) {
	var l struct{ Schedules []Schedule }
	err := c.call(ctx, http.MethodGet, schedulesPath, nil, &l)
	return l.Schedules, err
}

// DeleteSchedule removes one, by its id or name.
func (c *Client) DeleteSchedule(ctx context.Context, id string) error {
	return c.call(ctx, http.MethodDelete, schedulesPath+"/"+url.PathEscape(id), nil, nil)
}

// RunSchedule makes its job now.
func (c *Client) RunSchedule(ctx context.Context, id string) (*Job, error) {
	j := &Job{}
	return j, c.call(ctx, http.MethodPost, schedulesPath+"/"+url.PathEscape(id)+"/run", nil, j)
}
