package tune

import (
	"context"
	"slices"
	"time"
)

// Candidate is a combination of settings.
type Candidate struct {
	Instances int `json:"instances"`
	Threads   int `json:"threads"`
	MaxBatch  int `json:"max_batch"`
}

// Trial is what a candidate measured.
type Trial struct {
	Candidate
	Throughput float64       `json:"rows_per_second"`
	P50        time.Duration `json:"p50_ns"`
	P99        time.Duration `json:"p99_ns"`
	Meets      bool          `json:"meets_target"`
	Stopped    bool          `json:"stopped_early"` // it was clearly worse than the best, so it was not measured to the end
}

// Measure tries a candidate. It may stop early once the candidate is clearly worse than best, which may be nil.
type Measure func(ctx context.Context, c Candidate, best *Trial) (Trial, error)

// Space is what is searched.
type Space struct {
	Cores   int
	Batches []int // ascending; nil: 1, 2, 4, … 128
}

// withDefaults fills the batch sizes in.
func (s Space) withDefaults() Space {
	if len(s.Batches) == 0 {
		s.Batches = []int{1, 2, 4, 8, 16, 32, 64, 128}
	}
	return s
}

// better says whether a is to be preferred to b: meeting the target first, then throughput; where neither meets it, p99.
func better(a, b *Trial) bool {
	switch {
	case b == nil:
		return true
	case a.Stopped != b.Stopped:
		return b.Stopped
	case a.Meets != b.Meets:
		return a.Meets
	case !a.Meets:
		return a.P99 < b.P99
	}
	return a.Throughput > b.Throughput
}

// clearly says whether a is better than b by more than measurements scatter.
func clearly(a, b *Trial) bool {
	if !better(a, b) || b == nil || b.Stopped || a.Meets != b.Meets {
		return better(a, b)
	}
	if a.Meets {
		return a.Throughput > b.Throughput*1.02
	}
	return float64(a.P99) < float64(b.P99)*0.98
}

// Search finds a good candidate without trying them all: for each division of the cores it climbs the batch sizes from the
// best one so far, up and down, until they get no better, and finally measures the best three again, since single
// measurements scatter. The trials are in the order in which they ran.
func Search(ctx context.Context, s Space, m Measure) (best Trial, trials []Trial, err error) {
	s = s.withDefaults()
	seen := map[Candidate]*Trial{}
	var top *Trial
	try := func(c Candidate) (*Trial, error) {
		if t := seen[c]; t != nil {
			return t, nil
		}
		t, err := m(ctx, c, top)
		if err != nil {
			return nil, err
		}
		trials = append(trials, t)
		seen[c] = &t
		if better(&t, top) {
			top = &t
		}
		return &t, nil
	}
	start := len(s.Batches) / 2
	for _, sh := range shapesFor(s.Cores) {
		at := start
		here, err := try(Candidate{sh.instances, sh.threads, s.Batches[at]})
		if err != nil {
			return Trial{}, trials, err
		}
		for _, step := range []int{1, -1} {
			for next := at + step; next >= 0 && next < len(s.Batches); next += step {
				t, err := try(Candidate{sh.instances, sh.threads, s.Batches[next]})
				if err != nil {
					return Trial{}, trials, err
				}
				if !clearly(t, here) {
					break
				}
				here, at = t, next
			}
		}
		if top != nil && top.Instances == sh.instances && top.Threads == sh.threads {
			start = slices.Index(s.Batches, top.MaxBatch)
		}
	}
	best, err = final(ctx, trials, m, &trials)
	return best, trials, err
}

// finalists is how many of the best are measured again, and finals how often.
const (
	finalists = 3
	finals    = 2
)

// final measures the best again, in turns, and takes the one whose medians are best. What a single measurement said counts
// as one of them: the best of many measurements is often the luckiest.
func final(ctx context.Context, done []Trial, m Measure, trials *[]Trial) (Trial, error) {
	ranked := slices.Clone(done)
	slices.SortStableFunc(ranked, func(a, b Trial) int {
		switch {
		case better(&a, &b):
			return -1
		case better(&b, &a):
			return 1
		}
		return 0
	})
	ranked = ranked[:min(finalists, len(ranked))]
	runs := make([][]Trial, len(ranked))
	for round := range finals {
		for i := range ranked {
			i = (i + round) % len(ranked)
			again, err := m(ctx, ranked[i].Candidate, nil)
			if err != nil {
				return Trial{}, err
			}
			*trials = append(*trials, again)
			runs[i] = append(runs[i], again)
		}
	}
	var best *Trial
	for i := range ranked {
		if !ranked[i].Stopped {
			runs[i] = append(runs[i], ranked[i])
		}
		if mean := middle(runs[i]); better(&mean, best) {
			best = &mean
		}
	}
	if best == nil {
		return Trial{}, nil
	}
	return *best, nil
}

// Exhaustive tries every candidate to the end.
func Exhaustive(ctx context.Context, s Space, m Measure) (best Trial, trials []Trial, err error) {
	s = s.withDefaults()
	for _, sh := range shapesFor(s.Cores) {
		for _, batch := range s.Batches {
			t, err := m(ctx, Candidate{sh.instances, sh.threads, batch}, nil)
			if err != nil {
				return best, trials, err
			}
			trials = append(trials, t)
			if len(trials) == 1 || better(&t, &best) {
				best = t
			}
		}
	}
	return best, trials, nil
}
