package gguf

import (
	"context"

	"serval"
	"serval/engine"
	"serval/llm/sample"
)

// ahead is how many tokens of each answer must have room before another call is taken in.
const ahead = 64

// Admit takes a call in; see engine.Decoder.
func (d *decoder) Admit(c *engine.Call) error {
	switch in := c.Input.(type) {
	case *serval.Generate:
		return d.admitGenerate(c, in)
	case *serval.Encode:
		return d.admitEncode(c, in)
	}
	return serval.Errorf(serval.InvalidArgument, "model '%s' takes tokens", d.name)
}

func (d *decoder) admitGenerate(c *engine.Call, in *serval.Generate) error {
	if err := d.check(in); err != nil {
		return err
	}
	if !d.fits(in) {
		return engine.ErrNoRoom
	}
	s := &sequence{call: c, in: in, prompt: len(in.Tokens)}
	s.tokens = append(make([]int32, 0, len(in.Tokens)+min(in.Limit, 512)), in.Tokens...)
	if in.Limit > 0 {
		s.sampler = sample.New(in.Sampling, d.vocab, in.Tokens)
	}
	if in.Constraint != nil {
		bound, err := d.bind(in.Constraint)
		if err != nil {
			return err
		}
		s.state = bound.Start()
		s.mask = make([]uint64, (d.vocab+63)/64)
	}
	d.live = append(d.live, s)
	return nil
}

// check refuses what can never be computed.
func (d *decoder) check(in *serval.Generate) error {
	if len(in.Tokens) == 0 {
		return serval.Errorf(serval.InvalidArgument, "the prompt has no tokens").At("prompt")
	}
	for i, t := range in.Tokens {
		if t < 0 || int(t) >= d.vocab {
			return serval.Errorf(serval.InvalidArgument, "token %d of the prompt is %d; model '%s' has the tokens 0 to %d", i, t, d.name, d.vocab-1).At("prompt")
		}
	}
	if in.Limit < 0 {
		return serval.Errorf(serval.InvalidArgument, "max_tokens is %d; it must be 0 or more", in.Limit).At("max_tokens")
	}
	if n := len(in.Tokens) + in.Limit; n > d.plan.context || n < 0 {
		return serval.Errorf(serval.InvalidArgument, "the prompt has %d tokens and the answer may have %d; model '%s' takes %d together, so it is %d too long",
			len(in.Tokens), in.Limit, d.name, d.plan.context, n-d.plan.context).At("max_tokens").Named("context_length_exceeded")
	}
	if in.Adapter != "" {
		return serval.Errorf(serval.InvalidArgument, "model '%s' has no adapters; it was asked for %q", d.name, in.Adapter).At("adapter")
	}
	return nil
}

// blocksFor is how many blocks so many tokens take.
func blocksFor(n int) int { return (n + block - 1) / block }

// fits says whether there is room now: a slot, and blocks for the prompts and the next tokens of all answers, beside what is
// only kept. An answer that needs more later takes it from what is kept, at last from the call that came in last, which is
// then computed again; so the first always gets to its end.
func (d *decoder) fits(in *serval.Generate) bool {
	if len(d.live) == 0 {
		return true
	}
	if len(d.live) >= d.plan.slots {
		return false
	}
	for _, s := range d.live {
		if !s.placed && s.made() > 0 { // it lost its place
			return false
		}
	}
	need := blocksFor(len(in.Tokens)+min(in.Limit, ahead)) - d.cache.held(in.Salt, in.Tokens)
	return need+d.growth()+d.waitingText() <= d.cache.idle()
}

// growth is how many blocks the calls inside will soon take.
func (d *decoder) growth() (n int) {
	for _, s := range d.live {
		n += max(blocksFor(len(s.tokens)+min(s.in.Limit-s.made(), ahead))-len(s.table), 0)
	}
	return n
}

// drop ends the calls whose reader left, and lets their blocks go.
func (d *decoder) drop() (moved bool) {
	for _, s := range d.live {
		if !s.call.Stream.Canceled() || s.over() && s.pending == nil {
			continue
		}
		s.err, s.pending = context.Canceled, nil
		moved = true
	}
	return moved
}
