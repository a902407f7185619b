package tune

import (
	"context"
	"errors"
	"testing"

	"serval/schedule/gauge"
)

// A made-up model: each type has a perplexity and a speed, threads help up to two, slots up to eight.
func made(tried *int) TextMeasure {
	perplexity := map[string]float64{"F16": 20, "Q8_0": 20.1, "Q4_K_M": 20.5, "Q4_0": 22}
	speed := map[string]float64{"F16": 100, "Q8_0": 200, "Q4_K_M": 300, "Q4_0": 500}
	return func(_ context.Context, c TextCandidate, with bool) (TextTrial, error) {
		*tried++
		t := TextTrial{Speed: gauge.Speed{Total: speed[c.Type]}}
		if with {
			t.Perplexity = perplexity[c.Type]
		}
		if c.Threads > 2 {
			t.Total *= 0.8
		} else if c.Threads < 2 {
			t.Total *= 0.6
		}
		if c.Slots > 8 {
			t.Total *= 0.9
		} else {
			t.Total *= float64(c.Slots) / 8
		}
		return t, nil
	}
}

func TestSearchText(t *testing.T) {
	space := TextSpace{Types: []string{"F16", "Q8_0", "Q4_K_M", "Q4_0"}, Threads: []int{1, 2, 4}, Slots: []int{4, 8, 16}}
	for loss, want := range map[float64]string{0: "F16", 0.01: "Q8_0", 0.03: "Q4_K_M", 0.2: "Q4_0"} {
		space.MaxLoss = loss
		tried := 0
		best, trials, err := SearchText(t.Context(), space, made(&tried))
		if err != nil || best.TextCandidate != (TextCandidate{want, 2, 8}) || !best.Meets || best.Perplexity == 0 {
			t.Errorf("loss %g: %+v, %v", loss, best, err)
		}
		if tried != 4+2+2 || len(trials) != tried {
			t.Errorf("%d were tried, %d told", tried, len(trials))
		}
		if got := trials[3]; got.Loss < 0.09 || got.Loss > 0.11 || got.Meets != (loss == 0.2) {
			t.Errorf("Q4_0: %+v", got)
		}
	}
	broken := errors.New("broken")
	if _, _, err := SearchText(t.Context(), space, func(context.Context, TextCandidate, bool) (TextTrial, error) { return TextTrial{}, broken }); !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}
	one := TextSpace{Types: []string{"F16"}, Threads: []int{2}, Slots: []int{8}}
	tried := 0
	if best, trials, err := SearchText(t.Context(), one, made(&tried)); err != nil || len(trials) != 1 || best.Total != 100 {
		t.Errorf("one candidate: %+v, %d, %v", best, len(trials), err)
	}
}
