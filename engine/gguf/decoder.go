package gguf

import (
	"errors"
	"math"

	"serval"
	"serval/engine"
	"serval/engine/gguf/kernel"
	"serval/llm/decode"
)

// decoder is a loaded model, an engine.Decoder and an engine.Language. Its methods are called by one goroutine, but for
// Signature, Memory and Language.
type decoder struct {
	*weights
	name  string
	plan  *plan
	chunk int // most prompt tokens between two steps of running sequences; 0: by the clock
	team  *kernel.Team
	net   *net
	cache *cache

	live    []*sequence // in the order in which they came
	laid    []*sequence // that have rows in the batch
	jobs    []*decode.Texts
	texts   []*encoding // of jobs, that hold blocks
	answers decode.Model
	guesses decode.Guesses
	pace    decode.Pace
	row     []int32 // scratch of add

	takePiece func(worker, i int) // take, made once
}

// newDecoder makes a decoder that owns the weights and the team, also where it fails.
func newDecoder(w *weights, p *plan, team *kernel.Team, spec *engine.Spec) (*decoder, error) {
	d := &decoder{weights: w, name: spec.Name, plan: p, team: team, cache: newCache(p.blocks, p.shape.costs())}
	if spec.Settings.Text != nil {
		d.chunk = spec.Settings.Text.Chunk
	}
	d.answers = decode.Model{Name: d.name, Words: d.words, Context: p.context, Pooling: ownPooling, Argmax: d.argmax}
	d.takePiece = d.take
	var err error
	if d.net, err = newNet(w, p, d.team); err != nil {
		d.team.Close()
		_ = w.free()
		return nil, err
	}
	kernel.Touch(d.team, d.net.kv) // takes its memory now, after the plan has said that it is there, not when the first long prompts come
	if err := d.warm(); err != nil {
		_ = d.Close()
		return nil, err
	}
	if d.later != nil {
		d.later()
	}
	return d, nil
}

// warm computes one token and forgets it, so that the first request finds the weights in memory.
func (d *decoder) warm() error {
	b, _ := d.cache.take()
	d.net.reset()
	d.net.add([]int32{0}, 0, []int32{b}, func(int) bool { return true })
	err := d.net.run()
	d.cache.release([]int32{b})
	return err
}

// argmax is the largest of the logits; -1 if none is possible.
func (d *decoder) argmax(logits []float32) int32 {
	i := d.net.ops.ArgMax(logits)
	if v := logits[i]; math.IsInf(float64(v), -1) || v != v {
		return -1
	}
	return int32(i)
}

// Signature is empty: it takes text.
func (d *decoder) Signature() serval.Signature { return serval.Signature{} }

// Memory is what the plan said.
func (d *decoder) Memory() engine.Memory {
	return engine.Memory{Bytes: d.plan.total, Estimated: true}
}

// Language says what it can do.
func (d *decoder) Language() serval.Language {
	return serval.Language{File: d.file, Context: d.plan.context, Slots: d.plan.slots, Generate: true, Embed: true, Width: d.width, Pooling: ownPooling, Speculate: true}
}

// Cache implements engine.Cached.
func (d *decoder) Cache() (used, size int) {
	return (d.cache.size() - d.cache.idle()) * block, d.cache.size() * block
}

// clearCache forgets what is kept; live sequences lose their places.
func (d *decoder) clearCache() {
	for _, s := range d.live {
		d.unplace(s)
	}
	d.cache.clear()
}

// Close frees all.
func (d *decoder) Close() error {
	for _, s := range d.live {
		s.Fail(serval.ErrRetired)
	}
	for _, j := range d.jobs {
		j.Fail(serval.ErrRetired)
	}
	d.live, d.jobs, d.texts = nil, nil, nil
	d.team.Close()
	return errors.Join(d.net.free(), d.weights.free(), d.f.Close())
}
