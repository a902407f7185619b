//go:build hurt

package hurt

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"serval/bench/load"
	"serval/internal/testkit"
	"serval/wire/inference"
)

// impatient has short limits, so that the tests see them at work.
const impatient = "limits: {header_timeout: 1s, body_timeout: 2s, idle_timeout: 3s}\nlog: {access: false}\n"

// TestClients: clients that are slow, leave, send rubbish, or do not read. They are cut off, and the others notice nothing.
func TestClients(t *testing.T) {
	both(t, func(t *testing.T, b build) {
		t.Run("loris", func(t *testing.T) { clientsLoris(t, b) })
		t.Run("leave", func(t *testing.T) { clientsLeave(t, b) })
		t.Run("half", func(t *testing.T) { clientsHalfClosed(t, b) })
		t.Run("garbage", func(t *testing.T) { clientsGarbage(t, b) })
		t.Run("deaf", func(t *testing.T) { clientsDeaf(t, b) })
		t.Run("refused", func(t *testing.T) { clientsRefused(t, b) })
		t.Run("patient", func(t *testing.T) { clientsPatient(t, b) })
		t.Run("idle", func(t *testing.T) { clientsIdle(t, b) })
		t.Run("connections", func(t *testing.T) { clientsConnections(t, b) })
		t.Run("streams", func(t *testing.T) { clientsStreams(t, b) })
	})
}

// unaffected runs well-behaved clients beside f and fails the test where one of them notices.
func unaffected(t *testing.T, b build, s *testkit.Server, m model, f func()) {
	t.Helper()
	stop, machine := traffic(t, s, m), lateness()
	f()
	time.Sleep(500 * time.Millisecond) // f may be short, and connections take a moment
	late := machine()
	for _, r := range stop() {
		if r.Errors > 0 || r.Requests == 0 {
			t.Errorf("well-behaved clients: %s", r.Text())
		}
		if bound := 200*time.Millisecond + b.slack + late; r.Latency.P99 > bound {
			t.Errorf("well-behaved clients: p99 %v, want at most %v\n%s", r.Latency.P99, bound, r.Text())
		}
	}
}

// tcp connects, until the test ends.
func tcp(t testing.TB, addr string) *net.TCPConn {
	t.Helper()
	c, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c.(*net.TCPConn)
}

// drip sends text a byte at a time, five a second, until the server closes, and says how long that took.
func drip(c net.Conn, text string, limit time.Duration) (took time.Duration, closed bool) {
	began := time.Now()
	closes := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, c)
		close(closes)
	}()
	for i := 0; ; i++ {
		select {
		case <-closes:
			return time.Since(began), true
		case <-time.After(200 * time.Millisecond):
		}
		if time.Since(began) > limit {
			_ = c.Close()
			<-closes
			return limit, false
		}
		_, _ = c.Write([]byte{text[i%len(text)]})
	}
}

// clientsLoris sends headers and bodies so slowly that they never end.
func clientsLoris(t *testing.T, b build) {
	models := t.TempDir()
	m := fake(t, models, "m", "1ms", "")
	s := start(t, b, setup{models: models, config: impatient})
	files, routines := descriptors(t, s), goroutines(t, s)
	body := "POST " + m.path() + " HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n"
	slow := []struct {
		what, addr, first, rest string
		timeout                 time.Duration
	}{
		{"headers", s.HTTP, "POST " + m.path() + " HTTP/1.1\r\nHost: localhost\r\n", "X-A: b\r\n", time.Second},
		{"a body", s.HTTP, body, " ", 2 * time.Second},
		{"a chunked body", s.HTTP, strings.Replace(body, "Content-Length: 100000", "Transfer-Encoding: chunked", 1), "1\r\n \r\n", 2 * time.Second},
		{"nothing", s.HTTP, "", "", 3 * time.Second},
		{"HTTP/2's preface", s.GRPC, "PRI * HTTP/2.0\r\n", "\r\nSM\r\n\r\n", time.Second},
		{"nothing to gRPC", s.GRPC, "", "", time.Second},
	}
	unaffected(t, b, s, m, func() {
		var all sync.WaitGroup
		for _, k := range slow {
			for range 40 {
				all.Go(func() {
					c, err := net.Dial("tcp", k.addr)
					if err != nil {
						t.Error(err)
						return
					}
					defer c.Close()
					_, _ = io.WriteString(c, k.first)
					limit := k.timeout + 3*time.Second + b.slack // net/http closes half a second after its answer
					rest := k.rest
					if rest == "" {
						began := time.Now()
						_ = c.SetReadDeadline(began.Add(limit))
						if _, err := io.Copy(io.Discard, c); errors.Is(err, context.DeadlineExceeded) || isTimeout(err) {
							t.Errorf("%s: still open after %v", k.what, limit)
						}
						return
					}
					if took, closed := drip(c, rest, limit); !closed {
						t.Errorf("%s: still open after %v", k.what, took)
					}
				})
			}
		}
		all.Wait()
	})
	settles(t, s, 15*time.Second, files, routines)
}

func isTimeout(err error) bool {
	var e net.Error
	return errors.As(err, &e) && e.Timeout()
}

// clientsLeave has callers hang up while their requests wait: those are never computed.
func clientsLeave(t *testing.T, b build) {
	models := t.TempDir()
	m := slow(t, models)
	s := start(t, b, setup{models: models, config: "log: {access: false}\n"})
	executions := `serval_model_executions_total{model="slow"`
	before := count(t, s, executions)
	files, routines := descriptors(t, s), goroutines(t, s)
	var busy sync.WaitGroup
	busy.Go(func() { // 3 s: what comes now waits
		if a, err := post(client(t, 20*time.Second), s.URL(m.path()), m.jsonRows(30)); err != nil || a.status != 200 {
			t.Errorf("%v %v", a, err)
		}
	})
	eventually(t, 5*time.Second, "the model computes", func() bool { return count(t, s, "serval_requests_in_flight") == 1 })
	request := fmt.Sprintf("POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", m.path(), len(m.json()), m.json())
	var conns []*net.TCPConn
	for range 20 {
		c := tcp(t, s.HTTP)
		if _, err := io.WriteString(c, request); err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var calls sync.WaitGroup
	conn := inference.NewGRPCInferenceServiceClient(dial(t, s.GRPC))
	for range 20 {
		calls.Go(func() {
			if _, err := conn.ModelInfer(ctx, m.proto()); status.Code(err) != codes.Canceled {
				t.Errorf("gRPC: %v", err)
			}
		})
	}
	if eventually(t, 2*time.Second, "40 requests wait", func() bool { return count(t, s, `serval_model_waiting{model="slow"`) == 40 }) {
		for i, c := range conns {
			if i%2 == 0 {
				_ = c.SetLinger(0) // a reset, as of a client that crashed
			}
			_ = c.Close()
		}
		cancel()
		eventually(t, 2*time.Second, "nobody waits", func() bool { return count(t, s, `serval_model_waiting{model="slow"`) == 0 })
	}
	cancel()
	calls.Wait()
	busy.Wait()
	healthy(t, s, m)
	if ran := count(t, s, executions) - before; ran != 2 {
		t.Errorf("%v executions, want 2: the one that the others waited for, and the one after", ran)
	}
	if dropped := count(t, s, `serval_model_rejected_total{model="slow",reason="canceled"`); dropped != 40 {
		t.Errorf("%v calls counted as canceled, want 40", dropped)
	}
	settles(t, s, 10*time.Second, files, routines)
}

// clientsHalfClosed sends a request and closes its own side at once. net/http takes that for a client that left; either way
// nothing is left behind.
func clientsHalfClosed(t *testing.T, b build) {
	models := t.TempDir()
	m := fake(t, models, "m", "5ms", "")
	s := start(t, b, setup{models: models, config: impatient})
	files, routines := descriptors(t, s), goroutines(t, s)
	request := fmt.Sprintf("POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s", m.path(), len(m.json()), m.json())
	unaffected(t, b, s, m, func() {
		for i := range 200 {
			addr, text := s.HTTP, request
			switch i % 4 {
			case 1:
				text = request[:len(request)/2]
			case 2:
				text = ""
			case 3:
				addr, text = s.GRPC, preface
			}
			c := tcp(t, addr)
			_, _ = io.WriteString(c, text)
			_ = c.CloseWrite()
			if i%8 < 4 {
				_ = c.Close()
			}
		}
	})
	settles(t, s, 15*time.Second, files, routines)
}

// clientsGarbage sends what is no request to each port.
func clientsGarbage(t *testing.T, b build) {
	models := t.TempDir()
	m := fake(t, models, "m", "1ms", "")
	s := start(t, b, setup{models: models, config: impatient})
	files, routines := descriptors(t, s), goroutines(t, s)
	noise := make([]byte, 64<<10)
	if _, err := rand.Read(noise); err != nil {
		t.Fatal(err)
	}
	long := bytes.Repeat([]byte("a"), 4<<20)
	infer := "POST " + m.path() + " HTTP/1.1\r\nHost: localhost\r\n"
	things := [][]byte{
		noise, noise[:1], noise[:17], make([]byte, 10000),
		[]byte("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"), // a TLS hello
		[]byte(preface), append([]byte(preface), noise...), []byte("GET / HTTP/1.1\r\n\r\n"), []byte("GET / HTTP/9.9\r\nHost: localhost\r\n\r\n"),
		append([]byte("GET /"), long...), append([]byte("GET / HTTP/1.1\r\nX: "), long...),
		[]byte(infer + "Content-Length: -1\r\n\r\n"), []byte(infer + "Content-Length: 99999999999999999999\r\n\r\n"),
		[]byte(infer + "Content-Length: 9000000000000000000\r\n\r\n{}"),
		[]byte(infer + "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}"),
		[]byte(infer + "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}"),
		[]byte(infer + "Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n{}"),
		[]byte(infer + "Transfer-Encoding: chunked\r\n\r\nzz\r\n{}"),
		append([]byte(preface), "\xff\xff\xff\x00\x00\x00\x00\x00\x01"...), // a frame of 16 MB
		append([]byte(preface), "\x00\x00\x04\x08\x00\x00\x00\x00\x00\x00\x00\x00\x00"...),
		[]byte("\x00\r\n\r\n\x00"), []byte(strings.Repeat("\r\n", 5000)), []byte("PRI * HTTP/2.0\r\n\r\n"),
	}
	unaffected(t, b, s, m, func() {
		var all sync.WaitGroup
		for _, addr := range []string{s.HTTP, s.GRPC, s.Admin} {
			for i, thing := range things {
				all.Go(func() {
					for range 2 {
						c, err := net.Dial("tcp", addr)
						if err != nil {
							t.Error(err)
							return
						}
						_ = c.SetDeadline(time.Now().Add(8*time.Second + b.slack))
						_, _ = c.Write(thing)
						if _, err := io.Copy(io.Discard, c); isTimeout(err) && addr != s.Admin { // whose limits are longer
							t.Errorf("thing %d (%.20q): still open after 8 s", i, thing)
						}
						_ = c.Close()
					}
				})
			}
		}
		all.Wait()
	})
	settles(t, s, 20*time.Second, files, routines)
}

// clientsDeaf asks for large answers and does not read them: connections on which nothing moves are closed.
func clientsDeaf(t *testing.T, b build) {
	models := t.TempDir()
	m := fake(t, models, "m", "1ms", "")
	s := start(t, b, setup{models: models, config: impatient})
	files, routines := descriptors(t, s), goroutines(t, s)
	large := m
	large.columns = 1 << 20
	p := large.payload(t, load.Binary, 2) // 8 MiB there and back
	head := fmt.Sprintf("POST %s HTTP/1.1\r\nHost: localhost\r\nInference-Header-Content-Length: %d\r\nContent-Length: %d\r\n\r\n", m.path(), p.Header, len(p.Bytes))
	var conns []net.Conn
	var pipelines sync.WaitGroup
	ctx, hangUp := context.WithCancel(context.Background())
	defer hangUp()
	unaffected(t, b, s, m, func() {
		for range 8 {
			c := tcp(t, s.HTTP)
			if _, err := c.Write(append([]byte(head), p.Bytes...)); err != nil {
				t.Error(err)
			}
			conns = append(conns, c)
		}
		for range 4 {
			pipelines.Go(func() { pipeline(ctx, t, s.HTTP) })
		}
		for i := range 4 {
			deafGRPC(t, s, large, i%2 == 0)
		}
		time.Sleep(6 * time.Second) // three times body_timeout
	})
	settles(t, s, 45*time.Second, files, routines) // the pipelines must fill the socket's buffers first, of 3 MB
	hangUp()
	pipelines.Wait()
	for _, c := range conns {
		_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
		if n, err := io.Copy(io.Discard, c); isTimeout(err) {
			t.Errorf("an answer that nobody read: the connection is still open, %d bytes came", n)
		}
	}
}

// pipeline sends small requests one after the other and reads no answer, until the server closes or ctx ends.
func pipeline(ctx context.Context, t *testing.T, addr string) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Error(err)
		return
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { _ = c.Close() })()
	many := strings.Repeat("GET /v2/models/m HTTP/1.1\r\nHost: localhost\r\n\r\n", 100)
	for {
		if _, err := io.WriteString(c, many); err != nil {
			return
		}
	}
}

// deafGRPC makes a call for 8 MiB whose client stops to read its connection.
func deafGRPC(t *testing.T, s *testkit.Server, m model, stream bool) {
	deaf := &deafConn{}
	conn := dial(t, s.GRPC, grpc.WithContextDialer(func(_ context.Context, addr string) (net.Conn, error) {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			return nil, err
		}
		deaf.Conn, deaf.left = c, 400 // the settings and some window updates
		deaf.closed = make(chan struct{})
		return deaf, nil
	}))
	c := inference.NewGRPCInferenceServiceClient(conn)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	if stream {
		st, err := c.ModelStreamInfer(ctx)
		if err != nil {
			t.Error(err)
			return
		}
		go func() { _ = st.Send(m.proto()) }() // ends with ctx
		return
	}
	go func() { _, _ = c.ModelInfer(ctx, m.proto()) }() // ends with ctx
}

// deafConn reads so many bytes and then nothing any more.
type deafConn struct {
	net.Conn
	left   int
	closed chan struct{}
	once   sync.Once
}

func (c *deafConn) Read(p []byte) (int, error) {
	if c.left <= 0 {
		<-c.closed
		return 0, net.ErrClosed
	}
	n, err := c.Conn.Read(p[:min(len(p), c.left)])
	c.left -= n
	return n, err
}

func (c *deafConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

// clientsRefused sends bodies that are too large and reads the answer only after a while: it is there, and no reset.
func clientsRefused(t *testing.T, b build) {
	models := t.TempDir()
	m := fake(t, models, "m", "1ms", "")
	s := start(t, b, setup{models: models, config: "limits: {max_body: 1MiB, max_connections: 50}\n"})
	head := "POST " + m.path() + " HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000000\r\n\r\n"
	for range 20 {
		c := tcp(t, s.HTTP)
		_, _ = io.WriteString(c, head)
		for range 20 {
			_, _ = c.Write(make([]byte, 64<<10)) // it may be closed by now
			time.Sleep(time.Millisecond)
		}
		_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
		buf := make([]byte, 4096)
		if n, err := c.Read(buf); err != nil || !bytes.HasPrefix(buf[:n], []byte("HTTP/1.1 413")) {
			t.Errorf("a body that is too large: %v %.100q, want the answer that says so", err, buf[:n])
		}
		_ = c.Close()
	}
}

// clientsPatient waits for an answer that takes longer than any limit on sending the request: those limits do not count.
func clientsPatient(t *testing.T, b build) {
	models := t.TempDir()
	m := slow(t, models)
	s := start(t, b, setup{models: models, config: impatient})
	c := client(t, 30*time.Second)
	began := time.Now()
	var calls sync.WaitGroup
	for range 2 { // 3.5 s of computing; the second waits as long before
		calls.Go(func() {
			if a, err := post(c, s.URL(m.path()), m.jsonRows(35)); err != nil || a.status != 200 {
				t.Errorf("a request of 3.5 s, body_timeout is 2 s: %v %v", a, err)
			}
		})
		calls.Go(func() {
			conn := inference.NewGRPCInferenceServiceClient(dial(t, s.GRPC))
			if _, err := conn.ModelInfer(context.Background(), m.protoRows(10)); err != nil {
				t.Errorf("gRPC, after %v: %v", time.Since(began), err)
			}
		})
	}
	calls.Wait()
}

// clientsIdle opens 2,000 connections that send nothing after a first request: cheap, and closed after idle_timeout.
func clientsIdle(t *testing.T, b build) {
	models := t.TempDir()
	m := fake(t, models, "m", "1ms", "")
	s := start(t, b, setup{models: models, config: "limits: {idle_timeout: 8s}\nlog: {access: false}\n"})
	files, routines, rss := descriptors(t, s), goroutines(t, s), s.RSS()
	request := "GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"
	unaffected(t, b, s, m, func() {
		var conns []net.Conn
		for i := range 2000 {
			addr := s.HTTP
			if i%4 == 3 {
				addr = s.GRPC
			}
			c, err := net.Dial("tcp", addr)
			if err != nil {
				t.Errorf("connection %d: %v", i, err)
				break
			}
			defer c.Close()
			conns = append(conns, c)
			if addr == s.HTTP {
				_, _ = io.WriteString(c, request)
			} else {
				_, _ = io.WriteString(c, preface+"\x00\x00\x00\x04\x00\x00\x00\x00\x00")
			}
		}
		grown := s.RSS() - rss
		t.Logf("%d connections: %d KiB each", len(conns), grown>>10/int64(len(conns)))
		if bound := pick(b, int64(160<<20), 700<<20); grown > bound { // of which the traffic's own heap is some 40 MiB
			t.Errorf("%d idle connections take %d MiB", len(conns), grown>>20)
		}
		for _, c := range conns {
			_ = c.SetReadDeadline(time.Now().Add(20*time.Second + b.slack))
			if _, err := io.Copy(io.Discard, c); isTimeout(err) {
				t.Error("a connection was not closed after idle_timeout")
				return
			}
		}
	})
	settles(t, s, 15*time.Second, files, routines)
}

// clientsConnections has max_connections of 10: further clients wait, and come in when others have gone.
func clientsConnections(t *testing.T, b build) {
	models := t.TempDir()
	m := fake(t, models, "m", "1ms", "")
	s := start(t, b, setup{models: models, config: "limits: {max_connections: 10}\n"})
	request := fmt.Sprintf("POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s", m.path(), len(m.json()), m.json())
	ask := func(c net.Conn, wait time.Duration) error {
		if _, err := io.WriteString(c, request); err != nil {
			return err
		}
		_ = c.SetReadDeadline(time.Now().Add(wait))
		buf := make([]byte, 4096)
		n, err := c.Read(buf)
		if err == nil && !bytes.HasPrefix(buf[:n], []byte("HTTP/1.1 200")) {
			err = fmt.Errorf("%.200s", buf[:n])
		}
		return err
	}
	http.DefaultClient.CloseIdleConnections() // testkit's own, which asked for readiness
	var held []net.Conn
	eventually(t, 10*time.Second, "ten connections are answered", func() bool {
		c := tcp(t, s.HTTP)
		if ask(c, 2*time.Second) == nil {
			held = append(held, c)
		}
		return len(held) == 10
	})
	if len(held) < 10 {
		return
	}
	late := tcp(t, s.HTTP)
	if err := ask(late, time.Second); !isTimeout(err) {
		t.Errorf("the eleventh connection: %v, want no answer yet", err)
	}
	for _, c := range held {
		if err := ask(c, 2*time.Second+b.slack); err != nil {
			t.Errorf("one of the ten: %v", err)
		}
	}
	_ = held[0].Close()
	_ = late.SetReadDeadline(time.Now().Add(5*time.Second + b.slack))
	if n, err := late.Read(make([]byte, 4096)); err != nil || n == 0 {
		t.Errorf("the eleventh, after one of the ten has gone: %v", err)
	}
	s.Term()
	ends(t, s, 15*time.Second, 0)
}

// clientsStreams opens thousands of calls on one gRPC connection and never sends a message: others are served all the same,
// and it costs bounded memory. Those calls stay open as long as their connection: grpc-go reads a unary call's message
// before any code of ours runs, and a limit on that would cost every call a timer (grpc.InTapHandle with a deadline).
func clientsStreams(t *testing.T, b build) {
	models := t.TempDir()
	m := fake(t, models, "m", "1ms", "")
	s := start(t, b, setup{models: models, config: impatient})
	files, routines, rss := descriptors(t, s), goroutines(t, s), s.RSS()
	unaffected(t, b, s, m, func() {
		conn := dial(t, s.GRPC)
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		defer cancel()
		opened := 0
		for range 20000 {
			if _, err := conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true}, inference.GRPCInferenceService_ModelInfer_FullMethodName); err != nil {
				break
			}
			opened++
		}
		grown := s.RSS() - rss
		t.Logf("%d calls without a message: %d MiB", opened, grown>>20)
		if bound := pick(b, int64(150<<20), 700<<20); opened > 5000 || grown > bound { // of which the traffic's own heap is some 40 MiB
			t.Errorf("one connection may have %d calls open, for %d MiB", opened, grown>>20)
		}
		_ = conn.Close()
	})
	settles(t, s, 15*time.Second, files, routines)
}
