package tune

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"serval"
)

// Plan says which candidates are tried.
type Plan struct {
	Exhaustive bool        // all of them, to the end
	Only       []Candidate // these, in turns; see Compare
	Rounds     int         // of Only
}

// Run tries what the plan says.
func (p *Plan) Run(ctx context.Context, s Space, m Measure) (best Trial, trials []Trial, err error) {
	switch {
	case len(p.Only) > 0:
		return Compare(ctx, p.Only, p.Rounds, m)
	case p.Exhaustive:
		return Exhaustive(ctx, s, m)
	}
	return Search(ctx, s, m)
}

// ParseCandidate reads INSTANCESxTHREADSxBATCH: "2x1x16".
func ParseCandidate(text string) (Candidate, error) {
	parts := strings.Split(text, "x")
	var n [3]int
	for i := range n {
		var err error
		if len(parts) == len(n) {
			n[i], err = strconv.Atoi(parts[i])
		}
		if err != nil || n[i] < 1 || n[i] > 1<<16 {
			return Candidate{}, serval.Errorf(serval.InvalidArgument, "candidate %q: want INSTANCESxTHREADSxBATCH, as in 2x1x16, each from 1 to 65536", text).At("only")
		}
	}
	return Candidate{n[0], n[1], n[2]}, nil
}

// Compare measures candidates side by side: each once a round and to the end, in an order that rotates, so that what slows
// the machine for a while slows all of them. The trials are one a candidate, with the medians over its rounds, whatever
// order those came in.
func Compare(ctx context.Context, list []Candidate, rounds int, m Measure) (best Trial, trials []Trial, err error) {
	runs := make([][]Trial, len(list))
	for round := range max(rounds, 1) {
		for i := range list {
			i = (i + round) % len(list)
			t, err := m(ctx, list[i], nil)
			if err != nil {
				return best, trials, err
			}
			runs[i] = append(runs[i], t)
		}
	}
	var top *Trial
	for _, mine := range runs {
		trials = append(trials, middle(mine))
	}
	for i := range trials {
		if better(&trials[i], top) {
			top = &trials[i]
		}
	}
	if top != nil {
		best = *top
	}
	return best, trials, nil
}

// middle is the medians of trials of one candidate, of which there is at least one. It meets the target where most do.
func middle(runs []Trial) Trial {
	t := Trial{Candidate: runs[0].Candidate}
	var rates []float64
	var p50, p99 []time.Duration
	meet := 0
	for i := range runs {
		rates, p50, p99 = append(rates, runs[i].Throughput), append(p50, runs[i].P50), append(p99, runs[i].P99)
		if runs[i].Meets {
			meet++
		}
	}
	slices.Sort(rates)
	slices.Sort(p50)
	slices.Sort(p99)
	half := len(runs) / 2
	t.Throughput, t.P50, t.P99 = rates[half], p50[half], p99[half]
	if len(runs)%2 == 0 {
		t.Throughput = (rates[half-1] + rates[half]) / 2
		t.P50, t.P99 = (p50[half-1]+p50[half])/2, (p99[half-1]+p99[half])/2
	}
	t.Meets = 2*meet > len(runs)
	return t
}
