package gguf

import (
	"serval"
	"serval/engine"
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
	if err := d.answers.Check(in); err != nil {
		return err
	}
	if in.Adapter != "" {
		return serval.Errorf(serval.InvalidArgument, "model '%s' has no adapters; it was asked for %q", d.name, in.Adapter).At("adapter")
	}
	if !d.fits(in) {
		return engine.ErrNoRoom
	}
	a, err := d.answers.Start(in, c.Stream)
	if err != nil {
		return err
	}
	if in.Speculate {
		a.Speculate()
	}
	d.live = append(d.live, &sequence{Answer: a})
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
		if !s.placed && s.Made() > 0 { // it lost its place
			return false
		}
	}
	need := blocksFor(len(in.Tokens)+min(in.Limit, ahead)) - d.cache.held(in.Salt, in.Tokens)
	return need+d.growth()+d.waitingText() <= d.cache.idle()
}

// growth is how many blocks the calls inside will soon take.
func (d *decoder) growth() (n int) {
	for _, s := range d.live {
		n += max(blocksFor(len(s.Tokens)+min(s.In.Limit-s.Made(), ahead))-len(s.table), 0)
	}
	return n
}
