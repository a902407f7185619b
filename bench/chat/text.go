package chat

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"serval/bench/load"
)

// table is a text of rows with a name each.
type table struct{ strings.Builder }

func (t *table) row(name, format string, args ...any) {
	fmt.Fprintf(t, "%-14s  "+format+"\n", append([]any{name}, args...)...)
}

func (t *table) times(name string, l load.Latency) {
	fmt.Fprintf(t, "%-14s", name)
	for _, d := range []time.Duration{l.Mean, l.P50, l.P90, l.P99, l.Max} {
		fmt.Fprintf(t, "  %9.2f", float64(d)/float64(time.Millisecond))
	}
	t.WriteByte('\n')
}

// Text is the result as a table for a terminal.
func (r *Result) Text() string {
	t := &table{}
	t.row("target", "%s %s, %s", r.URL, r.Model, r.API)
	if r.Rate > 0 {
		t.row("load", "open loop, %.6g/s, %s arrivals, at most %d in flight", r.Rate, r.Arrivals, r.Concurrency)
	} else {
		t.row("load", "closed loop, concurrency %d", r.Concurrency)
	}
	t.row("workload", "%s", r.Workload)
	t.row("requests", "%d in %.2f s (%.2f/s), %d failed", r.Requests, r.Elapsed.Seconds(), r.RequestRate(), r.Failures)
	r.rates(t)
	if r.SLO != (SLO{}) {
		t.row("goodput", "%.2f requests/s within %s: %.1f %% of all", r.Goodput(), r.SLO, 100*r.GoodShare())
	}
	if r.Requests == 0 {
		t.row("", "the run ended before an answer was counted")
	}
	for _, n := range []struct {
		name  string
		count uint64
		what  string
	}{
		{"short", r.Short, "answers have fewer tokens than they were asked for"}, {"empty", r.Empty, "answers have no text"},
		{"given up", r.GivenUp, "requests were in flight at the end and are not counted"},
		{"reconnects", r.Reconnects, "connections were closed by the server between requests; nothing was lost"},
		{"retried", r.Retried, "requests were lost on a connection that the server had kept open, and sent again"},
	} {
		if n.count > 0 {
			t.row(n.name, "%d %s", n.count, n.what)
		}
	}
	fmt.Fprintf(t, "\n%-14s  %9s  %9s  %9s  %9s  %9s\n", "ms", "mean", "p50", "p90", "p99", "max")
	if r.API != Embeddings {
		t.times("first token", r.TTFT)
		t.times("between deltas", r.ITL)
		t.times("a token", r.TPOT)
	}
	t.times("whole answer", r.E2E)
	if r.Rate > 0 {
		t.times("held back", r.Wait)
	}
	if r.Failures > 0 {
		t.WriteByte('\n')
		for _, reason := range slices.SortedFunc(maps.Keys(r.FailuresBy), func(a, b string) int {
			return int(r.FailuresBy[b]) - int(r.FailuresBy[a])
		}) {
			t.row("failed", "%d × %s", r.FailuresBy[reason], reason)
		}
		t.row("first failure", "%s", r.FirstFailure)
	}
	return t.String()
}

// rates are the rows of tokens a second.
func (r *Result) rates(t *table) {
	if r.API == Embeddings {
		t.row("output", "%.1f texts/s", r.TextRate())
	} else {
		t.row("output", "%.1f tokens/s: %d tokens in %d deltas; %.1f deltas/s arrived", r.OutputRate(), r.OutputTokens, r.Deltas, r.DeltaRate())
	}
	cached := ""
	if r.CacheKnown {
		cached = fmt.Sprintf(", %d of them from the cache (%.1f %%)", r.CachedTokens, 100*r.CachedShare())
	}
	t.row("prompt", "%.1f tokens/s: %d tokens%s", r.PromptRate(), r.PromptTokens, cached)
}
