package testkit

import (
	"bufio"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A jump moves the wall clock of one server by exactly that, again and again, under load; its monotonic clock, with the timers and the
// latencies that it measures, and everybody else's clocks stay.
func TestJump(t *testing.T) {
	models := t.TempDir()
	if err := os.MkdirAll(filepath.Join(models, "m", "1"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(models, "m", "1", "model.fake"), []byte(`{"inputs":[{"name":"x","datatype":"FP32","shape":[-1,2]}],"outputs":[{"name":"y","datatype":"FP32","shape":[-1,2]}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	s, other := Serve(t, Options{Models: models}), Serve(t, Options{Models: models})
	off := func(s *Server) time.Duration {
		t.Helper()
		r, err := http.Get(s.URL("/v2/health/ready"))
		if err != nil {
			t.Fatal(err)
		}
		_ = r.Body.Close()
		at, err := http.ParseTime(r.Header.Get("Date")) // net/http writes it, anew each second
		if err != nil {
			t.Fatal(err)
		}
		return time.Until(at).Round(time.Minute)
	}
	quit := make(chan struct{})
	ended := make(chan struct{})
	go func() { // threads that are in the vDSO now and then
		defer close(ended)
		for {
			select {
			case <-quit:
				return
			default:
			}
			if r, err := http.Get(s.URL("/v2/health/ready")); err == nil {
				_ = r.Body.Close()
			}
		}
	}()
	sum := time.Duration(0)
	for _, d := range []time.Duration{2 * time.Hour, -5 * time.Hour, time.Minute, -time.Hour} {
		s.Jump(d)
		sum += d
		if got := off(s); got != sum {
			t.Errorf("after %v the server's clock is off by %v, want %v", d, got, sum)
		}
	}
	close(quit)
	<-ended
	if got := off(other); got != 0 {
		t.Errorf("another server's clock is off by %v", got)
	}
	if !s.Ready() || strings.Contains(s.Log(), "panic") {
		t.Error("the server is hurt")
	}
}

// A component's forks go by its clock: those that there are and those that come.
func TestJumpForks(t *testing.T) {
	d := Postgres(t)
	session := func() (off func() time.Duration) {
		psql := exec.Command("psql", "-X", "-A", "-t", d.URL)
		in, _ := psql.StdinPipe()
		out, _ := psql.StdoutPipe()
		if err := psql.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = in.Close(); _ = psql.Wait() })
		lines := bufio.NewScanner(out)
		return func() time.Duration {
			t.Helper()
			if _, err := io.WriteString(in, "SELECT extract(epoch FROM clock_timestamp())::bigint;\n"); err != nil || !lines.Scan() {
				t.Fatal(err, lines.Err())
			}
			at, err := strconv.ParseInt(lines.Text(), 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return time.Until(time.Unix(at, 0)).Round(time.Minute)
		}
	}
	before := session()
	if got := before(); got != 0 {
		t.Errorf("the clock is off by %v before any jump", got)
	}
	for _, want := range []time.Duration{2 * time.Hour, -time.Hour} {
		d.Jump(want - before())
		if got := before(); got != want {
			t.Errorf("a session from before is off by %v, want %v", got, want)
		}
		if got := session()(); got != want {
			t.Errorf("a new session is off by %v, want %v", got, want)
		}
	}
}
