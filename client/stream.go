package client

import (
	"context"
	"net/http"
	"net/url"
	"time"
)

// Stream is where a server's stream of messages stands.
type Stream struct {
	Name      string            `json:"name"`
	Model     string            `json:"model"`
	Tenant    string            `json:"tenant"`
	State     string            `json:"state"` // starting, running, waiting, paused, draining, stopped
	Reason    string            `json:"reason,omitempty"`
	Delivery  string            `json:"delivery"`
	From      string            `json:"from"`
	To        string            `json:"to"`
	Lag       int64             `json:"lag"` // -1: not known
	InFlight  int               `json:"in_flight"`
	Bytes     int64             `json:"in_flight_bytes"`
	Oldest    time.Time         `json:"oldest,omitzero"`
	Last      time.Time         `json:"last_written,omitzero"`
	Read      uint64            `json:"read"`
	Written   uint64            `json:"written"`
	Dead      map[string]uint64 `json:"dead_letters"`
	Dropped   uint64            `json:"dropped"`
	Retries   map[string]uint64 `json:"retries"`
	Undone    uint64            `json:"transactions_undone"`
	Age       float64           `json:"age"` // mean seconds
	Replaying bool              `json:"replaying,omitempty"`
	// Configured: it stands in the server's configuration file.
	Configured bool `json:"configured"`
}

const streamsPath = "/api/v1/streams"

// Streams lists a server's streams. The client must be one of the admin listener's address, as for all calls about streams.
func (c *Client) Streams(ctx context.Context) ([]Stream, error) {
	var l struct{ Streams []Stream }
	err := c.call(ctx, http.MethodGet, streamsPath, nil, &l)
	return l.Streams, err
}

// Stream shows one.
func (c *Client) Stream(ctx context.Context, name string) (*Stream, error) {
	s := &Stream{}
	return s, c.call(ctx, http.MethodGet, streamsPath+"/"+url.PathEscape(name), nil, s)
}

// ChangeStream asks for pause or resume.
func (c *Client) ChangeStream(ctx context.Context, name, verb string) (*Stream, error) {
	s := &Stream{}
	return s, c.call(ctx, http.MethodPost, streamsPath+"/"+url.PathEscape(name)+"/"+verb, nil, s)
}
