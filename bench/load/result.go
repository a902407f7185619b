package load

import (
	"encoding/json"
	"fmt"
	"sort"
	"strings"
	"time"
)

// Result is what a run measured. Latencies are those of successes only; in an open loop they are counted from the time
// at which a request was due, so a stalled server cannot hide the requests that it held up (no coordinated omission).
type Result struct {
	Addr        string
	Model       string
	Format      Format
	Rows        int64 // a request
	Concurrency int
	Rate        float64  // asked for; 0: closed loop
	Arrivals    Arrivals // of an open loop

	Elapsed    time.Duration     // of the measurement
	Requests   uint64            // answered, with or without success
	Errors     uint64            // of these, failures
	ErrorsBy   map[string]uint64 // failures by status
	FirstError string            // what the first failure said; "" without any
	Reconnects uint64            // connections that the server closed between two requests; nothing was lost by it
	Sent       uint64            // bytes
	Received   uint64            // bytes
	Latency    Latency
	Service    Latency // open loop only: the same requests, from the time of sending
}

// Throughput is the successes per second.
func (r *Result) Throughput() float64 {
	if r.Elapsed <= 0 {
		return 0
	}
	return float64(r.Requests-r.Errors) / r.Elapsed.Seconds()
}

// MarshalJSON writes the result for programs; times are in seconds and, where the name says so, milliseconds.
func (r Result) MarshalJSON() ([]byte, error) {
	out := map[string]any{
		"addr": r.Addr, "model": r.Model, "format": r.Format.String(), "rows": r.Rows, "concurrency": r.Concurrency,
		"elapsed_s": r.Elapsed.Seconds(), "requests": r.Requests, "errors": r.Errors, "throughput": r.Throughput(),
		"reconnects": r.Reconnects, "bytes_sent": r.Sent, "bytes_received": r.Received, "latency_ms": r.Latency,
	}
	if r.Rate > 0 {
		out["rate"], out["arrivals"], out["service_ms"] = r.Rate, r.Arrivals, r.Service
	}
	if r.Errors > 0 {
		out["errors_by"], out["first_error"] = r.ErrorsBy, r.FirstError
	}
	return json.Marshal(out)
}

// Text is the result as a table for a terminal.
func (r *Result) Text() string {
	var b strings.Builder
	row := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-12s  "+format+"\n", append([]any{name}, args...)...)
	}
	row("target", "%s %s, %s, rows a request: %d", r.Addr, r.Model, r.Format, r.Rows)
	if r.Rate > 0 {
		row("load", "open loop, %.6g requests/s, %s arrivals, at most %d in flight", r.Rate, r.Arrivals, r.Concurrency)
	} else {
		row("load", "closed loop, concurrency %d", r.Concurrency)
	}
	row("requests", "%d in %.2f s, %d errors", r.Requests, r.Elapsed.Seconds(), r.Errors)
	row("throughput", "%.1f requests/s, %.1f rows/s", r.Throughput(), r.Throughput()*float64(r.Rows))
	if r.Requests > 0 {
		row("bytes", "%d out, %d in a request", r.Sent/r.Requests, r.Received/r.Requests)
	}
	if r.Reconnects > 0 {
		row("reconnects", "%d", r.Reconnects)
	}
	fmt.Fprintf(&b, "\n%-12s  %9s  %9s  %9s  %9s  %9s  %9s\n", "ms", "mean", "p50", "p90", "p99", "p99.9", "max")
	latency := func(name string, l Latency) {
		fmt.Fprintf(&b, "%-12s", name)
		for _, d := range []time.Duration{l.Mean, l.P50, l.P90, l.P99, l.P999, l.Max} {
			fmt.Fprintf(&b, "  %9.3f", float64(d)/float64(time.Millisecond))
		}
		b.WriteByte('\n')
	}
	latency("latency", r.Latency)
	if r.Rate > 0 {
		latency("of it served", r.Service)
	}
	if r.Errors > 0 {
		b.WriteByte('\n')
		names := make([]string, 0, len(r.ErrorsBy))
		for name := range r.ErrorsBy {
			names = append(names, name)
		}
		sort.Slice(names, func(i, j int) bool { return r.ErrorsBy[names[i]] > r.ErrorsBy[names[j]] })
		for _, name := range names {
			row("error", "%d × %s", r.ErrorsBy[name], name)
		}
		row("first error", "%s", r.FirstError)
	}
	return b.String()
}
