package kernel

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// spin is how long a worker without work, and a caller without workers to come, stay awake: passes follow each other within
// it, and a park costs some 10 µs to end.
const spin = 50 * time.Microsecond

// Team is threads that share the pieces of one job at a time. The caller of Run is worker 0; the others are goroutines locked
// to their threads, which end with Close. Each worker has a run of neighbouring pieces, of which it takes one by one (what one
// piece prefetched, the next uses), and then helps the others with theirs: who loses its core to a neighbour holds up one
// piece, not a share, and a worker that comes late finds the job closed and is not waited for. Run does not allocate.
//
// Idle workers spin for 50 µs, then sleep in a system call, which needs no P of Go's scheduler. Busy ones hold a P each: the
// process wants more of them than cores (see the package).
type Team struct {
	size int
	mu   sync.Mutex // one Run at a time
	done sync.WaitGroup

	f     func(worker, piece int) // of the open job; written only while no worker is inside, as the ends of the shares are
	share []share                 // by worker

	_     [64]byte
	state atomic.Uint32 // number of the job << 9 | open << 8 | workers inside; what sleepers sleep on
	_     [64]byte

	asleep  atomic.Int32 // workers that must be woken
	waiting atomic.Bool  // the caller sleeps until the last worker leaves
	closed  atomic.Bool
	park    parking
}

// share is a worker's run of pieces. It fills its own cache lines: it is written for each piece.
type share struct {
	next atomic.Int64
	end  int64
	_    [112]byte
}

const (
	inside  = 1<<8 - 1
	open    = 1 << 8
	jobStep = 1 << 9
)

// NewTeam starts a team of n, 1 to 255, with the caller of Run counted.
func NewTeam(n int) *Team {
	t := &Team{size: min(max(n, 1), inside)}
	t.share = make([]share, t.size)
	t.park.init()
	for i := 1; i < t.size; i++ {
		t.done.Add(1)
		go t.serve(i)
	}
	return t
}

// Size is how many workers share a job.
func (t *Team) Size() int { return t.size }

// Run calls f for each piece in [0, pieces), several at once, and returns when all have returned. f gets the worker's number,
// from 0 to Size-1, for scratch memory. f must not call Run of the same team.
func (t *Team) Run(pieces int, f func(worker, piece int)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.size == 1 || pieces <= 1 {
		for i := range pieces {
			f(0, i)
		}
		return
	}
	t.f = f
	for i := range t.share {
		s := &t.share[i]
		s.next.Store(int64(pieces) * int64(i) / int64(t.size))
		s.end = int64(pieces) * int64(i+1) / int64(t.size)
	}
	t.state.Store((t.state.Load() + jobStep) | open)
	if t.asleep.Load() > 0 {
		t.park.wake(&t.state)
	}
	t.take(0)
	t.leave()
	t.f = nil
}

// take works on a worker's own pieces until none is left, then on the others'.
func (t *Team) take(worker int) {
	f := t.f
	for i := range t.share {
		s := &t.share[(worker+i)%len(t.share)]
		for s.next.Load() < s.end { // do not write to a line that others read once it is used up
			p := s.next.Add(1) - 1
			if p >= s.end {
				break
			}
			f(worker, int(p))
		}
	}
}

// leave closes the job and waits for the workers inside it.
func (t *Team) leave() {
	if t.state.And(^uint32(open))&inside == 0 {
		return
	}
	for start, i := time.Now(), 0; t.state.Load()&inside != 0; i++ {
		pause(1)
		if i%32 == 31 && time.Since(start) > spin {
			t.waiting.Store(true)
			for s := t.state.Load(); s&inside != 0; s = t.state.Load() {
				t.park.wait(&t.state, s)
			}
			t.waiting.Store(false)
			return
		}
	}
}

// serve is the life of one worker.
func (t *Team) serve(worker int) {
	runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
	defer t.done.Done()
	var seen uint32 // job that this worker was in
	idle, since := 0, time.Now()
	for !t.closed.Load() {
		s := t.state.Load()
		if s&open != 0 && s/jobStep != seen {
			if !t.state.CompareAndSwap(s, s+1) {
				continue
			}
			seen = s / jobStep
			t.take(worker)
			if left := t.state.Add(^uint32(0)); left&(inside|open) == 0 && t.waiting.Load() {
				t.park.wake(&t.state)
			}
			idle, since = 0, time.Now()
			continue
		}
		pause(1)
		if idle++; idle%32 != 0 || time.Since(since) < spin {
			continue
		}
		// Counted as asleep before the state is looked at again: a Run that does not count this worker has changed the state.
		t.asleep.Add(1)
		if !t.closed.Load() {
			t.park.wait(&t.state, s)
		}
		t.asleep.Add(-1)
		idle, since = 0, time.Now()
	}
}

// Close ends the workers and waits for them. No Run may be under way or follow.
func (t *Team) Close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed.Store(true)
	t.state.Add(jobStep)
	t.park.wake(&t.state)
	t.done.Wait()
	t.size = 1
}
