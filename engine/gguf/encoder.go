package gguf

import (
	"context"
	"errors"
	"slices"

	"serval"
	"serval/engine"
	"serval/engine/gguf/kernel"
	"serval/llm/decode"
)

// encoder is a loaded model that makes vectors of texts, or scores of pairs of them: an engine.Decoder, each step of which computes a
// batch of whole texts, and an engine.Language. Its methods are called by one goroutine, but for Signature, Memory and Language.
type encoder struct {
	*bertWeights
	name string
	plan *bertPlan
	team *kernel.Team
	net  *bertNet
	jobs []*textCall // those that had a text in the last batch stand behind the others
	laid []placed

	answers decode.Model
}

// textCall is a call that is inside.
type textCall struct {
	*decode.Texts
	stream engine.Stream
}

// placed is a text in the batch.
type placed struct {
	job *textCall
	at  int // of the job's list
}

// newEncoder makes an encoder that owns the weights and the team, also where it fails.
func newEncoder(w *bertWeights, p *bertPlan, team *kernel.Team, spec *engine.Spec) (*encoder, error) {
	e := &encoder{bertWeights: w, name: spec.Name, plan: p, team: team}
	e.answers = decode.Model{Name: e.name, Words: e.words, Context: p.context, Pooling: e.pooling}
	var err error
	if e.net, err = newBertNet(w, p, e.team); err != nil {
		e.team.Close()
		_ = w.arena.Close()
		return nil, err
	}
	// One token, so that the first request finds the weights in memory.
	e.net.join([]int32{0}, nil)
	if _, err := e.net.run(func() bool { return false }); err != nil {
		e.team.Close()
		_ = errors.Join(e.net.free(), w.arena.Close())
		return nil, err
	}
	if e.later != nil {
		e.later()
	}
	return e, nil
}

// Signature is empty: it takes text.
func (e *encoder) Signature() serval.Signature { return serval.Signature{} }

// Memory is what the plan said.
func (e *encoder) Memory() engine.Memory { return engine.Memory{Bytes: e.plan.total, Estimated: true} }

// ranks says that it makes scores and no vectors.
func (e *encoder) ranks() bool { return e.scorer != nil }

// Language says what it can do.
func (e *encoder) Language() serval.Language {
	return serval.Language{File: e.file, Context: e.plan.context, Slots: e.plan.slots, Embed: !e.ranks(), Rank: e.ranks(), Width: e.width, Pooling: e.pooling}
}

// Admit takes a call in; see engine.Decoder.
func (e *encoder) Admit(c *engine.Call) error {
	in, ok := c.Input.(*serval.Encode)
	if !ok {
		return serval.Errorf(serval.InvalidArgument, "model '%s' makes vectors of texts, and no text", e.name)
	}
	j, err := e.answers.Texts(in, c.Stream)
	if err != nil {
		return err
	}
	if err := checkTypes(in); err != nil {
		return err
	}
	if len(e.jobs) >= e.plan.slots {
		return engine.ErrNoRoom
	}
	e.jobs = append(e.jobs, &textCall{j, c.Stream})
	return nil
}

// checkTypes refuses what does not say of each token which text it is of.
func checkTypes(in *serval.Encode) error {
	if in.Types == nil {
		return nil
	}
	if len(in.Types) != len(in.List) {
		return serval.Errorf(serval.InvalidArgument, "there are %d texts, and types of %d", len(in.List), len(in.Types)).At("input")
	}
	for i, types := range in.Types {
		if len(types) != len(in.List[i]) || len(types) > 0 && slices.Min(types) < 0 {
			return serval.Errorf(serval.InvalidArgument, "text %d has %d tokens, and %d types, which must be 0 or more", i, len(in.List[i]), len(types)).At("input")
		}
	}
	return nil
}

// Step computes one batch of texts. See engine.Decoder.
func (e *encoder) Step(context.Context) (int, error) {
	moved := e.sweep((*decode.Texts).Drop)
	e.lay()
	if len(e.laid) > 0 {
		moved = true
		done, err := e.net.run(e.unwanted)
		if err != nil {
			err = serval.AsError(err)
			e.end(err)
			return 0, err
		}
		for i, p := range e.laid {
			if !done { // nobody waits for any of it
				p.job.Next = min(p.job.Next, p.at)
				continue
			}
			p.job.Set(p.at, e.vector(i, p.job.Pooling))
		}
	}
	moved = e.sweep((*decode.Texts).End) || moved
	if len(e.jobs) > 0 && !moved {
		return len(e.jobs), engine.ErrStalled
	}
	return len(e.jobs), nil
}

// sweep forgets the calls that over says have ended. It reports whether there were some.
func (e *encoder) sweep(over func(*decode.Texts) bool) bool {
	n := len(e.jobs)
	e.jobs = slices.DeleteFunc(e.jobs, func(j *textCall) bool { return over(j.Texts) })
	return len(e.jobs) < n
}

// end ends all calls with an error.
func (e *encoder) end(err error) {
	for _, j := range e.jobs {
		j.Fail(err)
	}
	e.jobs, e.laid = nil, nil
}

// lay puts a batch together: of each call a text in turn, so that one with few does not wait for one with many.
func (e *encoder) lay() {
	e.net.reset()
	e.laid = e.laid[:0]
	served := 0
	for more := true; more; {
		more = false
		for _, j := range e.jobs {
			if !skip(j.Texts) || !e.net.fits(len(j.In.List[j.Next])) {
				continue
			}
			var kinds []int32
			if j.In.Types != nil {
				kinds = j.In.Types[j.Next]
			}
			e.net.join(j.In.List[j.Next], kinds)
			e.laid = append(e.laid, placed{j, j.Next})
			j.Next++
			more = true
		}
		if served == 0 {
			served = len(e.laid)
		}
	}
	for _, p := range e.laid[:served] { // the first of each
		at := slices.Index(e.jobs, p.job)
		e.jobs = append(slices.Delete(e.jobs, at, at+1), p.job)
	}
}

// unwanted says that nobody waits for any text of the batch.
func (e *encoder) unwanted() bool {
	return !slices.ContainsFunc(e.laid, func(p placed) bool { return !p.job.stream.Canceled() })
}

// vector is what the batch's i-th text comes to.
func (e *encoder) vector(i int, pooling string) []float32 {
	out := make([]float32, e.width)
	e.net.pooled(out, i, pooling)
	if pooling == "rank" {
		return []float32{e.net.score(out)}
	}
	return out
}

// Close frees all.
func (e *encoder) Close() error {
	e.end(serval.ErrRetired)
	e.team.Close()
	return errors.Join(e.net.free(), e.arena.Close(), e.f.Close())
}
