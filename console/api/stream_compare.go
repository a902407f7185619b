package api

import "serval"

// StreamComparer sets streams' answers against each other.
type StreamComparer interface {
	Comparisons() []serval.StreamComparison
	Compare(champion, challenger string) (*serval.StreamComparison, error)
}

// StreamComparisonList is a list of comparisons, by challenger.
type StreamComparisonList struct {
	Comparisons []serval.StreamComparison `json:"comparisons"`
}

func (s *streams) comparison() []route {
	return []route{
		{method: "GET", path: "/api/v1/stream-comparisons", id: "listStreamComparisons", says: "lists how challengers stand against their champions", out: StreamComparisonList{}, serve: s.comparisons},
		{method: "GET", path: "/api/v1/streams/{name}/compare/{challenger}", id: "compareStreams", says: "shows how a challenger stands against the stream", out: serval.StreamComparison{}, serve: s.compare},
	}
}

// sees says whether the caller may see a stream.
func (s *streams) sees(c *call, name string) bool {
	st, err := s.Status(name)
	return err == nil && (c.tenant == "" || c.tenant == st.Tenant)
}

func (s *streams) comparisons(c *call) (any, error) {
	l := StreamComparisonList{Comparisons: []serval.StreamComparison{}}
	for _, r := range s.Comparisons() {
		if s.sees(c, r.Champion.Stream) && s.sees(c, r.Challenger.Stream) {
			l.Comparisons = append(l.Comparisons, r)
		}
	}
	return l, nil
}

func (s *streams) compare(c *call) (any, error) {
	champion, challenger := c.PathValue("name"), c.PathValue("challenger")
	for _, name := range []string{champion, challenger} {
		if _, err := s.Status(name); err == nil && !s.sees(c, name) {
			return nil, serval.Errorf(serval.NotFound, "you have no stream '%s'", name).At("name")
		}
	}
	return s.Compare(champion, challenger)
}
