package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"time"

	"serval/bench/load"
)

// cell is one workload; its results are by server and in the order of the rounds.
type cell struct {
	format      load.Format
	concurrency int
	results     map[*server][]load.Result
}

func (c *cell) String() string { return fmt.Sprintf("%s c=%d", c.format, c.concurrency) }

// address is where s speaks what a format needs.
func (s *server) address(f load.Format) string {
	if f == load.Proto {
		return s.grpc
	}
	return s.rest
}

// measureAll measures every workload in interleaved rounds.
func measureAll(ctx context.Context, o options, list []*server) ([]*cell, error) {
	var cells []*cell
	for _, format := range []load.Format{load.JSON, load.Proto} {
		for _, concurrency := range []int{1, 16, 64} {
			cells = append(cells, &cell{format: format, concurrency: concurrency, results: map[*server][]load.Result{}})
		}
	}
	total := len(cells) * o.rounds * len(list)
	each := o.time + o.warmUp
	progress("%d measurements of %v, about %v", total, each, (time.Duration(total) * each).Round(time.Second))
	done := 0
	for _, c := range cells {
		payloads, err := o.work.payloads(c.format)
		if err != nil {
			return nil, err
		}
		for round := range o.rounds {
			for i := range list {
				s := list[(i+round)%len(list)]
				result, err := load.Run(ctx, load.Options{Addr: s.address(c.format), Payload: payloads[0], More: payloads[1:], Concurrency: c.concurrency, Duration: o.time, WarmUp: o.warmUp})
				if err == nil {
					err = ctx.Err()
				}
				if err != nil {
					return nil, err
				}
				if result.Errors > 0 || result.Requests == 0 {
					return nil, fmt.Errorf("%s, %s: %d of %d requests failed: %s", s.Name, c, result.Errors, result.Requests, result.FirstError)
				}
				c.results[s] = append(c.results[s], result)
				done++
				progress("[%d/%d, %v left] %s, round %d: %-24s %8.0f/s  p50 %6.3f ms  p99 %6.3f ms", done, total, (time.Duration(total-done) * each).Round(time.Second),
					c, round+1, s.Name, result.Throughput(), milliseconds(result.Latency.P50), milliseconds(result.Latency.P99))
			}
		}
	}
	return cells, nil
}

// allocations are Serval's, a request, in the running server: everything counts, net/http, access log and metrics too.
type allocations map[load.Format]float64

var mallocsLine = regexp.MustCompile(`(?m)^# Mallocs = (\d+)$`)

func measureAllocations(ctx context.Context, o options, list []*server) (allocations, error) {
	found := allocations{}
	for _, s := range list {
		if s.admin == "" {
			continue
		}
		for _, format := range []load.Format{load.JSON, load.Proto} {
			payloads, err := o.work.payloads(format)
			if err != nil {
				return nil, err
			}
			run := load.Options{Addr: s.address(format), Payload: payloads[0], More: payloads[1:], Concurrency: 16, Count: 20_000}
			if _, err := load.Run(ctx, run); err != nil { // fills pools
				return nil, err
			}
			before, err := s.mallocs(ctx)
			if err != nil {
				return nil, err
			}
			result, err := load.Run(ctx, run)
			if err != nil {
				return nil, err
			}
			after, err := s.mallocs(ctx)
			if err != nil {
				return nil, err
			}
			found[format] = float64(after-before) / float64(max(result.Requests, 1))
			progress("%s: %.1f allocations a request", format, found[format])
		}
	}
	return found, nil
}

// mallocs is the number of allocations since the process began, as the heap profile's page tells it.
func (s *server) mallocs(ctx context.Context) (uint64, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.admin+"/debug/pprof/heap?debug=1", nil)
	if err != nil {
		return 0, err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err
	}
	defer func() { _ = answer.Body.Close() }() // it was only read
	page, err := io.ReadAll(answer.Body)
	if err != nil {
		return 0, err
	}
	match := mallocsLine.FindSubmatch(page)
	if match == nil {
		return 0, fmt.Errorf("%s: no count of allocations (%s)", request.URL, answer.Status)
	}
	return strconv.ParseUint(string(match[1]), 10, 64)
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	if len(sorted) == 0 {
		return 0
	}
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
