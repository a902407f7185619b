package protocol

import (
	"net/http"
	"sync"
	"time"
)

// Events writes an answer piece by piece: server-sent events, or lines of JSON. Nothing is sent before the first piece, so
// that what fails before it still has a status of its own. Its methods may be called by one goroutine at a time; the pings
// of a quiet stream come from a timer, which Close stops.
type Events struct {
	w    http.ResponseWriter
	kind string
	ping time.Duration

	mu    sync.Mutex // between the writer and the timer
	flush *http.ResponseController
	timer *time.Timer
	begun bool
	done  bool
	err   error
}

// pingEvery keeps proxies from closing a stream that waits for its next token.
const pingEvery = 15 * time.Second

// NewEvents makes a text/event-stream, which is kept open by comments.
func NewEvents(w http.ResponseWriter) *Events {
	return &Events{w: w, kind: "text/event-stream; charset=utf-8", ping: pingEvery, flush: http.NewResponseController(w)}
}

// NewLines makes a stream of JSON lines.
func NewLines(w http.ResponseWriter) *Events {
	return &Events{w: w, kind: "application/x-ndjson", flush: http.NewResponseController(w)}
}

// Begun says whether anything was sent, and with it the status 200.
func (e *Events) Begun() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.begun
}

// Write sends bytes as they are, with the ends of lines that the format wants in them, at once. An error means that the
// client is gone.
func (e *Events) Write(p []byte) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.begin()
	return e.send(p)
}

func (e *Events) begin() {
	if e.begun {
		return
	}
	e.begun = true
	h := e.w.Header()
	h["Content-Type"] = []string{e.kind}
	h["Cache-Control"] = []string{"no-cache"}
	h["X-Accel-Buffering"] = []string{"no"} // nginx would collect the events
	e.w.WriteHeader(http.StatusOK)
	if e.ping > 0 {
		e.timer = time.AfterFunc(e.ping, e.quiet)
	}
}

func (e *Events) send(p []byte) error {
	if e.err != nil {
		return e.err
	}
	if _, e.err = e.w.Write(p); e.err == nil {
		e.err = e.flush.Flush()
	}
	if e.timer != nil && !e.done {
		e.timer.Reset(e.ping)
	}
	return e.err
}

// quiet is called by the timer.
func (e *Events) quiet() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.done {
		_ = e.send([]byte(": ping\n\n"))
	}
}

// Close stops the pings; the handler must call it before it returns.
func (e *Events) Close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.done = true
	if e.timer != nil {
		e.timer.Stop()
	}
}
