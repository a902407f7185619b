package schedule

import (
	"slices"
	"time"

	"serval"
	"serval/engine"
)

// Closed says why a batch closed: the answer to "why does it not batch?".
type Closed uint8

// The reasons.
const (
	closedIdle      Closed = iota // an instance was free when the call came; nobody else waited
	closedDrained                 // it took all that waited
	closedFull                    // it reached the largest size
	closedPreferred               // it reached a preferred size
	closedShape                   // what else waited has other shapes
	closedDelay                   // max_delay passed before it was full
	closedSingle                  // this model runs calls one by one (see its batching reason)
	numClosed
)

var closedNames = [numClosed]string{"idle", "drained", "full", "preferred", "shape", "delay", "single"}

func (c Closed) String() string { return closedNames[c] }

// entry is one call from its arrival to its delivery. The goroutine of its Handle owns it; while it is queued or executed
// the model does. done has room for one.
type entry struct {
	call       engine.Call
	key        uint64 // calls of equal key have equal shapes but for the rows
	items      int64  // inferences: its rows, or of an encoder, whose rows are tokens, its texts
	level      int
	enqueued   time.Time
	timing     serval.Timing
	out        serval.Tensors // what the chunk holds
	chunk      serval.Chunk
	done       chan struct{}
	next, prev *entry
	queued     bool
}

// rules are the settings that decisions depend on.
type rules struct {
	batch     bool
	max       int64
	preferred []int64 // ascending
	delay     time.Duration
}

// queue holds what waits, most urgent level first, oldest first within a level.
type queue struct {
	rules  rules
	levels []list
	back   int // the level of calls in the background, the last one; -1: there is none
	calls  int
	rows   int64
	behind int64 // rows of calls in the background, which are in calls and rows, too
}

type list struct {
	head, tail *entry
	calls      int
}

func newQueue(levels int, r rules) queue {
	slices.Sort(r.preferred)
	return queue{rules: r, levels: make([]list, levels), back: -1}
}

// background adds the level of calls that run one by one, while nothing else waits.
func (q *queue) background() {
	q.back = len(q.levels)
	q.levels = append(q.levels, list{})
}

// least is the level of the least urgent calls that are not in the background.
func (q *queue) least() int {
	if q.back >= 0 {
		return q.back - 1
	}
	return len(q.levels) - 1
}

// waiting is how many calls wait that are not in the background.
func (q *queue) waiting() int {
	if q.back < 0 {
		return q.calls
	}
	return q.calls - q.levels[q.back].calls
}

func (q *queue) push(e *entry) {
	l := &q.levels[e.level]
	e.queued, e.next, e.prev = true, nil, l.tail
	if l.tail == nil {
		l.head = e
	} else {
		l.tail.next = e
	}
	l.tail = e
	l.calls++
	q.calls++
	q.rows += e.call.Rows
	if e.level == q.back {
		q.behind += e.call.Rows
	}
}

// remove takes a waiting entry out; it reports false if the entry no longer waits.
func (q *queue) remove(e *entry) bool {
	if !e.queued {
		return false
	}
	l := &q.levels[e.level]
	if e.prev == nil {
		l.head = e.next
	} else {
		e.prev.next = e.next
	}
	if e.next == nil {
		l.tail = e.prev
	} else {
		e.next.prev = e.prev
	}
	e.queued, e.next, e.prev = false, nil, nil
	l.calls--
	q.calls--
	q.rows -= e.call.Rows
	if e.level == q.back {
		q.behind -= e.call.Rows
	}
	return true
}

func (q *queue) first() *entry {
	for i := range q.levels {
		if e := q.levels[i].head; e != nil {
			return e
		}
	}
	return nil
}

// scanLimit bounds how many entries of other shapes a batch looks past.
const scanLimit = 512

// take removes the next batch and appends it to into. An empty batch with a wait above zero means: ask again after that
// time or when more has come; with no wait, nothing is queued.
func (q *queue) take(now time.Time, into []*entry) (batch []*entry, why Closed, wait time.Duration) {
	first := q.first()
	if first == nil {
		return into, closedDrained, 0
	}
	if !q.rules.batch || first.level == q.back { // a call in the background is as long as one may be
		q.remove(first)
		return append(into, first), closedSingle, 0
	}
	target, why, wait := q.close(first, now)
	if wait > 0 {
		return into, why, wait
	}
	return q.collect(first, target, into), why, 0
}

// due says whether take would return a batch now, or else in how long.
func (q *queue) due(now time.Time) (wait time.Duration, due bool) {
	first := q.first()
	if first == nil {
		return 0, false
	}
	if !q.rules.batch || first.level == q.back {
		return 0, true
	}
	_, _, wait = q.close(first, now)
	return wait, wait <= 0
}

// close decides how many rows the batch led by first takes and why, or how long it may still wait.
func (q *queue) close(first *entry, now time.Time) (target int64, why Closed, wait time.Duration) {
	rows, preferred, other := q.fits(first)
	if rows >= q.rules.max {
		return q.rules.max, closedFull, 0
	}
	if preferred > 0 {
		return preferred, closedPreferred, 0
	}
	if q.rules.delay > 0 {
		if left := q.oldest(first).enqueued.Add(q.rules.delay).Sub(now); left > 0 {
			return 0, closedDelay, left
		}
		return q.rules.max, closedDelay, 0
	}
	if other {
		return q.rules.max, closedShape, 0
	}
	return q.rules.max, closedDrained, 0
}

// fits counts the rows that a batch led by first could take, up to the largest size, finds the largest preferred size that
// whole calls add up to, and says whether entries of other shapes wait.
func (q *queue) fits(first *entry) (rows, preferred int64, other bool) {
	scanned, calls := 0, 0
	for i := range q.least() + 1 {
		for e := q.levels[i].head; e != nil && scanned < scanLimit; e = e.next {
			scanned++
			if e.key != first.key {
				other = true
				continue
			}
			if rows+e.call.Rows > q.rules.max && calls > 0 {
				return q.rules.max, preferred, other
			}
			rows += e.call.Rows
			calls++
			if slices.Contains(q.rules.preferred, rows) {
				preferred = rows
			}
		}
	}
	return rows, preferred, other
}

// collect removes the calls that go with first, up to max rows; first goes even when it alone is larger.
func (q *queue) collect(first *entry, max int64, into []*entry) []*entry {
	var rows int64
	scanned, start := 0, len(into)
	for i := range q.least() + 1 {
		for e := q.levels[i].head; e != nil && scanned < scanLimit; {
			next := e.next
			scanned++
			if e.key == first.key {
				if rows+e.call.Rows > max && len(into) > start {
					return into
				}
				rows += e.call.Rows
				q.remove(e)
				into = append(into, e)
			}
			e = next
		}
	}
	return into
}

// oldest is what has waited longest, whatever its shape: one that is overdue closes the batch before it early.
func (q *queue) oldest(first *entry) *entry {
	oldest := first
	for i := range q.least() + 1 {
		if e := q.levels[i].head; e != nil && e.enqueued.Before(oldest.enqueued) {
			oldest = e
		}
	}
	return oldest
}
