package api

import (
	"time"

	"serval"
)

// Streams is what the API does with streams of messages; server implements it.
type Streams interface {
	List() []serval.StreamStatus
	Status(name string) (serval.StreamStatus, error)
	// Pause has a stream read no more, or with on false read on.
	Pause(name string, on bool) error
	StreamMaker
	StreamReader
	StreamComparer
}

// Stream is where a stream of messages stands.
type Stream struct {
	Name      string            `json:"name"`
	Model     string            `json:"model"`
	Tenant    string            `json:"tenant"`
	State     string            `json:"state" enum:"starting,running,waiting,paused,draining,stopped"`
	Reason    string            `json:"reason,omitempty" doc:"why it waits"`
	Delivery  string            `json:"delivery" enum:"at-least-once,exactly-once"`
	From      string            `json:"from" doc:"what is read"`
	To        string            `json:"to" doc:"what is written"`
	Lag       int64             `json:"lag" doc:"messages that wait at the broker; -1: not known"`
	InFlight  int               `json:"in_flight" doc:"messages that were read and are not yet written"`
	Bytes     int64             `json:"in_flight_bytes"`
	Oldest    time.Time         `json:"oldest,omitzero" doc:"when the oldest message under way was made"`
	Last      time.Time         `json:"last_written,omitzero"`
	Read      uint64            `json:"read" doc:"messages, since the server started, as all counts"`
	Written   uint64            `json:"written"`
	Dead      map[string]uint64 `json:"dead_letters" doc:"by the code of their error"`
	Dropped   uint64            `json:"dropped"`
	Retries   map[string]uint64 `json:"retries" doc:"by the code of the error"`
	Undone    uint64            `json:"transactions_undone"`
	Age       float64           `json:"age" doc:"mean seconds from a message's making to the writing of its result"`
	Replaying bool              `json:"replaying,omitempty" doc:"messages are being replayed"`
	// Configured tells who may change it.
	Configured bool `json:"configured" doc:"it stands in the server's configuration file; others were made through this API"`
}

// StreamList is a list of streams, by name.
type StreamList struct {
	Streams []Stream `json:"streams"`
}

type streams struct{ Streams }

func (s *streams) routes() []route {
	const one = "/api/v1/streams/{name}"
	return append(s.comparison(), []route{
		{method: "GET", path: "/api/v1/streams", id: "listStreams", says: "lists the streams of messages", out: StreamList{}, serve: s.list},
		s.create(), s.replace(), s.remove(), s.definition(), s.tail(), s.replay(),
		{method: "GET", path: one, id: "getStream", says: "shows a stream", out: Stream{}, serve: s.get},
		{method: "POST", path: one + "/pause", id: "pauseStream", says: "has a stream read no more; what is under way is finished", out: Stream{}, change: true, serve: s.pause(true)},
		{method: "POST", path: one + "/resume", id: "resumeStream", says: "lets a paused stream read on", out: Stream{}, change: true, serve: s.pause(false)},
	}...)
}

func (s *streams) list(c *call) (any, error) {
	l := StreamList{Streams: []Stream{}}
	for _, st := range s.List() {
		if c.tenant == "" || c.tenant == st.Tenant {
			l.Streams = append(l.Streams, showStream(st))
		}
	}
	return l, nil
}

func (s *streams) get(c *call) (any, error) {
	st, err := s.Status(c.PathValue("name"))
	if err == nil && c.tenant != "" && c.tenant != st.Tenant {
		err = serval.Errorf(serval.NotFound, "you have no stream '%s'", c.PathValue("name")).At("name")
	}
	if err != nil {
		return nil, err
	}
	return showStream(st), nil
}

func (s *streams) pause(on bool) func(*call) (any, error) {
	return func(c *call) (any, error) {
		if _, err := s.get(c); err != nil {
			return nil, err
		}
		if err := s.Pause(c.PathValue("name"), on); err != nil {
			return nil, err
		}
		return s.get(c)
	}
}

func showStream(s serval.StreamStatus) Stream {
	out := Stream{
		Name: s.Name, Model: s.Model, Tenant: s.Tenant, State: string(s.State), Reason: s.Reason, Delivery: s.Delivery, From: s.From, To: s.To, Lag: s.Lag,
		InFlight: s.InFlight, Bytes: s.Bytes, Oldest: s.Oldest, Last: s.Last, Read: s.Read, Written: s.Written, Dead: s.Dead, Dropped: s.Dropped, Retries: s.Retries, Undone: s.Aborted,
		Configured: s.Configured, Replaying: s.Replaying,
	}
	if s.Aged > 0 {
		out.Age = s.Age / float64(s.Aged)
	}
	return out
}
