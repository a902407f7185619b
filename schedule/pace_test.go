package schedule

import (
	"testing"
	"time"
)

func TestPace(t *testing.T) {
	var p pace
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	if got := p.of(3); got != 0 {
		t.Errorf("before any end: %v", got)
	}
	for range 50 {
		now = now.Add(2 * time.Second)
		p.ended(now, true)
	}
	if got := p.of(3); got != 6*time.Second {
		t.Errorf("three ends at one in 2 s: %v", got)
	}
	now = now.Add(time.Hour)
	p.ended(now, false) // nobody waited: the gap says nothing
	if got := p.of(1); got != 2*time.Second {
		t.Errorf("after an idle hour: %v", got)
	}
	for range 200 {
		now = now.Add(time.Second)
		p.ended(now, true)
	}
	if got := p.of(1); got > 1100*time.Millisecond {
		t.Errorf("twice as fast since: %v", got)
	}
}

func TestUrgency(t *testing.T) {
	if urgency(1) >= urgency(0) || urgency(0) != urgency(2) || urgency(2) >= urgency(3) {
		t.Error("1 is the most urgent, and what is not said is 2")
	}
}
