package llama

import (
	"maps"
	"slices"
	"strings"

	"serval"
	"serval/engine"
	"serval/llm/decode"
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
	if err := d.answers.Check(in); err != nil {
		return err
	}
	if !d.fits(in) {
		return engine.ErrNoRoom
	}
	l, err := d.adapterOf(in.Adapter)
	if err != nil {
		return err
	}
	a, err := d.answers.Start(in, c.Stream)
	if err != nil {
		return err
	}
	if in.Speculate && !d.recurrent && !in.Alone {
		a.Speculate()
	}
	d.live = append(d.live, &sequence{Answer: a, id: -1, adapter: l})
	return nil
}

// fits says whether there is room now: a slot, and cells for the prompts and the next tokens of all answers, beside what is
// only kept. An answer that needs more later takes it from what is kept, at last from the call that came in last, which is
// then computed again; so the first always gets to its end.
func (d *decoder) fits(in *serval.Generate) bool {
	if len(d.live) == 0 {
		return true
	}
	if len(d.live) >= d.slots || in.Alone || d.live[0].In.Alone {
		return false
	}
	if d.plan.Stream > 0 {
		return true
	}
	need := len(in.Tokens) + min(in.Limit, ahead)
	shared := 0
	for _, s := range d.live {
		if s.id < 0 && s.Made() > 0 { // it lost its place
			return false
		}
		if s.In.Salt == in.Salt {
			shared = max(shared, decode.Common(s.Tokens, in.Tokens))
		}
		need += max(len(s.Tokens)-len(s.cells), 0) + min(s.In.Limit-s.Made(), ahead)
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
