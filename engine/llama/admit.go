package llama

import (
	"context"
	"maps"
	"slices"
	"strings"

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
		if d.main == nil {
			return serval.Errorf(serval.InvalidArgument, "model '%s' makes vectors, not text", d.name).At("model")
		}
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
	a, err := d.adapterOf(in.Adapter)
	if err != nil {
		return err
	}
	s := &sequence{call: c, in: in, id: -1, prompt: len(in.Tokens), adapter: a}
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
	s.guess.on = (in.Speculate || d.speculate) && !d.recurrent && !in.Alone
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
	if n := len(in.Tokens) + in.Limit; n > d.window || n < 0 {
		return serval.Errorf(serval.InvalidArgument, "the prompt has %d tokens and the answer may have %d; model '%s' takes %d together, so it is %d too long",
			len(in.Tokens), in.Limit, d.name, d.window, n-d.window).At("max_tokens").Named("context_length_exceeded")
	}
	return nil
}

// fits says whether there is room now: a slot, and cells for the prompts and the next tokens of all answers, beside what is
// only kept. An answer that needs more later takes it from what is kept, at last from the call that came in last, which is
// then computed again; so the first always gets to its end.
func (d *decoder) fits(in *serval.Generate) bool {
	if len(d.live) == 0 {
		return true
	}
	if len(d.live) >= d.slots || in.Alone || d.live[0].in.Alone {
		return false
	}
	if d.plan.Stream > 0 {
		return true
	}
	need := len(in.Tokens) + min(in.Limit, ahead)
	shared := 0
	for _, s := range d.live {
		if s.id < 0 && s.made() > 0 { // it lost its place
			return false
		}
		if s.in.Salt == in.Salt {
			shared = max(shared, common(s.tokens, in.Tokens))
		}
		need += max(len(s.tokens)-len(s.cells), 0) + min(s.in.Limit-s.made(), ahead)
	}
	return need-shared <= d.idle()
}

func (d *decoder) adapterOf(name string) (*adapter, error) {
	if name == "" {
		return nil, nil
	}
	if a := d.adapters[name]; a != nil {
		return a, nil
	}
	known := strings.Join(slices.Sorted(maps.Keys(d.adapters)), ", ")
	if known == "" {
		return nil, serval.Errorf(serval.InvalidArgument, "model '%s' has no adapters; it was asked for %q", d.name, name).At("adapter")
	}
	return nil, serval.Errorf(serval.InvalidArgument, "model '%s' has no adapter %q; it has %s", d.name, name, known).At("adapter")
}

// drop ends the calls whose reader left.
func (d *decoder) drop() (moved bool) {
	for _, s := range d.live {
		if s.call.Stream.Canceled() && !s.over() {
			s.err = context.Canceled
			moved = true
		} else if s.pending != nil && s.call.Stream.Canceled() {
			s.err, s.pending = context.Canceled, nil
			moved = true
		}
	}
	return moved
}
