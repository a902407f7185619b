package main

import (
	"context"
	"path/filepath"
	"time"
)

const (
	startRounds = 5
	settle      = 2 * time.Second // before the memory of an idle server is read
)

// started is what one server needs before the first request.
type started struct {
	ready    time.Duration // until ready with one model
	resident int64         // bytes, idle, with one model
}

// starts are the measurements of starting.
type starts struct {
	byServer map[*server]started
	empty    int64 // bytes, Serval idle without a model
}

// measureStarts measures how long each server takes to be ready and what it then holds in memory, and leaves all running.
func measureStarts(ctx context.Context, o options, dir string, list []*server) (starts, error) {
	result := starts{byServer: map[*server]started{}}
	for _, s := range list {
		rounds := 1
		if s.admin != "" {
			rounds = startRounds
		}
		var times []float64
		for range rounds {
			s.Stop()
			took, err := s.Start(ctx, time.Millisecond)
			if err != nil {
				return result, err
			}
			times = append(times, float64(took))
		}
		resident, err := s.idle(ctx)
		if err != nil {
			return result, err
		}
		result.byServer[s] = started{ready: time.Duration(median(times)), resident: resident}
		progress("%s: ready after %v, %.1f MB", s.Name, time.Duration(median(times)).Round(time.Millisecond), megabytes(resident))
	}
	if o.serval == "" {
		return result, nil
	}
	empty, err := newServal(dir, "empty", list[0].Argv[0], filepath.Join(dir, "no-models"))
	if err != nil {
		return result, err
	}
	defer empty.Stop()
	if _, err := empty.Start(ctx, time.Millisecond); err != nil {
		return result, err
	}
	result.empty, err = empty.idle(ctx)
	progress("serval without models: %.1f MB", megabytes(result.empty))
	return result, err
}

// idle waits until a started server has settled and reads its memory.
func (s *server) idle(ctx context.Context) (int64, error) {
	select {
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-time.After(settle):
	}
	return s.residentBytes()
}

func megabytes(n int64) float64 { return float64(n) / 1e6 }
