package load

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/url"
	"sort"
	"strconv"
	"sync"
	"syscall"
	"time"
)

const readBuffer = 16 << 10

// restRequest writes a whole HTTP/1.1 request.
func restRequest(o *Options, p *Payload) []byte {
	b := []byte("POST /v2/models/" + url.PathEscape(p.Model))
	if v := p.Version; v != "" {
		b = append(b, "/versions/"+url.PathEscape(v)...)
	}
	b = append(b, "/infer HTTP/1.1\r\nHost: "+o.Addr+"\r\nUser-Agent: serval-bench\r\n"...)
	if p.Format == Binary {
		b = append(b, "Content-Type: application/octet-stream\r\nInference-Header-Content-Length: "...)
		b = append(strconv.AppendInt(b, int64(p.Header), 10), "\r\n"...)
	} else {
		b = append(b, "Content-Type: application/json\r\n"...)
	}
	names := make([]string, 0, len(o.Headers))
	for name := range o.Headers {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		b = append(b, name+": "+o.Headers[name]+"\r\n"...)
	}
	b = append(b, "Content-Length: "...)
	b = append(strconv.AppendInt(b, int64(len(p.Bytes)), 10), "\r\n\r\n"...)
	return append(b, p.Bytes...)
}

// restCaller sends prebuilt requests in turns over one connection.
type restCaller struct {
	o        *Options
	requests [][]byte // shared, never changed
	next     int

	read     *bufio.Reader
	response Response
	start    []byte    // of the last response's body
	deadline time.Time // that is set on conn

	mu      sync.Mutex // guards conn against abort, and aborted
	conn    net.Conn
	aborted bool
}

func (c *restCaller) call(ctx context.Context) outcome {
	var out outcome
	request := c.requests[c.next]
	c.next = (c.next + 1) % len(c.requests)
	for attempt := 0; ; attempt++ {
		reused := c.conn != nil
		if err := c.connect(ctx); err != nil {
			return failed(out, err)
		}
		_, err := c.conn.Write(request)
		if err == nil {
			c.start, err = c.response.read(c.read, c.start[:0], len(c.o.Expect))
		}
		if err == nil {
			break
		}
		c.disconnect()
		// The server may close a connection that is idle in its eyes. As nothing of an answer came, it is asked again.
		if reused && attempt == 0 && !c.response.Started && !errors.Is(err, errMalformed) && isClosed(err) {
			out.reconnects++
			continue
		}
		return failed(out, err)
	}
	out.sent = len(request)
	out.received = c.response.Size
	if c.response.Close {
		c.disconnect()
	}
	switch {
	case c.response.Status != 200:
		out.failure = "HTTP " + strconv.Itoa(c.response.Status)
		out.detail = string(c.start)
	case !bytes.HasPrefix(c.start, c.o.Expect):
		out.failure = "unexpected body"
		out.detail = string(c.start)
	}
	return out
}

// connect opens the connection if there is none, and sees to its deadline.
func (c *restCaller) connect(ctx context.Context) error {
	if c.conn == nil {
		d := net.Dialer{Timeout: c.o.Timeout}
		conn, err := d.DialContext(ctx, "tcp", c.o.Addr)
		if err != nil {
			return err
		}
		c.mu.Lock()
		c.conn = conn
		aborted := c.aborted
		c.mu.Unlock()
		if aborted {
			return context.Canceled
		}
		c.deadline = time.Time{}
		if c.read == nil {
			c.read = bufio.NewReaderSize(conn, readBuffer)
		} else {
			c.read.Reset(conn)
		}
	}
	// Setting a deadline costs as much as parsing the answer, so it is moved only when a quarter of it has passed: a
	// request's time-out is between 1 and 1.25 times what was asked for.
	slack := c.o.Timeout / 4
	if now := time.Now(); c.deadline.Before(now.Add(c.o.Timeout)) {
		c.deadline = now.Add(c.o.Timeout + slack)
		return c.conn.SetDeadline(c.deadline)
	}
	return nil
}

func (c *restCaller) disconnect() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn != nil {
		_ = c.conn.Close() // nothing is left to be sent
		c.conn = nil
	}
}

func (c *restCaller) abort() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.aborted = true
	if c.conn != nil {
		_ = c.conn.Close()
	}
}

func (c *restCaller) close() { c.disconnect() }

func isClosed(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// failed is the outcome of a call that got no whole answer.
func failed(out outcome, err error) outcome {
	var timeout net.Error
	out.detail, out.pause = err.Error(), true
	switch {
	case errors.As(err, &timeout) && timeout.Timeout():
		out.failure = "timeout"
	case errors.Is(err, syscall.ECONNREFUSED):
		out.failure = "connection refused"
	case errors.Is(err, errMalformed):
		out.failure = "malformed response"
	case isClosed(err) || errors.Is(err, io.ErrUnexpectedEOF):
		out.failure = "connection closed"
	case errors.Is(err, context.Canceled) || errors.Is(err, net.ErrClosed):
		out.failure = "canceled"
	default:
		out.failure = "connection error"
	}
	return out
}
