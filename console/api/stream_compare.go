package api

import (
	"net/http"

	"serval"
)

// StreamComparer sets streams' answers against each other.
type StreamComparer interface {
	Comparisons() []serval.StreamComparison
	Compare(champion, challenger string) (*serval.StreamComparison, error)
	// Challenge begins to compare two streams, until the server ends or Unchallenge; their definitions stay as they are.
	Challenge(champion, challenger string, o StreamComparing) (*serval.StreamComparison, error)
	// Unchallenge ends that, and gives the last report.
	Unchallenge(champion, challenger string) (*serval.StreamComparison, error)
}

// StreamComparing says how streams are compared.
type StreamComparing struct {
	Output    string   `json:"output,omitempty" doc:"the models' output that is compared; default: the first one"`
	Threshold *float64 `json:"threshold,omitempty" doc:"from which on a number counts as 1, below as 0"`
	Window    int      `json:"window,omitempty" doc:"most answers that wait for their counterpart; 0: 50000"`
}

// StreamComparisonList is a list of comparisons, by challenger.
type StreamComparisonList struct {
	Comparisons []serval.StreamComparison `json:"comparisons"`
}

func (s *streams) comparison() []route {
	const pair = "/api/v1/streams/{name}/compare/{challenger}"
	return []route{
		{method: "GET", path: "/api/v1/stream-comparisons", id: "listStreamComparisons", says: "lists how challengers stand against their champions", out: StreamComparisonList{}, serve: s.comparisons},
		{method: "POST", path: pair, id: "beginStreamComparison", says: "begins to compare two streams, until the server ends; what a definition's compare begins, begins again with the server",
			in: StreamComparing{}, out: serval.StreamComparison{}, status: http.StatusCreated, change: true, serve: s.challenge},
		{method: "DELETE", path: pair, id: "endStreamComparison", says: "ends what beginStreamComparison began, and shows how it stood", out: serval.StreamComparison{}, change: true, serve: s.unchallenge},
		{method: "GET", path: pair, id: "compareStreams", says: "shows how a challenger stands against the stream", out: serval.StreamComparison{}, serve: s.compare},
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

// pair are the streams of a path, where the caller may see both.
func (s *streams) pair(c *call) (champion, challenger string, err error) {
	champion, challenger = c.PathValue("name"), c.PathValue("challenger")
	for _, name := range []string{champion, challenger} {
		if _, err := s.Status(name); err == nil && !s.sees(c, name) {
			return "", "", serval.Errorf(serval.NotFound, "you have no stream '%s'", name).At("name")
		}
	}
	return champion, challenger, nil
}

func (s *streams) compare(c *call) (any, error) {
	champion, challenger, err := s.pair(c)
	if err != nil {
		return nil, err
	}
	return s.Compare(champion, challenger)
}

func (s *streams) challenge(c *call) (any, error) {
	champion, challenger, err := s.pair(c)
	if err != nil {
		return nil, err
	}
	var o StreamComparing
	if err := c.body(&o); err != nil {
		return nil, err
	}
	return s.Challenge(champion, challenger, o)
}

func (s *streams) unchallenge(c *call) (any, error) {
	champion, challenger, err := s.pair(c)
	if err != nil {
		return nil, err
	}
	return s.Unchallenge(champion, challenger)
}
