package gguf

import (
	"fmt"
	"strings"

	"serval"
	"serval/engine"
	"serval/engine/gguf/kernel"
)

// bertPlan is what an encoder will take, worked out from its header before anything is loaded. Sizes are in bytes.
type bertPlan struct {
	*bert
	context int // most tokens of a text
	slots   int // calls inside
	rows    int // of a batch
	workers int
	compute int64
	total   int64
	free    int64 // 0: not known
	fits    bool
	advice  []string
}

// chunk is how many rows are computed at a time.
func (p *bertPlan) chunk() int { return min(p.rows, chunkRows) }

// cells is how many a head has: each text's begin at a multiple of 16.
func (p *bertPlan) cells() int { return (p.rows+15)&^15 + min(p.rows, batchTexts)*16 }

// makeBertPlan works out what the net takes with these settings and so many workers, where free bytes of memory are left (0: not known).
// The error says what of the settings cannot be; that it does not fit is no error.
func makeBertPlan(x *bert, s *serval.ModelSettings, workers int, free int64) (*bertPlan, error) {
	text := serval.TextSettings{}
	if s.Text != nil {
		text = *s.Text
	}
	if _, err := storeOf(s.Options); err != nil {
		return nil, err
	}
	p := &bertPlan{bert: x, workers: workers, slots: text.Slots, context: x.trained, free: free}
	if p.slots == 0 {
		p.slots = encodeJobs
	}
	if p.slots > maxSlots {
		return nil, serval.Errorf(serval.InvalidArgument, "text.slots is %d; a model takes at most %d", p.slots, maxSlots).At("text.slots")
	}
	if p.context == 0 {
		p.context = defaultContext
	}
	if text.Context > 0 {
		if x.trained > 0 && text.Context > x.trained {
			p.advice = append(p.advice, fmt.Sprintf("text.context is %d, but the model was trained for %d tokens; %d are used", text.Context, x.trained, x.trained))
		}
		p.context = min(text.Context, p.context)
	}
	if s.Options["kv_type"] != "" {
		p.advice = append(p.advice, "options.kv_type has no effect: a model of vectors has no key-value cache")
	}
	if text.Cache > 0 {
		p.advice = append(p.advice, "text.cache has no effect: a model of vectors keeps nothing between two texts")
	}
	if text.Speculate != nil && *text.Speculate {
		p.advice = append(p.advice, "text.speculate has no effect: a model of vectors makes no tokens")
	}
	p.sum()
	if whole := p.context; !p.fits && text.Context == 0 {
		for p.context > leastContext && p.total > p.free/10*9 {
			p.context = max(leastContext, p.context*7/8)
			p.sum()
		}
		if p.fits {
			p.advice = append(p.advice, fmt.Sprintf("the context is %d tokens, not the %d that the model was trained for, since no more fits the memory", p.context, whole))
		}
	}
	return p, nil
}

// sum sets what follows from the context.
func (p *bertPlan) sum() {
	x := p.bert
	p.rows = max(p.context, batchRows)
	p.compute = 4*int64(p.rows+kernel.Lanes)*int64(2*x.width+x.rope.dims) + 8*int64(p.cells())*int64(x.width)
	widest := max(x.width, x.inner)
	p.compute += 4 * int64(p.chunk()+kernel.Lanes) * int64(4*x.width+2*x.inner+2*widest)
	p.compute += 4 * int64(p.workers) * bertTile * int64(p.rows+16)
	if x.learned {
		p.compute += 4 * int64(x.trained) * int64(x.width)
	}
	const rest = 16 << 20 // the vocabulary
	p.compute += rest
	p.total = x.packed + p.compute
	p.fits = p.free == 0 || p.total <= p.free
}

// err says that the plan does not fit and what to change; nil where it fits.
func (p *bertPlan) err(model string) error {
	if p.fits {
		return nil
	}
	return serval.Errorf(serval.ResourceExhausted, "model '%s' does not fit: it takes %s (weights %s, computing texts of up to %d tokens %s) and %s is free; %s",
		model, sizeText(p.total), sizeText(p.packed), p.context, sizeText(p.compute), sizeText(p.free), strings.Join(p.changes(), ", or "))
}

// changes are what would make it fit.
func (p *bertPlan) changes() (out []string) {
	small := *p
	for small.context = p.context * 7 / 8; small.context >= leastContext; small.context = small.context * 7 / 8 {
		if small.sum(); small.fits {
			out = append(out, fmt.Sprintf("set text.context to at most %d", small.context))
			break
		}
	}
	if p.packed > p.free/2 {
		out = append(out, "take a file with fewer bits a weight")
	}
	return append(out, fmt.Sprintf("free %s of memory", sizeText(p.total-p.free)))
}

// shown is the plan in the words of the contract.
func (p *bertPlan) shown() *engine.Plan {
	out := &engine.Plan{File: p.file, Total: p.total, Free: p.free, Fits: p.fits, Context: p.context, Slots: p.slots, Advice: p.advice}
	if !p.fits {
		out.Advice = append(out.Advice, p.changes()...)
	}
	out.Parts = []engine.PlanPart{
		{Name: "weights", Bytes: p.packed, Note: p.arch + "; rows of the embedding are read from the file"},
		{Name: "computing", Bytes: p.compute, Note: fmt.Sprintf("%d tokens at once", p.rows)},
	}
	return out
}
