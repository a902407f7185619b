package chat

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestFailures tells every way in which an answer can be lost apart.
func TestFailures(t *testing.T) {
	const role, word, finish = `data: {"choices":[{"delta":{"role":"assistant","content":""}}]}` + "\n\n", `data: {"choices":[{"delta":{"content":"x"}}]}` + "\n\n",
		`data: {"choices":[{"delta":{},"finish_reason":"stop"}]}` + "\n\n"
	const usage, done = `data: {"choices":[],"usage":{"prompt_tokens":2,"completion_tokens":1}}` + "\n\n", "data: [DONE]\n\n"
	write := func(parts ...string) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) {
			for _, p := range parts {
				fmt.Fprint(w, p)
				w.(http.Flusher).Flush()
			}
		}
	}
	hijack := func(then func(net.Conn)) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			then(conn)
		}
	}
	raw := func(text string) func(http.ResponseWriter) {
		return hijack(func(c net.Conn) { _, _ = io.WriteString(c, text) })
	}
	chunk := func(text string) string { return fmt.Sprintf("%x\r\n%s\r\n", len(text), text) }
	const head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
	release := make(chan struct{})
	// Of four answers the first and the third are these; a connection that carried the second is a kept one for the third.
	for name, c := range map[string]struct {
		answer func(http.ResponseWriter)
		reason string
		detail string
	}{
		"whole":           {write(role, word, finish, usage, done), "", ""},
		"no empty line":   {write(role, word, finish, usage, "data: [DONE]"), "", ""},
		"closed after it": {raw(head + chunk(word+finish+usage+done)), "", ""},
		"to the end":      {raw("HTTP/1.1 200 OK\r\n\r\n" + word + finish + usage + done), "", ""},
		"500":             {func(w http.ResponseWriter) { http.Error(w, "no room", 500) }, "HTTP 500", "no room"},
		"closed":          {hijack(func(net.Conn) {}), Closed, ""},
		"reset":           {hijack(func(c net.Conn) { _ = c.(*net.TCPConn).SetLinger(0) }), Closed, ""},
		"cut":             {raw(head + chunk(role+word)), Cut, "after 1 deltas"},
		"cut in a chunk":  {raw(head + "fff\r\n" + word), Cut, ""},
		"cut in the head": {raw("HTTP/1.1 200 OK\r\nTransfer-"), Closed, "unexpected EOF"},
		"half closed": {hijack(func(c net.Conn) {
			_, _ = io.WriteString(c, head+chunk(word))
			_ = c.(*net.TCPConn).CloseWrite()
			<-release
		}), Cut, "after 1 deltas"},
		"no done":             {write(role, word, finish, usage), NoDone, "after 1 deltas"},
		"no done, to the end": {raw("HTTP/1.1 200 OK\r\n\r\n" + word + finish + usage), NoDone, ""},
		"no finish":           {write(role, word, usage, done), NoFinish, ""},
		"no usage":            {write(role, word, finish, done), NoUsage, "without asking"},
		"bad JSON":            {write(role, "data: {\"choices\":[}\n\n"), BadEvent, "not JSON"},
		"no stream":           {write(`{"choices":[{"message":{"content":"x"}}]}` + "\n"), BadEvent, "choices"},
		"error":               {write(role, word, `data: {"error":{"message":"the model died"}}`+"\n\n", done), ErrorEvent, "after 1 deltas: the model died"},
		"bad HTTP":            {raw("SSH-2.0-x\r\n"), BadHTTP, "SSH"},
		"bad chunk":           {raw(head + "zz\r\n"), BadHTTP, "zz"},
		"silent":              {hijack(func(net.Conn) { <-release }), TimedOut, ""},
		"stalled":             {hijack(func(c net.Conn) { _, _ = io.WriteString(c, head+chunk(word)); <-release }), TimedOut, "after 1 deltas"},
	} {
		t.Run(name, func(t *testing.T) {
			v := newVendor(t, &vendor{before: func(w http.ResponseWriter, _ *http.Request, n int) bool {
				if n%2 == 1 { // the next is answered well: a failure does not spoil what follows
					c.answer(w)
				}
				return n%2 == 1
			}})
			limit := time.Minute
			if c.reason == TimedOut {
				limit = 100 * time.Millisecond
			}
			r := measure(t, Options{URL: v.addr, Count: 4, Concurrency: 1, Timeout: limit, Workload: Workload{Tokens: Fixed(1)}})
			want, lost := map[string]uint64{}, uint64(0)
			if c.reason != "" {
				want[c.reason], lost = 2, 2
			}
			if name == "closed" || name == "reset" {
				want = map[string]uint64{Closed: 1, ClosedKept: 1}
			}
			if r.Requests != 4 || len(v.seen) != 4 || fmt.Sprint(r.FailuresBy) != fmt.Sprint(want) || !strings.Contains(r.FirstFailure, c.detail) {
				t.Errorf("%d seen, %v, first %q, want %v with %q", len(v.seen), r.FailuresBy, r.FirstFailure, want, c.detail)
			}
			if wantTokens := 4 - lost; r.OutputTokens != wantTokens || r.Requests-r.Failures != wantTokens {
				t.Errorf("%+v", r)
			}
		})
	}
	close(release)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	if r := measure(t, Options{URL: "http://" + l.Addr().String(), Count: 3}); r.FailuresBy[Refused] != 3 {
		t.Errorf("%+v", r)
	}
}

// What is lost on a kept connection can be sent again, once; on a new connection it is lost.
func TestRetry(t *testing.T) {
	v := newVendor(t, &vendor{before: func(w http.ResponseWriter, _ *http.Request, n int) bool {
		if n != 3 && n < 5 { // 1, 2, 4 are answered
			return false
		}
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return true
		}
		_ = conn.Close()
		return true
	}})
	r := measure(t, Options{URL: v.addr, Count: 4, Concurrency: 1, Retry: true, Workload: Workload{Tokens: Fixed(1)}})
	// The third is sent again; the fourth is lost twice.
	if len(v.seen) != 6 || r.Requests != 4 || r.Retried != 2 || r.Failures != 1 || r.FailuresBy[Closed] != 1 || !strings.Contains(r.Text(), "retried") {
		t.Errorf("%d seen, %+v", len(v.seen), r)
	}
}

// A server that closes what is idle loses nothing: that is seen before a request goes out.
func TestIdleConnectionsThatWereClosed(t *testing.T) {
	closed := make(chan struct{}, 16)
	v := &vendor{t: t}
	s := &http.Server{Handler: v, IdleTimeout: time.Millisecond, ConnState: func(_ net.Conn, state http.ConnState) {
		if state == http.StateClosed {
			closed <- struct{}{}
		}
	}}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() { _ = s.Serve(l) })
	o, err := Options{URL: l.Addr().String(), Model: "m", Count: 3, Workload: Workload{Tokens: Fixed(1)}}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	target, err := newTarget(&o)
	if err != nil {
		t.Fatal(err)
	}
	c := newClient(&o, target, func(time.Time) {})
	for i := range 3 {
		call := &Call{MaxTokens: 1}
		c.do(t.Context(), call, []byte(`,"messages":[]`))
		if call.Failure != "" || call.reconnects != min(i, 1) {
			t.Errorf("request %d: %+v", i, call)
		}
		<-closed
	}
	c.disconnect()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	serving.Wait()
}
