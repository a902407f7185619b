package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"serval"
)

// StreamLook says which messages of a stream are shown. The zero value of a field is the server's default.
type StreamLook struct {
	Place  string // source, target, dead
	Last   int    // the newest so many; below 0: the server's default
	Follow bool
	Since  string // a time, or how long ago
	Keys   []string
	Bytes  int // of each value
}

// StreamMessage is a message of a broker. What is not UTF-8 is in the Raw fields.
type StreamMessage struct {
	Topic     string         `json:"topic"`
	Partition int32          `json:"partition"`
	Offset    int64          `json:"offset"`
	ID        string         `json:"id,omitempty"`
	Time      time.Time      `json:"time,omitzero"`
	Key       *string        `json:"key,omitempty"`
	KeyRaw    []byte         `json:"key_base64,omitempty"`
	Value     *string        `json:"value,omitempty"`
	ValueRaw  []byte         `json:"value_base64,omitempty"`
	Size      int            `json:"size"`
	Headers   []StreamHeader `json:"headers,omitempty"`
}

// StreamHeader is a header of a message.
type StreamHeader struct {
	Name     string  `json:"name"`
	Value    *string `json:"value,omitempty"`
	ValueRaw []byte  `json:"value_base64,omitempty"`
}

// TailStream shows messages until all were shown, or with Follow until ctx ends.
func (c *Client) TailStream(ctx context.Context, name string, look StreamLook, show func(*StreamMessage) error) error {
	q := url.Values{"key": look.Keys}
	set := func(key, value string) {
		if value != "" && value != "0" && value != "false" {
			q.Set(key, value)
		}
	}
	set("place", look.Place)
	set("since", look.Since)
	set("follow", strconv.FormatBool(look.Follow))
	set("bytes", strconv.Itoa(look.Bytes))
	if look.Last >= 0 {
		q.Set("last", strconv.Itoa(look.Last))
	}
	return c.lines(ctx, http.MethodGet, streamsPath+"/"+url.PathEscape(name)+"/messages?"+q.Encode(), nil, func(line []byte) error {
		var m StreamMessage
		if err := json.Unmarshal(line, &m); err != nil {
			return c.garbled(streamsPath, err)
		}
		return show(&m)
	})
}

// StreamReplay says which messages go through a stream again; see the control API.
type StreamReplay struct {
	What   string          `json:"what"` // dead_letters, source
	From   []string        `json:"from,omitempty"`
	To     []string        `json:"to,omitempty"`
	Codes  []string        `json:"codes,omitempty"`
	Keys   []string        `json:"keys,omitempty"`
	Limit  int64           `json:"limit,omitempty"`
	Again  bool            `json:"again,omitempty"`
	DryRun bool            `json:"dry_run,omitempty"`
	Target json.RawMessage `json:"target,omitempty"`
}

// StreamReplayed says how far a replay is.
type StreamReplayed struct {
	What       string            `json:"what"`
	Of         int64             `json:"of"` // -1: not known
	Read       int64             `json:"read"`
	Replayed   int64             `json:"replayed"`
	Others     int64             `json:"others"`
	Before     int64             `json:"before"`
	Incomplete int64             `json:"incomplete"`
	Failed     int64             `json:"failed"`
	Reason     string            `json:"reason,omitempty"`
	Codes      map[string]int64  `json:"codes,omitempty"`
	Dead       map[string]uint64 `json:"dead_letters,omitempty"`
	DryRun     bool              `json:"dry_run,omitempty"`
	Ended      bool              `json:"ended"`
}

// ReplayStream has messages go through a stream again for as long as it is called; said tells how far it is.
func (c *Client) ReplayStream(ctx context.Context, name string, ask *StreamReplay, said func(*StreamReplayed) error) error {
	body, err := json.Marshal(ask)
	if err != nil {
		return serval.Errorf(serval.InvalidArgument, "the request cannot be written as JSON: %w", err)
	}
	return c.lines(ctx, http.MethodPost, streamsPath+"/"+url.PathEscape(name)+"/replay", body, func(line []byte) error {
		var r StreamReplayed
		if err := json.Unmarshal(line, &r); err != nil {
			return c.garbled(streamsPath, err)
		}
		return said(&r)
	})
}

// lines calls each for every JSON value of an answer, as they come. A value with an error is the answer's end.
func (c *Client) lines(ctx context.Context, method, path string, body []byte, each func([]byte) error) error {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(body))
	if err != nil {
		return serval.Errorf(serval.InvalidArgument, "server address %q: %w", c.base, err).At("server")
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
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
		text, _ := io.ReadAll(io.LimitReader(resp.Body, maxError)) // what is there of it serves as the message
		return refusal(resp, text)
	}
	for d := json.NewDecoder(resp.Body); ; {
		var line json.RawMessage
		if err := d.Decode(&line); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return c.unreachable(ctx, err)
		}
		var failed struct{ Error json.RawMessage }
		if json.Unmarshal(line, &failed) == nil && failed.Error != nil {
			said := readError(failed.Error)
			return serval.Errorf(codeOf(said.Code), "%s", said.Message).At(said.Param)
		}
		if err := each(line); err != nil {
			return err
		}
	}
}

// codeOf is the class that a server names.
func codeOf(name string) serval.Code {
	for c := serval.Internal; c <= serval.DeadlineExceeded; c++ {
		if c.String() == name {
			return c
		}
	}
	return serval.Internal
}
