package client

import (
	"context"
	"net/http"
	"net/url"

	"serval"
)

// CompareStreams shows how a challenger's answers stand against a champion's.
func (c *Client) CompareStreams(ctx context.Context, champion, challenger string) (*serval.StreamComparison, error) {
	r := &serval.StreamComparison{}
	return r, c.call(ctx, http.MethodGet, comparePath(champion, challenger), nil, r)
}

// StreamComparing says how streams are compared; see console/api.
type StreamComparing struct {
	Output    string   `json:"output,omitempty"`
	Threshold *float64 `json:"threshold,omitempty"`
	Window    int      `json:"window,omitempty"`
}

// BeginComparison has a server compare two of its streams.
func (c *Client) BeginComparison(ctx context.Context, champion, challenger string, o StreamComparing) (*serval.StreamComparison, error) {
	r := &serval.StreamComparison{}
	return r, c.call(ctx, http.MethodPost, comparePath(champion, challenger), o, r)
}

// EndComparison ends that, and shows how the streams stood.
func (c *Client) EndComparison(ctx context.Context, champion, challenger string) (*serval.StreamComparison, error) {
	r := &serval.StreamComparison{}
	return r, c.call(ctx, http.MethodDelete, comparePath(champion, challenger), nil, r)
}

func comparePath(champion, challenger string) string {
	return streamsPath + "/" + url.PathEscape(champion) + "/compare/" + url.PathEscape(challenger)
}

// StreamComparisons lists a server's comparisons.
func (c *Client) StreamComparisons(ctx context.Context) ([]serval.StreamComparison, error) {
	var l struct{ Comparisons []serval.StreamComparison }
	err := c.call(ctx, http.MethodGet, "/api/v1/stream-comparisons", nil, &l)
	return l.Comparisons, err
}
