package schedule

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// script drives a queue with lines that a person can read:
//
//	push NAME [rows=N] [level=N] [key=N]   at the current time
//	drop NAME                              its client left
//	at DURATION                            the clock moves
//	take → names, reason | wait DURATION   what the queue must decide
func script(t *testing.T, q queue, text string) {
	t.Helper()
	base := time.Unix(1000, 0)
	now := base
	byName := map[string]*entry{}
	names := map[*entry]string{}
	for n, line := range strings.Split(strings.TrimSpace(text), "\n") {
		line = strings.TrimSpace(line)
		words := strings.Fields(line)
		switch words[0] {
		case "push":
			e := &entry{enqueued: now}
			e.call.Rows = 1
			for _, w := range words[2:] {
				var v int
				if _, err := fmt.Sscanf(w, "rows=%d", &v); err == nil {
					e.call.Rows = int64(v)
				} else if _, err := fmt.Sscanf(w, "level=%d", &v); err == nil {
					e.level = v
				} else if _, err := fmt.Sscanf(w, "key=%d", &v); err == nil {
					e.key = uint64(v)
				} else {
					t.Fatalf("line %d: %q", n+1, w)
				}
			}
			byName[words[1]], names[e] = e, words[1]
			q.push(e)
		case "drop":
			if !q.remove(byName[words[1]]) {
				t.Fatalf("line %d: %s was not waiting", n+1, words[1])
			}
		case "at":
			d, err := time.ParseDuration(words[1])
			if err != nil {
				t.Fatal(err)
			}
			now = base.Add(d)
		case "take":
			wait, due := q.due(now)
			batch, why, waited := q.take(now, nil)
			got := "nothing"
			if len(batch) > 0 {
				var list []string
				for _, e := range batch {
					list = append(list, names[e])
				}
				got = strings.Join(list, " ") + ", " + why.String()
			} else if waited > 0 {
				got = "wait " + waited.String()
			}
			if due != (len(batch) > 0) || (!due && wait != waited) {
				t.Errorf("line %d: due says %v in %v, take says %s", n+1, due, wait, got)
			}
			if want := strings.TrimSpace(strings.TrimPrefix(line, "take →")); got != want {
				t.Errorf("line %d: take → %s, want %s", n+1, got, want)
			}
		default:
			t.Fatalf("line %d: %q", n+1, line)
		}
	}
}

func TestQueueDecisions(t *testing.T) {
	cases := []struct {
		name   string
		levels int
		rules  rules
		text   string
	}{
		{"takes all that waits", 1, rules{batch: true, max: 8}, `
			take → nothing
			push a
			push b rows=3
			push c
			take → a b c, drained
			take → nothing`},
		{"closes when full", 1, rules{batch: true, max: 4}, `
			push a rows=2
			push b rows=1
			push c rows=2
			push d rows=1
			take → a b, full
			take → c d, drained`},
		{"one call larger than the largest batch runs alone", 1, rules{batch: true, max: 4}, `
			push a rows=9
			push b
			take → a, full
			take → b, drained`},
		{"calls of other shapes are left for the next batch", 1, rules{batch: true, max: 8}, `
			push a key=1
			push b key=2
			push c key=1
			take → a c, shape
			take → b, drained`},
		{"urgent calls go first and share the batch", 3, rules{batch: true, max: 2}, `
			push a level=2
			push b level=2
			push c level=0
			take → c a, full
			take → b, drained`},
		{"a preferred size closes the batch", 1, rules{batch: true, max: 8, preferred: []int64{4, 2}}, `
			push a
			push b
			push c
			take → a b, preferred
			take → c, drained`},
		{"only whole calls make a preferred size", 1, rules{batch: true, max: 8, preferred: []int64{4}, delay: time.Second}, `
			push a rows=3
			push b rows=3
			take → wait 1s
			push c rows=1
			take → wait 1s
			at 1s
			take → a b c, delay`},
		{"an overdue call of another shape closes the batch before it", 2, rules{batch: true, max: 8, delay: 10 * time.Millisecond}, `
			push low level=1 key=1
			at 9ms
			push a key=2
			take → wait 1ms
			at 10ms
			take → a, delay
			take → low, delay`},
		{"max_delay waits for company, but not longer", 1, rules{batch: true, max: 3, delay: 10 * time.Millisecond}, `
			push a
			take → wait 10ms
			at 4ms
			push b
			take → wait 6ms
			at 10ms
			take → a b, delay
			push c
			push d
			push e
			take → c d e, full`},
		{"without batching calls go one by one", 1, rules{max: 8}, `
			push a
			push b
			take → a, single
			take → b, single`},
		{"a call whose client left is never computed", 1, rules{batch: true, max: 8}, `
			push a
			push b
			push c
			drop b
			take → a c, drained
			push d
			drop d
			take → nothing`},
		{"empty batches join", 1, rules{batch: true, max: 2}, `
			push a rows=0
			push b rows=2
			take → a b, full`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) { script(t, newQueue(c.levels, c.rules), c.text) })
	}
}
