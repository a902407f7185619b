package tune

import (
	"context"
	"slices"

	"serval/schedule/gauge"
)

// TextCandidate is a combination of settings of a model of text.
type TextCandidate struct {
	Type    string `json:"type"` // of the weights
	Threads int    `json:"threads"`
	Slots   int    `json:"slots"` // answers that are stepped together
}

// TextTrial is what a candidate measured.
type TextTrial struct {
	TextCandidate
	Perplexity float64 `json:"perplexity"`
	Loss       float64 `json:"loss"` // how much higher the perplexity is than the source's: 0.02 is 2 %
	Meets      bool    `json:"meets_target"`
	gauge.Speed
}

// TextSpace is what is searched. All lists have one entry at least.
type TextSpace struct {
	Types   []string // the first is what the model is now
	Threads []int    // the last is what types are compared with
	Slots   []int    // the last is what types and threads are compared with
	MaxLoss float64  // of perplexity
}

// TextMeasure tries a candidate. Perplexity is the type's alone: with perplexity false it may stay 0.
type TextMeasure func(ctx context.Context, c TextCandidate, perplexity bool) (TextTrial, error)

// SearchText finds the fastest settings for a number of callers whose perplexity is not more than MaxLoss above that of the model as
// it is. It compares the types first, then threads with the best type, then slots with both: what a weight takes and how many threads
// share a step hardly depend on each other. The trials are in the order in which they ran; Total decides.
func SearchText(ctx context.Context, s TextSpace, m TextMeasure) (best TextTrial, trials []TextTrial, err error) {
	at := TextCandidate{Threads: s.Threads[len(s.Threads)-1], Slots: s.Slots[len(s.Slots)-1]}
	for i, kind := range s.Types {
		at.Type = kind
		t, err := m(ctx, at, true)
		if err != nil {
			return best, trials, err
		}
		t.TextCandidate = at
		if i > 0 {
			t.Loss = t.Perplexity/trials[0].Perplexity - 1
		}
		t.Meets = t.Loss <= s.MaxLoss
		trials = append(trials, t)
		if i == 0 || t.Meets && t.Total > best.Total {
			best = t
		}
	}
	try := func(c TextCandidate) error {
		if slices.ContainsFunc(trials, func(t TextTrial) bool { return t.TextCandidate == c }) {
			return nil
		}
		t, err := m(ctx, c, false)
		if err != nil {
			return err
		}
		t.TextCandidate, t.Perplexity, t.Loss, t.Meets = c, best.Perplexity, best.Loss, best.Meets
		trials = append(trials, t)
		if t.Total > best.Total*worth {
			best = t
		}
		return nil
	}
	from := best.TextCandidate
	for _, n := range s.Threads {
		if err := try(TextCandidate{from.Type, n, from.Slots}); err != nil {
			return best, trials, err
		}
	}
	from = best.TextCandidate
	for _, n := range s.Slots {
		if err := try(TextCandidate{from.Type, from.Threads, n}); err != nil {
			return best, trials, err
		}
	}
	return best, trials, nil
}

// worth is how much faster fewer threads or slots than were tried first must be: single measurements scatter.
const worth = 1.03
