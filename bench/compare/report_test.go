package main

import (
	"strings"
	"testing"
	"time"

	"serval/bench/bed"
	"serval/bench/load"
)

func result(perSecond uint64, p99 time.Duration) load.Result {
	return load.Result{Requests: perSecond, Elapsed: time.Second, Latency: load.Latency{P50: time.Millisecond, P99: p99}}
}

func TestMarkdown(t *testing.T) {
	serval, triton, floor := &server{key: "serval", Process: bed.Process{Name: "serval"}}, &server{key: "triton", Process: bed.Process{Name: "Triton, Python backend"}}, &server{key: "floor", Process: bed.Process{Name: "floor"}}
	c := &cell{format: load.JSON, concurrency: 16, results: map[*server][]load.Result{
		serval: {result(200, 2*time.Millisecond), result(90, time.Millisecond), result(300, 4*time.Millisecond)},
		triton: {result(100, 4*time.Millisecond), result(100, time.Millisecond), result(100, 8*time.Millisecond)},
		floor:  {result(400, time.Millisecond), result(400, time.Millisecond), result(400, time.Millisecond)},
	}}
	r := report{machine: "M", command: "C", options: options{serval: "x", rounds: 3, time: time.Second, work: &workloads()[0]}, servers: []*server{serval, triton, floor}, cells: []*cell{c},
		starts: starts{byServer: map[*server]started{serval: {100 * time.Millisecond, 20e6}, triton: {2 * time.Second, 200e6}, floor: {time.Millisecond, 1e6}}, empty: 15e6},
		allocs: allocations{load.JSON: 21.25, load.Proto: 40}}
	want := `Machine: M. Command: ` + "`C`" + `. One run, 3 interleaved rounds of 1s for each workload; one row of 30 features a request.

| workload | × Triton, Python backend | p99 ÷ its p99 | share of the floor | serval: requests/s, p50 / p99 ms | Triton, Python backend: requests/s, p50 / p99 ms | floor: requests/s, p50 / p99 ms |
| --- | --- | --- | --- | --- | --- | --- |
| REST JSON c=16 | **2.00** (0.90 to 3.00) | 0.50 | 50 % | 200, 1.00 / 2.00 | 100, 1.00 / 4.00 | 400, 1.00 / 1.00 |
| ready after start, one model | 0.050 of its |  |  | 100 ms | 2000 ms | 1 ms |
| idle memory (RSS), one model | 0.100 of its |  |  | 20.0 MB | 200.0 MB | 1.0 MB |
| idle memory (RSS), no model |  |  |  | 15.0 MB |  |  |
| allocations a request, REST JSON c=16 |  |  |  | 21.2 |  |  |
| allocations a request, gRPC c=16 |  |  |  | 40.0 |  |  |
`
	if got := r.markdown(); !strings.HasPrefix(got, want) {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   float64
	}{{nil, 0}, {[]float64{3}, 3}, {[]float64{9, 1, 2}, 2}, {[]float64{4, 1, 2, 100}, 3}} {
		if got := median(c.values); got != c.want {
			t.Errorf("median(%v) = %v, want %v", c.values, got, c.want)
		}
	}
}
