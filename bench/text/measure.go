package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"serval/bench/chat"
)

// figures are what one measurement of one server gave.
type figures struct {
	*chat.Result
	prompt time.Duration // of the request that came behind: its time to the first token
	most   int64         // tokens of one prompt that came from the cache
	cached float64       // of the tokens that all prompts of the round have in common, how many came from the cache
}

// cell is one contender's measurements, one for each round.
type cell struct {
	*server
	rounds  []figures
	memory  int64   // resident, of the process and its children, after the last round
	foreign float64 // the largest share of the processors that other programs took during a round that counts
}

// measureAll measures every server once in each round; who is first rotates. When ctx ends early, the whole rounds until then are
// what it returns, if there are any.
func measureAll(ctx context.Context, o *options, list []*server) ([]*cell, error) {
	var cells []*cell
	for _, s := range list {
		cells = append(cells, &cell{server: s})
	}
	for round, try := 0, 0; round < o.rounds; {
		foreign, err := measureRound(ctx, o, cells, round, try)
		if ctx.Err() != nil && round > 0 {
			for _, c := range cells {
				c.rounds = c.rounds[:round]
			}
			return cells, nil
		}
		if err != nil {
			return nil, err
		}
		if try++; foreign > o.others && try < tries {
			progress("other programs took %.0f %% of the processors; once more", 100*foreign)
			for _, c := range cells {
				c.rounds = c.rounds[:min(round, len(c.rounds))]
			}
			continue
		}
		for _, c := range cells {
			c.foreign = max(c.foreign, foreign)
		}
		share(cells, round)
		for _, c := range cells {
			c.memory = c.Memory()
		}
		round, try = round+1, 0
	}
	return cells, nil
}

// measureRound measures every server once. It returns the largest share of the processors that other programs took meanwhile.
func measureRound(ctx context.Context, o *options, cells []*cell, round, try int) (foreign float64, err error) {
	for i := range cells {
		c := cells[(i+round)%len(cells)]
		if err := calm(ctx, o.others); err != nil {
			return 0, err
		}
		before, err := readUsage()
		if err != nil {
			return 0, err
		}
		f, err := measure(ctx, o.work, c.server, uint64(tries*round+try))
		if err != nil {
			return 0, fmt.Errorf("%s: %w", c.name, err)
		}
		after, err := readUsage()
		if err != nil {
			return 0, err
		}
		foreign = max(foreign, after.foreign(before))
		c.rounds = append(c.rounds, f)
		progress("round %d, %s: %.1f tokens/s, first token %.0f / %.0f ms, gaps %.1f / %.1f ms, %d of %d failed%s; others had %.1f %%", round+1, c.name,
			f.OutputRate(), milliseconds(f.TTFT.P50), milliseconds(f.TTFT.P99), milliseconds(f.ITL.P50), milliseconds(f.ITL.P99), f.Failures, f.Requests,
			because(f.FirstFailure), 100*after.foreign(before))
		if ctx.Err() != nil {
			return 0, ctx.Err()
		}
		if foreign > o.others && try+1 < tries {
			return foreign, nil // the others need not be measured
		}
	}
	return foreign, nil
}

// share works out what share of the common tokens came from the cache. How many are common no server tells; it is taken for the
// most that came from the cache for any prompt of the round on any server, which is a token or two more where two prompts go on with
// the same word.
func share(cells []*cell, round int) {
	var common int64
	for _, c := range cells {
		common = max(common, c.rounds[round].most)
	}
	for _, c := range cells {
		if f := &c.rounds[round]; common > 0 && f.Requests > f.Failures {
			f.cached = float64(f.CachedTokens) / float64(common) / float64(f.Requests-f.Failures)
		}
	}
}

func because(text string) string {
	if text == "" {
		return ""
	}
	return " (" + text + ")"
}

// measure puts the load on a server once. The same round asks every server the same, and every round something new.
func measure(ctx context.Context, w *workload, s *server, round uint64) (figures, error) {
	load := w.load
	load.URL, load.Model = "http://"+s.address, model
	load.Workload.Seed = 1000 * (round + 1)
	var f figures
	var err error
	load.Each = func(c chat.Call) { f.most = max(f.most, c.CachedTokens) }
	if w.behind == nil {
		f.Result, err = chat.Run(ctx, load)
		return f, err
	}
	var streams sync.WaitGroup
	streams.Go(func() { f.Result, err = chat.Run(ctx, load) })
	select {
	case <-time.After(behindAfter):
	case <-ctx.Done():
	}
	other := *w.behind
	other.URL, other.Model, other.Workload.Seed = load.URL, load.Model, load.Workload.Seed+1
	r, otherErr := chat.Run(ctx, other)
	streams.Wait()
	if err == nil {
		err = otherErr
	}
	if err != nil {
		return f, err
	}
	f.prompt = r.TTFT.P50
	f.Failures += r.Failures
	f.Requests += r.Requests
	if r.FirstFailure != "" {
		f.FirstFailure = r.FirstFailure
	}
	return f, nil
}

// median of a list, which is not changed.
func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	mid := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[mid]
	}
	return (sorted[mid-1] + sorted[mid]) / 2
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
