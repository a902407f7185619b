package api

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"serval"
)

// StreamReader shows and replays messages of a stream's places.
type StreamReader interface {
	// Tail shows messages. send is called with those of one moment; its error ends it.
	Tail(ctx context.Context, name string, look StreamLook, send func([]StreamMessage) error) error
	// Replay has messages go through the stream again. said is called now and then with how far it is, and at the end.
	Replay(ctx context.Context, name string, ask *StreamReplay, said func(*StreamReplayed) error) error
}

// The places of a stream.
const (
	PlaceSource = "source"
	PlaceTarget = "target"
	PlaceDead   = "dead"
)

// StreamLook says what is looked at.
type StreamLook struct {
	Place  string
	Last   int // the newest so many
	Since  time.Time
	Follow bool
	Keys   []string // only messages with one of these keys
	Bytes  int      // of a value that are shown
}

// StreamMessage is a message of a broker. Text that is not UTF-8 is given in base64.
type StreamMessage struct {
	Topic     string         `json:"topic"`
	Partition int32          `json:"partition"`
	Offset    int64          `json:"offset"`
	ID        string         `json:"id,omitempty" doc:"where the broker has no partitions and offsets"`
	Time      time.Time      `json:"time,omitzero"`
	Key       *string        `json:"key,omitempty"`
	KeyRaw    []byte         `json:"key_base64,omitempty"`
	Value     *string        `json:"value,omitempty"`
	ValueRaw  []byte         `json:"value_base64,omitempty"`
	Size      int            `json:"size" doc:"bytes of the value; more than are shown where it was cut"`
	Headers   []StreamHeader `json:"headers,omitempty"`
}

// StreamHeader is a header of a message.
type StreamHeader struct {
	Name     string  `json:"name"`
	Value    *string `json:"value,omitempty"`
	ValueRaw []byte  `json:"value_base64,omitempty"`
}

// Shown are bytes as text, or else as they are.
func Shown(raw []byte) (text *string, bytes []byte) {
	if raw == nil {
		return nil, nil
	}
	if utf8.Valid(raw) {
		t := string(raw)
		return &t, nil
	}
	return nil, raw
}

const (
	maxLast     = 10_000
	usualLast   = 10
	usualBytes  = 64 << 10
	maxBytes    = 1 << 20
	maxFilters  = 1000
	maxReplayed = 1 << 40
)

func (s *streams) tail() route {
	return route{method: "GET", path: oneStream + "/messages", id: "tailStream", out: lines{StreamMessage{}},
		says: "shows messages of a stream's source, target or place of dead letters, without anybody noticing",
		query: []param{{"place", "source, target (default) or dead"}, {"last", "the newest so many, at most 10000; default: 10, or with since all"}, {"follow", "true: goes on with what comes"},
			{"since", "only messages from that time on, or of so long: 2026-11-27T10:00:00Z, 2h"}, {"key", "only messages with this key; may be given several times; without since, the newest 10000 of each partition are looked through"},
			{"bytes", "of each value, at most 1048576; default: 65536"}},
		serve: func(c *call) (any, error) {
			if _, err := s.get(c); err != nil {
				return nil, err
			}
			look, err := lookOf(c)
			if err != nil {
				return nil, err
			}
			return speak(c, func(l *liner) error {
				return s.Tail(c.Context(), c.PathValue("name"), look, func(list []StreamMessage) error {
					values := make([]any, len(list))
					for i := range list {
						values[i] = &list[i]
					}
					return l.send(values...)
				})
			})
		}}
}

func lookOf(c *call) (l StreamLook, err error) {
	q := c.URL.Query()
	if l.Place = q.Get("place"); l.Place == "" {
		l.Place = PlaceTarget
	}
	if !slices.Contains([]string{PlaceSource, PlaceTarget, PlaceDead}, l.Place) {
		return l, serval.Errorf(serval.InvalidArgument, "place must be source, target or dead, not %.50q", l.Place).At("place")
	}
	if l.Since, err = c.moment("since"); err != nil {
		return l, err
	}
	if l.Follow, err = c.yes("follow"); err != nil {
		return l, err
	}
	last, err := c.number("last")
	if err == nil && last > maxLast {
		err = serval.Errorf(serval.InvalidArgument, "last must be at most %d, not %d", maxLast, last).At("last")
	}
	if err != nil {
		return l, err
	}
	if l.Last = int(last); q.Get("last") == "" {
		l.Last = usualLast
		if !l.Since.IsZero() {
			l.Last = -1
		}
	}
	size, err := c.number("bytes")
	if err == nil && size > maxBytes {
		err = serval.Errorf(serval.InvalidArgument, "bytes must be at most %d, not %d", maxBytes, size).At("bytes")
	}
	if l.Bytes = int(size); q.Get("bytes") == "" {
		l.Bytes = usualBytes
	}
	l.Keys = q["key"]
	return l, err
}

// StreamReplay says which messages go through a stream again.
type StreamReplay struct {
	What   string          `json:"what" enum:"dead_letters,source" doc:"dead_letters: they go back to the source, as they were; source: its messages go through the model once more, and the results to the target. The running stream is not disturbed"`
	From   []string        `json:"from,omitempty" doc:"a time (2026-11-27T10:00:00Z, or 2h ago), or positions: topic/partition@offset, for each partition that is meant"`
	To     []string        `json:"to,omitempty" doc:"a time or positions before which it ends; default: what there is now"`
	Codes  []string        `json:"codes,omitempty" doc:"of dead letters: only those of errors with these codes"`
	Keys   []string        `json:"keys,omitempty" doc:"only messages with these keys"`
	Limit  int64           `json:"limit,omitempty" doc:"at most so many; 0: all"`
	Again  bool            `json:"again,omitempty" doc:"also what was replayed before, or, of a source, what an interrupted replay of the same range has done"`
	DryRun bool            `json:"dry_run,omitempty" doc:"nothing is written: counts alone"`
	Target json.RawMessage `json:"target,omitempty" doc:"of a source: another target than the stream's, as in its definition, or the YAML of that as a text"`
}

// StreamReplayed says how far a replay is.
type StreamReplayed struct {
	What     string            `json:"what"`
	Of       int64             `json:"of" doc:"messages that are looked at in all, or a few more; -1: not known"`
	Read     int64             `json:"read" doc:"messages that were looked at"`
	Replayed int64             `json:"replayed" doc:"messages that went back to the source, or whose results were written; with dry_run: would"`
	Others   int64             `json:"others" doc:"messages that were not asked for"`
	Before   int64             `json:"before" doc:"messages that were replayed earlier"`
	Lost     int64             `json:"incomplete" doc:"dead letters whose value was too large to be kept: they cannot be replayed"`
	Failed   int64             `json:"failed" doc:"messages that were refused for good"`
	Reason   string            `json:"reason,omitempty" doc:"why the last of those was, or what it waits for"`
	Codes    map[string]int64  `json:"codes,omitempty" doc:"of dead letters: those that were replayed by the code of their error"`
	Dead     map[string]uint64 `json:"dead_letters,omitempty" doc:"of a source: new dead letters by the code of their error"`
	DryRun   bool              `json:"dry_run,omitempty"`
	Ended    bool              `json:"ended" doc:"this is the last line, and all is done"`
}

func (s *streams) replay() route {
	return route{method: "POST", path: oneStream + "/replay", id: "replayStream", in: StreamReplay{}, out: lines{StreamReplayed{}}, change: true,
		says: "has messages go through a stream again, for as long as the caller listens; lines say how far it is. What was done is remembered: the same call goes on where one was cut off",
		serve: func(c *call) (any, error) {
			if _, err := s.get(c); err != nil {
				return nil, err
			}
			var ask StreamReplay
			if err := c.body(&ask); err != nil {
				return nil, err
			}
			if err := ask.check(); err != nil {
				return nil, err
			}
			return speak(c, func(l *liner) error {
				return s.Replay(c.Context(), c.PathValue("name"), &ask, func(r *StreamReplayed) error { return l.send(r) })
			})
		}}
}

func (r *StreamReplay) check() error {
	switch {
	case r.What != "dead_letters" && r.What != "source":
		return serval.Errorf(serval.InvalidArgument, "what must be dead_letters or source, not %.50q", r.What).At("what")
	case r.What == "source" && len(r.Codes) > 0:
		return serval.Errorf(serval.InvalidArgument, "codes are of dead letters; messages of a source have none").At("codes")
	case r.What == "source" && len(r.From) == 0:
		return serval.Errorf(serval.InvalidArgument, "from is missing; say from which time or position on the source's messages are to be replayed").At("from")
	case r.What == "dead_letters" && len(r.Target) > 0:
		return serval.Errorf(serval.InvalidArgument, "dead letters go back to the source; target is for what=source").At("target")
	case r.Limit < 0 || r.Limit > maxReplayed:
		return serval.Errorf(serval.InvalidArgument, "limit must be a number of messages, not %d", r.Limit).At("limit")
	case len(r.Codes) > maxFilters || len(r.Keys) > maxFilters:
		return serval.Errorf(serval.InvalidArgument, "codes and keys take at most %d each", maxFilters).At("keys")
	}
	for _, code := range r.Codes {
		if !slices.Contains(codes(), code) {
			return serval.Errorf(serval.InvalidArgument, "codes: there is no code %.50q; there are %s", code, strings.Join(codes(), ", ")).At("codes")
		}
	}
	return nil
}

func codes() (list []string) {
	for c := serval.Internal; c <= serval.DeadlineExceeded; c++ {
		list = append(list, c.String())
	}
	return list
}

// Moment reads one end of a range that is given as a time; ok is false where it is given as positions.
func Moment(name string, list []string) (t time.Time, ok bool, err error) {
	if len(list) == 0 || len(list) > 1 || strings.Contains(list[0], "@") {
		return time.Time{}, len(list) == 0, nil
	}
	t, err = moment(name, list[0])
	return t, true, err
}
