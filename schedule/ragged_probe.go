package schedule

import (
	"context"
	"fmt"
	"math"
	"time"

	"serval"
	"serval/engine"
)

// Lengths and number of the texts that are made up to measure an encoder.
const (
	probeShort = 8
	probeLong  = 64
	probeTexts = 8
)

// probe warms an encoder, finds out whether a text's vector depends on what it shares a tensor with, and measures what a
// tensor takes.
func (r *ragged) probe(ctx context.Context, mode string) probed {
	p := probed{}
	made := make([][]int32, 3)
	for i, n := range []int{5, 9, 16} {
		made[i] = madeUp(min(n, r.plan.lang.Context), i)
	}
	alone := make([]*engine.Call, len(made))
	for i := range made {
		alone[i] = &engine.Call{Rows: 1, Input: &serval.Encode{List: made[i : i+1]}}
		if err := runProbe(ctx, r, alone[i]); err != nil {
			p.batching.Reason = fmt.Sprintf("the model did not run on made-up texts, so texts together could not be compared with texts alone: %v", err)
			r.alone = true
			return p
		}
	}
	short := r.timeTexts(ctx, 1, probeShort)
	p.row = r.timeTexts(ctx, 1, probeLong)
	switch {
	case r.plan.single:
		p.batching.Reason = "the model takes one text at a time"
	case mode == "off":
		p.batching.Reason = "batching.mode is off"
	default:
		why := r.compareTexts(ctx, made, alone)
		if p.batching = (serval.Batching{On: true, Reason: "texts of similar length are laid together, by their tokens, and have the same vectors as alone"}); why != nil {
			p.batching = serval.Batching{On: mode == "on", Reason: why.Error()}
			if mode == "on" {
				p.batching.Reason = "batching.mode is on, against the probe: " + p.batching.Reason
			}
		}
	}
	r.alone = !p.batching.On
	n := min(probeTexts, max(1, r.plan.budget/probeLong))
	many := r.timeTexts(ctx, n, probeLong)
	if r.alone {
		many = p.row * time.Duration(n)
	}
	r.more = [2]time.Duration{short, many}
	if tokens := n*r.padded(min(probeLong, r.plan.lang.Context)) - r.padded(min(probeShort, r.plan.lang.Context)); many > short && tokens > 0 {
		each := float64(many-short) / float64(tokens)
		if r.plan.measured {
			r.plan.budget = min(max(leastTokens, int(float64(batchTime)/each)), mostTokens)
		}
		r.overhead = min(max(0, int(float64(short)/each)-probeShort), r.plan.budget)
	}
	return p
}

// compareTexts runs the texts in one tensor and compares with the vectors that they got alone.
func (r *ragged) compareTexts(ctx context.Context, made [][]int32, alone []*engine.Call) error {
	r.overhead = r.plan.budget // so that all go into one
	defer func() { r.overhead = 0 }()
	together := &engine.Call{Rows: 1, Input: &serval.Encode{List: made}}
	if err := runProbe(ctx, r, together); err != nil {
		return fmt.Errorf("texts together failed where texts alone did not: %w", err)
	}
	defer together.Reset()
	out := together.Outputs[0]
	size := len(out.Data) / len(made)
	for i, c := range alone {
		part := out
		part.Shape = []int64{1, out.Shape[1]}
		part.Data = out.Data[i*size : (i+1)*size]
		if err := closeTo(&c.Outputs[0], &part); err != nil {
			return fmt.Errorf("texts together differ from texts alone, so that each is computed alone: %w", err)
		}
		c.Reset()
	}
	return nil
}

// timeTexts is the best of a few runs of n texts; 0 if they fail.
func (r *ragged) timeTexts(ctx context.Context, n, tokens int) time.Duration {
	in := &serval.Encode{}
	for i := range n {
		in.List = append(in.List, madeUp(min(tokens, r.plan.lang.Context), i))
	}
	best := time.Duration(math.MaxInt64)
	for i, begun := 0, time.Now(); i < 5 && (i < 2 || time.Since(begun) < 200*time.Millisecond); i++ {
		c := &engine.Call{Rows: 1, Input: in}
		start := time.Now()
		if runProbe(ctx, r, c) != nil {
			return 0
		}
		best = min(best, time.Since(start))
		c.Reset()
	}
	return best
}

// madeUp is a text of n tokens that every vocabulary has.
func madeUp(n, seed int) []int32 {
	list := make([]int32, n)
	for i := range list {
		list[i] = int32((i*7+seed*5)%23 + 1)
	}
	return list
}
