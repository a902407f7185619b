package schedule

import (
	"testing"
	"time"

	"serval/engine"
)

// TestBackground: calls in the background run one by one, after all others, and no batch of others has them in it.
func TestBackground(t *testing.T) {
	q := newQueue(2, rules{batch: true, max: 8, delay: time.Hour})
	q.background()
	now := time.Now()
	add := func(level int) *entry {
		e := &entry{call: engine.Call{Rows: 4}, level: level, enqueued: now}
		q.push(e)
		return e
	}
	one, two := add(q.back), add(q.back)
	if q.waiting() != 0 || q.behind != 8 || q.least() != 1 {
		t.Errorf("%d wait, %d rows behind", q.waiting(), q.behind)
	}
	if wait, due := q.due(now); !due || wait != 0 {
		t.Errorf("they wait for company: %v %v", wait, due)
	}
	low, high := add(1), add(0)
	batch, why, _ := q.take(now, nil)
	if len(batch) != 2 || batch[0] != high || batch[1] != low || why != closedFull {
		t.Errorf("%v %v", batch, why)
	}
	for _, want := range []*entry{one, two} {
		if batch, _, _ := q.take(now, nil); len(batch) != 1 || batch[0] != want {
			t.Errorf("%v, want the oldest alone", batch)
		}
	}
	if q.calls != 0 || q.rows != 0 || q.behind != 0 {
		t.Errorf("%d calls, %d rows, %d behind", q.calls, q.rows, q.behind)
	}
}

// TestSpare: while other calls come, one of several instances stays free for them.
func TestSpare(t *testing.T) {
	now := time.Now()
	m := &Model{q: newQueue(1, rules{})}
	m.q.background()
	m.all = []*instance{{}, {}}
	for _, c := range []struct {
		idle   int
		online time.Duration // ago
		spare  bool
	}{{2, 0, true}, {1, 0, false}, {1, 2 * onlineFor, true}} {
		m.idle, m.online = m.all[:c.idle], now.Add(-c.online)
		if got := m.spare(now); got != c.spare {
			t.Errorf("%d idle, the last call %v ago: %v", c.idle, c.online, got)
		}
	}
	m.q.push(&entry{call: engine.Call{Rows: 1}, level: m.q.back})
	m.idle, m.online = nil, now
	if batch, _, _ := m.take(now, nil); len(batch) != 0 {
		t.Error("it took the last instance")
	}
	m.online = now.Add(-2 * onlineFor)
	if batch, _, _ := m.take(now, nil); len(batch) != 1 {
		t.Error("it does not run though nothing else comes")
	}
	m.all = m.all[:1]
	if m.online = now; !m.spare(now) {
		t.Error("a single instance is never spare")
	}
}
