package api

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"serval"
)

const ndjson = "application/x-ndjson"

// lines is the out of a route that gives one value after the other for as long as it takes; each is a value of their type.
type lines struct{ each any }

// document is the in of a route that reads YAML, or JSON, by rules of its own.
type document struct {
	name   string // of the schema
	schema func() map[string]any
	wrap   func(schema map[string]any) map[string]any // the document that holds it
}

// liner writes lines. A client that is slow holds up whoever sends, and one that takes nothing is cut off by the listener.
type liner struct {
	w     http.ResponseWriter
	rc    *http.ResponseController
	begun bool
}

// send writes a line for each value, and has them go out at once.
func (l *liner) send(values ...any) error {
	if !l.begun {
		l.begun = true
		l.w.Header().Set("Content-Type", ndjson)
		l.w.Header().Set("Cache-Control", "no-store")
		l.w.Header().Set("X-Content-Type-Options", "nosniff")
		l.w.WriteHeader(http.StatusOK)
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	for _, v := range values {
		if err := e.Encode(v); err != nil {
			return err
		}
	}
	if _, err := l.w.Write(b.Bytes()); err != nil {
		return serval.Errorf(serval.Canceled, "nobody listens: %w", err)
	}
	return l.rc.Flush()
}

// speak runs f, which sends lines; an error after the first one is the last line.
func speak(c *call, f func(*liner) error) (any, error) {
	l := &liner{w: c.w, rc: http.NewResponseController(c.w)}
	_ = l.rc.SetReadDeadline(time.Time{}) // that of the request is not for what lasts
	err := f(l)
	if err != nil && !l.begun {
		return nil, err
	}
	if err != nil {
		_ = l.send(Error{Error: detail(serval.AsError(err))}) // a client that left
	} else if !l.begun {
		_ = l.send()
	}
	return nil, errSent
}

// moment reads a parameter of the query that is a time, or how long ago that was; zero where it is not given.
func (c *call) moment(name string) (time.Time, error) {
	return moment(name, c.URL.Query().Get(name))
}

func moment(name, text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if t, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return t, nil
	}
	if d, err := time.ParseDuration(strings.TrimPrefix(text, "-")); err == nil && d >= 0 {
		return time.Now().Add(-d), nil
	}
	return time.Time{}, serval.Errorf(serval.InvalidArgument, "%s must be a time such as 2026-11-27T10:00:00Z, or how long ago it was, such as 2h; it is %.50q", name, text).At(name)
}
