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
	return r, c.call(ctx, http.MethodGet, streamsPath+"/"+url.PathEscape(champion)+"/compare/"+url.PathEscape(challenger), nil, r)
}

// StreamComparisons lists a server's comparisons.
func (c *Client) StreamComparisons(ctx context.Context) ([]serval.StreamComparison, error) {
	var l struct{ Comparisons []serval.StreamComparison }
	err := c.call(ctx, http.MethodGet, "/api/v1/stream-comparisons", nil, &l)
	return l.Comparisons, err
}
