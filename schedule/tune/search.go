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

// Upto drops the batch sizes that rows in flight cannot fill, but for the least of them: they all do the same.
func (s Space) Upto(rows int) Space {
	s = s.withDefaults()
	for i, batch := range s.Batches {
		if batch >= rows {
			s.Batches = s.Batches[:i+1]
			break
		}
	}
	return s
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

// few is how many candidates are not worth a climb: most of them are stopped early.
const few = 24

// Search finds a good candidate without measuring all of them to the end. Where there are few, each is tried. Else, for each division of the cores it climbs the batch sizes from the
// best one so far, up and down, until they get no better twice in a row, or clearly worse, and finally measures the best again in some rounds, since single
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
	shapes := shapesFor(s.Cores)
	if len(shapes)*len(s.Batches) <= few {
		for _, sh := range shapes {
			for _, batch := range s.Batches {
				if _, err := try(Candidate{sh.instances, sh.threads, batch}); err != nil {
					return Trial{}, trials, err
				}
			}
		}
		best, err = final(ctx, trials, m, &trials)
		return best, trials, err
	}
	start := len(s.Batches) / 2
	for _, sh := range shapes {
		at := start
		here, err := try(Candidate{sh.instances, sh.threads, s.Batches[at]})
		if err != nil {
			return Trial{}, trials, err
		}
		for _, step := range []int{1, -1} {
			looked := false // one step beyond settings that are about the same
		climb:
			for next := at + step; next >= 0 && next < len(s.Batches); next += step {
				t, err := try(Candidate{sh.instances, sh.threads, s.Batches[next]})
				if err != nil {
					return Trial{}, trials, err
				}
				switch {
				case clearly(t, here):
					here, at = t, next
					continue
				case !looked && !clearly(here, t):
					looked = true
					continue
				}
				break climb
			}
		}
		if top != nil && top.Instances == sh.instances && top.Threads == sh.threads {
			start = slices.Index(s.Batches, top.MaxBatch)
		}
	}
	best, err = final(ctx, trials, m, &trials)
	return best, trials, err
}

// behind is how much slower than the leader a finalist may be after two rounds and still stay.
const behind = 0.9

// final measures the best again, in turns, while fewer and fewer stay, and takes the one whose medians are best. Single
// measurements scatter by several per cent, and the best of many is often only the luckiest.
func final(ctx context.Context, done []Trial, m Measure, trials *[]Trial) (Trial, error) {
	type finalist struct {
		now  Trial // the medians of runs; before the first, what the search saw
		runs []Trial
	}
	var left []*finalist
	for i := range done {
		if !done[i].Stopped {
			left = append(left, &finalist{now: done[i]})
		}
	}
	order := func(a, b *finalist) int {
		switch {
		case better(&a.now, &b.now):
			return -1
		case better(&b.now, &a.now):
			return 1
		}
		return 0
	}
	slices.SortStableFunc(left, order)
	for round, stay := range [...]int{4, 4, 3, 3, 2, 2, 2} {
		left = left[:min(stay, len(left))]
		if len(left) < 2 {
			break
		}
		for i := range left {
			f := left[(i+round)%len(left)]
			again, err := m(ctx, f.now.Candidate, nil)
			if err != nil {
				return Trial{}, err
			}
			*trials = append(*trials, again)
			f.runs = append(f.runs, again)
		}
		for _, f := range left {
			f.now = middle(f.runs)
		}
		slices.SortStableFunc(left, order)
		if leader := left[0].now; round > 0 && leader.Meets {
			left = slices.DeleteFunc(left, func(f *finalist) bool { return !f.now.Meets || f.now.Throughput < leader.Throughput*behind })
		}
	}
	if len(left) == 0 {
		return Trial{}, nil
	}
	return left[0].now, nil
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
