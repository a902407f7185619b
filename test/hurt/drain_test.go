//go:build hurt

package hurt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"serval/internal/testkit"
	"serval/wire/inference"
)

// TestDrain: a server that is told to stop answers what is under way, tells its clients to go elsewhere, and ends with 0; it
// ends anyway, and says so, where it cannot.
func TestDrain(t *testing.T) {
	both(t, func(t *testing.T, b build) {
		t.Run("inflight", func(t *testing.T) { drainInFlight(t, b) })
		t.Run("loops", func(t *testing.T) { drainLoops(t, b) })
		t.Run("goaway", func(t *testing.T) { drainGoAway(t, b) })
		t.Run("idle", func(t *testing.T) { drainIdle(t, b) })
		t.Run("twice", func(t *testing.T) { drainTwice(t, b) })
		t.Run("timeout", func(t *testing.T) { drainTimeout(t, b) })
		t.Run("loading", func(t *testing.T) { drainLoading(t, b) })
	})
}

// ends waits for the server's end with the code.
func ends(t *testing.T, s *testkit.Server, limit time.Duration, code int) {
	t.Helper()
	if got := s.Wait(limit); got != code {
		t.Errorf("exit code %d, want %d", got, code)
	}
}

// drainInFlight stops the server while requests compute and wait: 20 over REST, 20 over gRPC, 20 in a gRPC stream.
func drainInFlight(t *testing.T, b build) {
	models := t.TempDir()
	m := fake(t, models, "slow", "700ms", "instances: 1\nthreads: 1\n")
	s := start(t, b, setup{models: models, config: "log: {access: false}\n"})
	var calls sync.WaitGroup
	var failed, answered atomic.Int64
	report := func(how string, err error) {
		if err != nil {
			failed.Add(1)
			t.Errorf("%s: %v", how, err)
		} else {
			answered.Add(1)
		}
	}
	c := client(t, 30*time.Second)
	conn := inference.NewGRPCInferenceServiceClient(dial(t, s.GRPC))
	for range 20 {
		calls.Go(func() {
			a, err := post(c, s.URL(m.path()), m.json())
			if err == nil && a.status != 200 {
				err = fmt.Errorf("%v", a)
			}
			report("REST", err)
		})
		calls.Go(func() {
			_, err := conn.ModelInfer(context.Background(), m.proto())
			report("gRPC", err)
		})
	}
	stream, err := conn.ModelStreamInfer(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		if err := stream.Send(m.proto()); err != nil {
			t.Fatal(err)
		}
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	calls.Go(func() {
		for range 20 {
			r, err := stream.Recv()
			if err == nil && r.ErrorMessage != "" {
				err = errors.New(r.ErrorMessage)
			}
			report("gRPC stream", err)
		}
		if _, err := stream.Recv(); err != io.EOF {
			t.Errorf("after the last answer of the stream: %v, want EOF", err)
		}
	})
	eventually(t, 10*time.Second, "all requests are under way", func() bool { return count(t, s, "serval_requests_in_flight") == 60 })
	s.Term()
	time.Sleep(500 * time.Millisecond)
	if !refused(s.HTTP) || !refused(s.GRPC) {
		t.Error("new connections are still accepted half a second after SIGTERM")
	}
	calls.Wait()
	if failed.Load() > 0 || answered.Load() != 60 {
		t.Errorf("%d of 60 requests answered", answered.Load())
	}
	ends(t, s, 10*time.Second, 0)
	if err := contains([]byte(s.Log()), "msg=draining", "msg=stopped"); err != nil {
		t.Error(err)
	}
}

// drainLoops stops the server under clients that send one request after another over kept-alive connections until nobody
// listens. net/http repeats a request by itself where the server closed an idle connection and no byte of an answer came,
// if the client marks it as safe to repeat. Nothing else may go wrong, and what the server computed, somebody got.
func drainLoops(t *testing.T, b build) {
	models := t.TempDir()
	m := fake(t, models, "m", "2ms", "")
	for round := range pick(b, 5, 2) {
		s := start(t, b, setup{models: models})
		var loops sync.WaitGroup
		var ok atomic.Int64
		for range 16 {
			loops.Go(func() {
				c := client(t, 20*time.Second)
				for n := 0; ; n++ {
					began := time.Now()
					a, err := post(c, s.URL(m.path()), m.json(), "Idempotency-Key", "1")
					switch {
					case errors.Is(err, syscall.ECONNREFUSED):
						return
					case err != nil:
						t.Errorf("round %d: lost request %d sent at %v, now %v: %v", round, n, began.UTC().Format("05.000"), time.Now().UTC().Format("05.000"), err)
						return
					case a.status != 200:
						t.Errorf("round %d: %v", round, a)
					default:
						ok.Add(1)
					}
				}
			})
			loops.Go(func() {
				conn := inference.NewGRPCInferenceServiceClient(dial(t, s.GRPC))
				for {
					_, err := conn.ModelInfer(context.Background(), m.proto())
					switch {
					case status.Code(err) == codes.Unavailable && bytes.Contains([]byte(err.Error()), []byte("connection refused")):
						return
					case err != nil:
						t.Errorf("round %d: lost over gRPC: %v", round, err)
						return
					}
					ok.Add(1)
				}
			})
		}
		time.Sleep(700 * time.Millisecond)
		s.Term()
		loops.Wait()
		ends(t, s, 10*time.Second, 0)
		computed := int64(strings.Count(s.Log(), " code=ok ")) // some thousands of lines, which testkit keeps
		t.Logf("round %d: %d answers, %d in the access log", round, ok.Load(), computed)
		if computed == 0 || ok.Load() < computed {
			t.Errorf("round %d: the server answered %d requests, the clients have %d", round, computed, ok.Load())
		}
	}
}

// drainGoAway watches the frames of an HTTP/2 connection: the server says GOAWAY before it closes.
func drainGoAway(t *testing.T, b build) {
	models := t.TempDir()
	fake(t, models, "m", "1ms", "")
	s := start(t, b, setup{models: models})
	conn := openHTTP2(t, s.GRPC)
	s.Term()
	var seen []byte
	for {
		kind, payload, err := conn.frame()
		if err != nil {
			break
		}
		seen = append(seen, kind)
		if kind == framePing {
			conn.send(framePing, 1, 0, payload)
		}
	}
	if !bytes.Contains(seen, []byte{frameGoAway}) {
		t.Errorf("no GOAWAY among the frames %v", seen)
	}
	ends(t, s, 10*time.Second, 0)
}

// drainIdle: connections and streams on which nothing is under way do not hold a stopping server up.
func drainIdle(t *testing.T, b build) {
	models := t.TempDir()
	m := fake(t, models, "m", "1ms", "")
	s := start(t, b, setup{models: models, config: "drain_timeout: 20s\n"})
	stream, err := inference.NewGRPCInferenceServiceClient(dial(t, s.GRPC)).ModelStreamInfer(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(m.proto()); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	for range 20 { // never used, and used once
		c, err := net.Dial("tcp", s.HTTP)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	healthy(t, s, m)
	s.Term()
	began := time.Now()
	ends(t, s, 30*time.Second, 0)
	if took := time.Since(began); took > 8*time.Second {
		t.Errorf("an idle stream held the server up for %v", took)
	}
	if _, err := stream.Recv(); err == nil {
		t.Error("the idle stream has an answer")
	}
}

// drainTwice: a second signal ends the server at once, whatever is under way.
func drainTwice(t *testing.T, b build) {
	models := t.TempDir()
	m := slow(t, models)
	s := start(t, b, setup{models: models})
	c := client(t, 30*time.Second)
	var calls sync.WaitGroup
	calls.Go(func() {
		if _, err := post(c, s.URL(m.path()), m.jsonRows(150)); err == nil {
			t.Error("answered in spite of a second SIGTERM")
		}
	})
	eventually(t, 10*time.Second, "the request is under way", func() bool { return count(t, s, "serval_requests_in_flight") == 1 })
	s.Term()
	time.Sleep(500 * time.Millisecond)
	if a, err := get(c, "http://"+s.Admin+"/metrics"); err != nil || a.status != http.StatusOK {
		t.Errorf("the admin port while draining: %v %v", a, err)
	}
	s.Term()
	began := time.Now()
	s.Wait(10 * time.Second)
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("ended %v after the second SIGTERM", took)
	}
	calls.Wait()
}

// drainTimeout: after drain_timeout the server ends with an error that says how much was left, over either port.
func drainTimeout(t *testing.T, b build) {
	models := t.TempDir()
	m := slow(t, models)
	for _, port := range []string{"http", "grpc", "both"} {
		s := start(t, b, setup{models: models, config: "drain_timeout: 1s\nlog: {access: false}\n"})
		var calls sync.WaitGroup
		n := 0
		if port != "grpc" {
			n += 3
			c := client(t, 30*time.Second)
			for range 3 {
				calls.Go(func() { _, _ = post(c, s.URL(m.path()), m.jsonRows(150)) })
			}
		}
		if port != "http" {
			n += 3
			conn := inference.NewGRPCInferenceServiceClient(dial(t, s.GRPC))
			for range 3 {
				calls.Go(func() { _, _ = conn.ModelInfer(context.Background(), m.protoRows(150)) })
			}
		}
		eventually(t, 10*time.Second, "the requests are under way", func() bool { return count(t, s, "serval_requests_in_flight") == float64(n) })
		s.Term()
		began := time.Now()
		ends(t, s, 30*time.Second, 1)
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("%s: ended after %v, drain_timeout is 1s", port, took)
		}
		if err := contains([]byte(s.Log()), fmt.Sprintf("%d requests were still under way", n), "drain_timeout"); err != nil {
			t.Errorf("%s: %v", port, err)
		}
		calls.Wait()
	}
}

// drainLoading stops servers whose models are still being loaded.
func drainLoading(t *testing.T, b build) {
	models := t.TempDir()
	matrix(t, models, "big", 3000, "")
	mlp(t, models, "mlp", "")
	for i := range pick(b, 6, 3) {
		s := start(t, b, setup{models: models, unset: true})
		time.Sleep(time.Duration(i) * 60 * time.Millisecond)
		s.Term()
		ends(t, s, 20*time.Second, 0)
	}
}
