package schedule

import (
	"math/bits"
	"slices"
	"sync"
	"time"

	"serval"
)

// Reasons for a refusal, as statistics show them.
const (
	refusedFull     = "queue_full"
	refusedWait     = "wait"
	refusedDeadline = "deadline"
	refusedCanceled = "canceled"
	refusedClosed   = "unloading"
)

// stats counts what happened to one model version. One lock, taken once a batch and once a call.
type stats struct {
	mu       sync.Mutex
	s        serval.Stats
	batches  map[int64]*serval.BatchStat
	closed   [numClosed]uint64
	rejected map[string]uint64
}

func (s *stats) init() {
	s.batches = map[int64]*serval.BatchStat{}
	s.rejected = map[string]uint64{}
}

// batch records one execution.
func (s *stats) batch(rows int64, why Closed, t serval.Timing, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.s.Executions++
	s.s.Inferences += uint64(rows)
	s.s.LastInference = now
	s.closed[why]++
	size := sizeClass(rows)
	b := s.batches[size]
	if b == nil {
		b = &serval.BatchStat{Size: int(size)}
		s.batches[size] = b
	}
	add(&b.Input, t.Input)
	add(&b.Compute, t.Compute)
	add(&b.Output, t.Output)
}

// sizeClass keeps the sizes apart up to 1,024 rows, and above by powers of two, so that there are never many.
func sizeClass(rows int64) int64 {
	if rows <= 1024 {
		return rows
	}
	return 1 << bits.Len64(uint64(rows-1))
}

// call records one call that was executed; took is the time since it arrived.
func (s *stats) call(t serval.Timing, took time.Duration, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !ok {
		add(&s.s.Fail, took)
		return
	}
	add(&s.s.Success, took)
	add(&s.s.Queue, t.Queue)
	add(&s.s.Input, t.Input)
	add(&s.s.Compute, t.Compute)
	add(&s.s.Output, t.Output)
}

// refuse records a call that never ran.
func (s *stats) refuse(why string, took time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rejected[why]++
	add(&s.s.Fail, took)
}

func (s *stats) snapshot() serval.Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.s
	out.Batches = make([]serval.BatchStat, 0, len(s.batches))
	for _, b := range s.batches {
		out.Batches = append(out.Batches, *b)
	}
	slices.SortFunc(out.Batches, func(a, b serval.BatchStat) int { return a.Size - b.Size })
	out.Closed = make(map[string]uint64, numClosed)
	for why, n := range s.closed {
		if n > 0 {
			out.Closed[Closed(why).String()] = n
		}
	}
	out.Rejected = make(map[string]uint64, len(s.rejected))
	for why, n := range s.rejected {
		out.Rejected[why] = n
	}
	return out
}

func add(d *serval.StatDuration, took time.Duration) {
	d.Count++
	d.Total += took
}
