//go:build hurt

package hurt

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"serval/bench/load"
	"serval/internal/testkit"
)

// TestOverload: 200 clients at three times what the model can do. Every request is answered, with a result or with a
// refusal at once; what is let in is not slowed down by what is not; memory stays; afterwards all is as before.
func TestOverload(t *testing.T) {
	both(t, func(t *testing.T, b build) {
		t.Run("open", func(t *testing.T) { overloadOpen(t, b) })
		t.Run("closed", func(t *testing.T) { overloadClosed(t, b) })
		t.Run("onnx", func(t *testing.T) { overloadONNX(t, b) })
	})
}

const maxWait = 50 * time.Millisecond

// overloadOpen sends at three times the capacity whatever the answers are, three quarters of it over REST and one over
// gRPC. A batch of 8 takes the delay, so the capacity is known.
func overloadOpen(t *testing.T, b build) {
	models := t.TempDir()
	delay := pick(b, 5*time.Millisecond, 20*time.Millisecond)
	m := fake(t, models, "cap", delay.String(), "instances: 1\nbatching: {max: 8}\nqueue: {max_wait: 50ms}\n")
	s := start(t, b, setup{models: models})
	capacity := 8 / delay.Seconds()
	length := pick(b, 30*time.Second, 15*time.Second)

	rss, machine := sample(500*time.Millisecond, s.RSS), lateness()
	refusals := watchRefusals(t, s, m, b, length)
	results := make([]load.Result, 2)
	var runs sync.WaitGroup
	for i, o := range []load.Options{
		{Addr: s.HTTP, Payload: m.payload(t, load.JSON, 1), Concurrency: 150, Rate: 2.25 * capacity},
		{Addr: s.GRPC, Payload: m.payload(t, load.Proto, 1), Concurrency: 50, Rate: 0.75 * capacity},
	} {
		o.Duration, o.Arrivals = length, load.Poisson
		runs.Go(func() {
			var err error
			if results[i], err = load.Run(context.Background(), o); err != nil {
				t.Error(err)
			}
		})
	}
	runs.Wait()
	late := machine()
	refusals()
	flat(t, "resident memory", rss(), b.growth)
	sent, good := uint64(0), 0.0
	for i := range results {
		r := &results[i]
		t.Logf("\n%s", r.Text())
		onlyRefusals(t, r)
		sent += r.Requests
		good += r.Throughput()
		// Counted from when a request was due: a server that held requests up instead of refusing them would be seconds late
		// here after half a minute at three times its capacity. It promises max_wait and the batch in front; a second batch
		// may be under way.
		if bound := maxWait + 2*delay + b.slack + late; r.Latency.P99 > bound {
			t.Errorf("%v: p99 of what was let in is %v, want at most %v", r.Format, r.Latency.P99, bound)
		}
	}
	if want := 3 * capacity * length.Seconds(); float64(sent) < 0.6*want {
		t.Errorf("only %d of %.0f requests were sent: this machine is too busy for the test to mean anything", sent, want)
	}
	if good < 0.6*capacity {
		t.Errorf("%.0f requests a second were served, of %.0f possible: overload must not cost throughput", good, capacity)
	}
	healthy(t, s, m)
}

// onlyRefusals fails the test where a request ended with neither a result nor a clean refusal.
func onlyRefusals(t *testing.T, r *load.Result) {
	t.Helper()
	for what, n := range r.ErrorsBy {
		if !slices.Contains([]string{"HTTP 503", "HTTP 429", "gRPC Unavailable", "gRPC ResourceExhausted"}, what) {
			t.Errorf("%v: %d × %s; first error: %s", r.Format, n, what, r.FirstError)
		}
	}
	if r.Requests == r.Errors {
		t.Errorf("%v: none of %d requests was let in", r.Format, r.Requests)
	}
}

// watchRefusals asks some times a second and looks at the refusals themselves: quick, and with Retry-After.
func watchRefusals(t *testing.T, s *testkit.Server, m model, b build, length time.Duration) (wait func()) {
	var watch sync.WaitGroup
	watch.Go(func() {
		c := client(t, 10*time.Second)
		var took []time.Duration
		for end := time.Now().Add(length); time.Now().Before(end); time.Sleep(30 * time.Millisecond) {
			start := time.Now()
			a, err := post(c, s.URL(m.path()), m.json())
			switch {
			case err != nil:
				t.Errorf("while overloaded: %v", err)
			case a.status == http.StatusOK:
			case a.status == http.StatusServiceUnavailable || a.status == http.StatusTooManyRequests:
				took = append(took, time.Since(start))
				if n, err := strconv.Atoi(a.header.Get("Retry-After")); err != nil || n < 1 {
					t.Errorf("refused without a good Retry-After: %q", a.header.Get("Retry-After"))
				}
				if err := contains(a.body, `"error"`, m.name, "overloaded"); err != nil {
					t.Error(err)
				}
			default:
				t.Errorf("while overloaded: %v", a)
			}
		}
		slices.Sort(took)
		if len(took) < 10 {
			t.Errorf("only %d refusals at three times the capacity", len(took))
			return
		}
		t.Logf("%d refusals, took p50 %v, p95 %v", len(took), took[len(took)/2], took[len(took)*95/100])
		if p := took[len(took)/2]; p > b.slack { // at once: nothing of the queue is waited for
			t.Errorf("half of the refusals took %v or more", p)
		}
	})
	return watch.Wait
}

// overloadClosed has 200 clients that each wait for their answer. With default settings nobody need be refused, as 200
// requests wait for less than max_wait; with a short queue most are, and come again at once.
func overloadClosed(t *testing.T, b build) {
	models := t.TempDir()
	delay := pick(b, 5*time.Millisecond, 20*time.Millisecond)
	all := fake(t, models, "all", delay.String(), "instances: 1\nbatching: {max: 8}\n")
	short := fake(t, models, "short", delay.String(), "instances: 1\nbatching: {max: 8}\nqueue: {limit: 16}\n")
	s := start(t, b, setup{models: models})
	for _, m := range []model{all, short} {
		machine := lateness()
		r, err := load.Run(context.Background(), load.Options{
			Addr: s.HTTP, Payload: m.payload(t, load.JSON, 1), Concurrency: 200, Duration: 8 * time.Second, WarmUp: time.Second,
		})
		late := machine()
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("\n%s", r.Text())
		onlyRefusals(t, &r)
		bound := 200/8*delay + 2*delay + b.slack + late // every client waits for all others
		if m == short {
			bound = 16/8*delay + 2*delay + b.slack + late // 184 clients that come again at once take the cores, too
		}
		if r.Latency.P99 > bound {
			t.Errorf("%s: p99 of what was let in is %v, want at most %v", m.name, r.Latency.P99, bound)
		}
		if m == all && r.Errors > 0 {
			t.Errorf("%d requests refused, though 200 can wait: %s", r.Errors, r.FirstError)
		}
		if m == short && r.Errors == 0 {
			t.Error("nobody refused, though only 16 may wait")
		}
		// The heap may grow to five times what is live (GOGC 400): connections, their buffers, the access log's.
		if rss, bound := s.RSS(), pick(b, int64(200<<20), 900<<20); rss > bound {
			t.Errorf("%s: %d MiB resident, want at most %d", m.name, rss>>20, bound>>20)
		}
		healthy(t, s, m)
	}
}

// overloadONNX does the same to a real network. Requests of many rows make the model what is short, and not the cores that
// server and clients share; its capacity is measured first. The generator shares the two cores too, so latency is counted
// from the sending here, and it may fall short of three times.
func overloadONNX(t *testing.T, b build) {
	models := t.TempDir()
	const rows = 2048
	m := mlp(t, models, "mlp", "instances: 1\nthreads: 1\nbatching: {max: 2048}\nqueue: {max_wait: 50ms}\n")
	s := start(t, b, setup{models: models})
	o := load.Options{Addr: s.HTTP, Payload: m.payload(t, load.Binary, rows), Concurrency: 4, Duration: 3 * time.Second, WarmUp: time.Second}
	alone, err := load.Run(context.Background(), o)
	if err != nil || alone.Throughput() == 0 {
		t.Fatalf("%v\n%s", err, alone.Text())
	}
	rss, machine := sample(250*time.Millisecond, s.RSS), lateness()
	o.Concurrency, o.Duration, o.Rate = 200, 10*time.Second, 3*alone.Throughput()
	r, err := load.Run(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	late := machine()
	t.Logf("alone %.0f requests/s\n%s", alone.Throughput(), r.Text())
	onlyRefusals(t, &r)
	if bound := maxWait + 4*alone.Latency.P50 + b.slack + late; r.Service.P99 > bound {
		t.Errorf("p99 of what was let in is %v, want at most %v", r.Service.P99, bound)
	}
	if r.Throughput() < alone.Throughput()/3 {
		t.Errorf("%.0f requests/s served in overload, %.0f without", r.Throughput(), alone.Throughput())
	}
	// 200 bodies of 240 KiB may be under way; the race detector's shadow of them grows and grows slower.
	flat(t, "resident memory", rss(), pick(b, int64(48<<20), 600<<20))
	healthy(t, s, m)
}
