package kernel

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestTeam counts that each piece of each job is done once before Run returns, with pauses that let workers fall asleep.
func TestTeam(t *testing.T) {
	for _, n := range []int{1, 2, 3, 8} {
		team := NewTeam(n)
		if team.Size() != n {
			t.Fatalf("size %d, want %d", team.Size(), n)
		}
		counts := make([]atomic.Int32, 100)
		for job := range 300 {
			pieces := job % 100
			team.Run(pieces, func(worker, piece int) {
				if worker < 0 || worker >= n {
					t.Errorf("worker %d of %d", worker, n)
				}
				counts[piece].Add(1)
				if job%50 == 1 {
					time.Sleep(100 * time.Microsecond)
				}
			})
			for i := range counts {
				if got, want := counts[i].Swap(0), int32(1); i < pieces && got != want || i >= pieces && got != 0 {
					t.Fatalf("team of %d, job %d: piece %d was done %d times", n, job, i, got)
				}
			}
			if job%30 == 0 {
				time.Sleep(time.Millisecond)
			}
		}
		team.Close()
		team.Close()
	}
}

// TestTeamShares: workers do take part, also after a sleep. A piece waits until another one has begun.
func TestTeamShares(t *testing.T) {
	team := NewTeam(2)
	defer team.Close()
	for range 5 {
		time.Sleep(2 * time.Millisecond) // the worker sleeps
		var both sync.WaitGroup
		both.Add(2)
		team.Run(2, func(_, _ int) {
			both.Done()
			both.Wait() // hangs if one worker takes both
		})
	}
}

// TestTeamCallers: several goroutines may call one team.
func TestTeamCallers(t *testing.T) {
	team := NewTeam(3)
	defer team.Close()
	var all sync.WaitGroup
	var sum atomic.Int64
	for range 4 {
		all.Go(func() {
			for range 100 {
				team.Run(10, func(_, i int) { sum.Add(int64(i)) })
			}
		})
	}
	all.Wait()
	if sum.Load() != 4*100*45 {
		t.Fatalf("sum %d", sum.Load())
	}
}

// TestTeamCollector: sleeping and spinning workers do not hold up a stop of the world.
func TestTeamCollector(t *testing.T) {
	team := NewTeam(4)
	defer team.Close()
	for range 10 {
		team.Run(8, func(_, _ int) {})
		runtime.GC()
	}
}

// TestNoGarbage: neither a job nor products nor growing no further allocate.
func TestNoGarbage(t *testing.T) {
	team := NewTeam(2)
	defer team.Close()
	acts, x := NewActs(Best()), make([]float32, 3*64)
	f := func(_, i int) { acts.Fill(x, i, i+1) }
	if n := testing.AllocsPerRun(100, func() {
		acts.Resize(3, 64)
		team.Run(3, f)
	}); n != 0 {
		t.Errorf("%g allocations", n)
	}
}
