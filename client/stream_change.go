package client

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
)

// StreamChange is what became of a stream.
type StreamChange struct {
	Name    string  `json:"name"`
	Change  string  `json:"change"` // created, replaced, unchanged, deleted
	DryRun  bool    `json:"dry_run,omitempty"`
	Warning string  `json:"warning,omitempty"`
	Stream  *Stream `json:"stream"`
}

// ApplyStreams makes the streams of a document with the section streams, YAML or JSON as in a serval.yaml, and replaces those that
// are there. All are checked before one is changed. dry has the server only say what would be.
func (c *Client) ApplyStreams(ctx context.Context, document []byte, dry bool) ([]StreamChange, error) {
	q := url.Values{"replace": {"true"}}
	if dry {
		q.Set("dry_run", "true")
	}
	_, data, err := c.exchange(ctx, http.MethodPost, streamsPath+"?"+q.Encode(), http.Header{"Content-Type": {"application/yaml"}}, document)
	if err != nil {
		return nil, err
	}
	var out struct{ Streams []StreamChange }
	if err := json.Unmarshal(data, &out); err != nil {
		return nil, c.garbled(streamsPath, err)
	}
	return out.Streams, nil
}

// DeleteStream removes one that was made through the API.
func (c *Client) DeleteStream(ctx context.Context, name string, dry bool) (*StreamChange, error) {
	path := streamsPath + "/" + url.PathEscape(name)
	if dry {
		path += "?dry_run=true"
	}
	s := &StreamChange{}
	return s, c.call(ctx, http.MethodDelete, path, nil, s)
}

// StreamDefinition is the YAML that a stream was made with through the API.
func (c *Client) StreamDefinition(ctx context.Context, name string) (string, error) {
	var out struct{ Definition string }
	err := c.call(ctx, http.MethodGet, streamsPath+"/"+url.PathEscape(name)+"/definition", nil, &out)
	return out.Definition, err
}
