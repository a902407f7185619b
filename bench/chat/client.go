package chat

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"syscall"
	"time"

	"serval/bench/load"
)

const (
	readBuffer  = 16 << 10
	maxAnswer   = 256 << 20 // bytes of an answer with embeddings
	errorSample = 512       // bytes that are kept of an error's body
	drainTime   = time.Second
)

var errDone = errors.New("[DONE]")

// client is one caller's connection. Its calls never overlap.
type client struct {
	o      *Options
	target *target

	read     *bufio.Reader
	response load.Response
	events   events
	skim     skim
	request  []byte
	each     func([]byte) error // c.event
	call     *Call              // under way
	now      time.Time          // when the piece arrived that is looked at
	arrived  func(time.Time)    // told of every delta
	finished bool               // finish_reason has come
	usage    bool               // so has the usage
	text     []byte

	mu      sync.Mutex // guards conn against abort, and aborted
	conn    net.Conn
	aborted bool

	used bool // conn has carried an answer
}

func newClient(o *Options, t *target, arrived func(time.Time)) *client {
	c := &client{o: o, target: t, arrived: arrived}
	c.each = c.event
	c.skim.keep = o.Workload.Turns > 1
	return c
}

// do makes one request, of which spoken is the workload's part, and notes in call how it went.
func (c *client) do(ctx context.Context, call *Call, spoken []byte) {
	c.call = call
	c.finished, c.usage, c.text = false, false, c.text[:0]
	c.request = c.target.append(c.request[:0], spoken, call.MaxTokens)
	if !c.target.max {
		call.MaxTokens = 0
	}
	if !c.send(ctx) {
		return
	}
	call.sent = len(c.request)
	switch {
	case c.response.Status != 200:
		c.refusal()
	case c.o.API == Embeddings:
		c.vectors()
	default:
		c.stream()
	}
	call.received = c.response.Size
	if call.Failure != "" || c.response.Close {
		c.disconnect()
	}
}

// send sends the request and waits for the answer's head. It reports false where the call has failed.
func (c *client) send(ctx context.Context) bool {
	for {
		if err := c.connect(ctx); err != nil {
			c.disconnect()
			c.call.fail(unreachable(err), err.Error())
			return false
		}
		_, err := c.conn.Write(c.request)
		// A server may answer and close before it has read everything, so the answer counts more than the error.
		started := c.response.Begin(c.read)
		if started == nil {
			c.used = true
			return true
		}
		c.disconnect()
		if err == nil || c.response.Started {
			err = started
		}
		reason := Closed
		if c.used && !c.response.Started {
			reason = ClosedKept
		}
		reason = lost(err, reason)
		if reason != ClosedKept || !c.o.Retry {
			c.call.fail(reason, err.Error())
			return false
		}
		c.call.retried++ // at most once: the next connection is a new one
	}
}

// refusal takes an answer that is none.
func (c *client) refusal() {
	body, err := c.whole(errorSample)
	c.call.fail("HTTP "+strconv.Itoa(c.response.Status), string(body))
	if err != nil {
		c.response.Close = true
	}
}

// whole reads what the body holds and keeps the first most bytes.
func (c *client) whole(most int) ([]byte, error) {
	body := c.text[:0]
	for {
		b, err := c.response.Next(c.read)
		if errors.Is(err, io.EOF) {
			c.text = body
			return body, nil
		}
		if err != nil {
			return body, err
		}
		body = append(body, b[:min(len(b), most-len(body))]...)
	}
}

// vectors takes an answer with embeddings.
func (c *client) vectors() {
	body, err := c.whole(maxAnswer)
	c.now = time.Now()
	if err != nil {
		c.call.fail(lost(err, Cut), err.Error())
		return
	}
	if err := c.skim.read(body); err != nil {
		c.call.fail(BadAnswer, fmt.Sprintf("%v: %.200q", err, body))
		return
	}
	switch s := &c.skim; {
	case s.failed:
		c.call.fail(BadAnswer, string(s.why))
	case s.vectors != c.call.Texts && len(c.o.Workload.Prompts) == 0:
		c.call.fail(BadAnswer, fmt.Sprintf("%d embeddings of %d texts", s.vectors, c.call.Texts))
	case !s.usage && !c.o.NoUsage:
		c.call.fail(NoUsage, "the answer has no usage")
	}
	c.tokens()
}

// stream takes an answer's events as they arrive.
func (c *client) stream() {
	c.events.reset()
	for {
		b, err := c.response.Next(c.read)
		c.now = time.Now()
		if errors.Is(err, io.EOF) {
			c.ended()
			return
		}
		if err != nil {
			c.call.fail(lost(err, Cut), fmt.Sprintf("after %d deltas: %v", c.call.Deltas, err))
			return
		}
		if err := c.events.feed(b, c.each); errors.Is(err, errDone) {
			c.drain()
			return
		} else if err != nil {
			if c.call.Failure == "" {
				c.call.fail(BadEvent, err.Error())
			}
			return
		}
	}
}

// event takes one event.
func (c *client) event(data []byte) error {
	if string(data) == "[DONE]" {
		return errDone
	}
	s := &c.skim
	if err := s.read(data); err != nil {
		return fmt.Errorf("%w: %.200q", err, data)
	}
	if s.failed {
		c.call.fail(ErrorEvent, fmt.Sprintf("after %d deltas: %.400s", c.call.Deltas, s.why))
		return errors.New(ErrorEvent)
	}
	if s.output {
		c.call.content(c.now)
		c.arrived(c.now)
		if s.keep {
			c.text = append(c.text, s.text...)
		}
	}
	if s.finish != nil {
		c.finished, c.call.Finish = true, string(s.finish)
	}
	if s.usage {
		c.tokens()
	}
	if s.reused >= 0 {
		c.call.cacheKnown, c.call.CachedTokens = true, max(c.call.CachedTokens, s.reused)
	}
	return nil
}

// tokens takes the usage.
func (c *client) tokens() {
	s := &c.skim
	c.usage = s.usage
	c.call.PromptTokens, c.call.OutputTokens = s.prompt, s.answered
	if s.cached >= 0 {
		c.call.cacheKnown, c.call.CachedTokens = true, max(c.call.CachedTokens, s.cached)
	}
}

// drain reads on after the last event, so that the connection can be used again. Nothing more can be lost.
func (c *client) drain() {
	c.complete()
	_ = c.conn.SetReadDeadline(time.Now().Add(drainTime)) // that it is closed is found out below
	for {
		if _, err := c.response.Next(c.read); err != nil {
			c.response.Close = c.response.Close || !errors.Is(err, io.EOF)
			return
		}
	}
}

// ended is the end of a body without [DONE]; that its empty line is missing is forgiven.
func (c *client) ended() {
	if rest := bytes.TrimSpace(append(c.events.rest(), c.events.line...)); string(rest) == "[DONE]" || string(rest) == "data: [DONE]" {
		c.complete()
		return
	}
	c.call.fail(NoDone, fmt.Sprintf("the answer ended after %d deltas", c.call.Deltas))
}

// complete judges an answer that was whole.
func (c *client) complete() {
	c.call.End = c.now
	switch {
	case !c.finished:
		c.call.fail(NoFinish, fmt.Sprintf("[DONE] after %d deltas", c.call.Deltas))
	case !c.usage && !c.o.NoUsage:
		c.call.fail(NoUsage, fmt.Sprintf("finish_reason %q, %d deltas; if the server has none to give, run without asking for it", c.call.Finish, c.call.Deltas))
	case c.o.NoUsage && !c.usage:
		c.call.OutputTokens = int64(c.call.Deltas)
	}
	if c.skim.keep {
		c.call.Sentence = string(c.text)
	}
}

// connect opens the connection if there is none, or if the server closed it between two requests.
func (c *client) connect(ctx context.Context) error {
	deadline := time.Now().Add(c.o.Timeout)
	if c.conn != nil && (c.read.Buffered() > 0 || hasEnded(c.conn)) {
		c.disconnect()
		c.call.reconnects++
	}
	if c.conn == nil {
		dialer := net.Dialer{Deadline: deadline}
		conn, err := dialer.DialContext(ctx, "tcp", c.target.addr)
		if err != nil {
			return err
		}
		if c.target.tls != nil {
			secure := tls.Client(conn, c.target.tls)
			if err := c.shake(ctx, secure); err != nil {
				_ = conn.Close() // nothing was sent
				return err
			}
			conn = secure
		}
		c.mu.Lock()
		c.conn = conn
		aborted := c.aborted
		c.mu.Unlock()
		if aborted {
			return context.Canceled
		}
		c.used = false
		if c.read == nil {
			c.read = bufio.NewReaderSize(conn, readBuffer)
		} else {
			c.read.Reset(conn)
		}
	}
	return c.conn.SetDeadline(deadline)
}

func (c *client) shake(ctx context.Context, conn *tls.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, c.o.Timeout)
	defer cancel()
	return conn.HandshakeContext(ctx)
}

func (c *client) disconnect() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn != nil {
		_ = c.conn.Close() // nothing is left to be sent
		c.conn = nil
	}
}

// abort ends a call in flight and all later ones; it may run at the same time as do.
func (c *client) abort() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.aborted = true
	if c.conn != nil {
		_ = c.conn.Close()
	}
}

// unreachable is the reason where no connection came about.
func unreachable(err error) string {
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return Refused
	case timedOut(err):
		return TimedOut
	}
	return Unreachable
}

// lost is the reason where an answer did not come whole.
func lost(err error, closed string) string {
	switch {
	case timedOut(err):
		return TimedOut
	case load.IsMalformed(err):
		return BadHTTP
	}
	return closed
}

func timedOut(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}
