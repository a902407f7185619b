package decode

import (
	"math"

	"serval"
	"serval/llm/sample"
)

// Take reads what was computed for the answer's next n tokens and its guesses: log-probabilities of the prompt, and the tokens that
// follow. logits are those of the i-th of these rows, which Take may overwrite, nil if there are none; they are asked for in order,
// once, and only for guesses and for tokens that Wants named. Take touches nothing but the answer, so several may be taken at the same
// time.
func (a *Answer) Take(n int, logits func(i int) []float32) {
	for i := range n {
		switch at := a.Done + i; {
		case a.err != nil:
		case at+1 < len(a.Tokens):
			if a.Echoes(at + 1) {
				a.takeEcho(at+1, logits(i))
			}
		case a.In.Limit == 0:
			if a.Echoes(0) { // of one token
				a.echo = []serval.Token{{ID: a.Tokens[0]}}
			}
			a.finish = serval.Length
		default:
			a.pick(logits(i))
		}
	}
	a.Done += n
	if len(a.Guesses) == 0 {
		return
	}
	a.drafted += len(a.Guesses)
	for i, g := range a.Guesses { // each was computed as if it had been picked
		if a.Over() || a.Tokens[len(a.Tokens)-1] != g {
			break
		}
		a.Done++
		a.right++
		a.pick(logits(n + i))
	}
	a.Guesses = nil
}

// takeEcho records the log-probability of the prompt's token at position i.
func (a *Answer) takeEcho(i int, logits []float32) {
	if logits == nil {
		a.err = a.model.noLogits()
		return
	}
	if len(a.echo) == 0 {
		a.echo = append(make([]serval.Token, 0, a.Prompt), serval.Token{ID: a.Tokens[0]})
	}
	a.echo = append(a.echo, sample.Logprobs(logits, a.Tokens[i], a.In.PromptLogprobs))
}

// pick chooses the token that follows the last one, and decides whether the answer ends with it.
func (a *Answer) pick(logits []float32) {
	if logits == nil {
		a.err = a.model.noLogits()
		return
	}
	var allowed []uint64
	if a.state != nil {
		a.state.Mask(a.mask)
		allowed = a.mask
	}
	token := serval.Token{}
	if a.In.Logprobs >= 0 {
		token = a.pickAndTell(logits, allowed)
	} else {
		token.ID = a.choose(logits, allowed)
	}
	if token.ID < 0 {
		a.err = a.impossible(logits)
		return
	}
	a.sampler.Accept(token.ID)
	a.Tokens = append(a.Tokens, token.ID)
	a.fresh = append(a.fresh, token)
	if a.speculate {
		a.guesser.saw(a.Tokens)
	}
	a.conclude(token.ID)
}

func (a *Answer) choose(logits []float32, allowed []uint64) int32 {
	if allowed == nil && a.sampler.Plain() {
		return a.model.Argmax(logits)
	}
	return a.sampler.Sample(logits, allowed)
}

// pickAndTell picks a token and tells its log-probability, which is that of the logits before they were changed.
func (a *Answer) pickAndTell(logits []float32, allowed []uint64) serval.Token {
	raw := logits
	if !a.sampler.Plain() {
		a.raw = append(a.raw[:0], logits...)
		raw = a.raw
	}
	id := a.choose(logits, allowed)
	if id < 0 {
		return serval.Token{ID: id}
	}
	return sample.Logprobs(raw, id, a.In.Logprobs)
}

// conclude decides whether the answer ends with the token that was picked last.
func (a *Answer) conclude(id int32) {
	if a.state != nil {
		if !a.state.Accept(id) {
			a.err = serval.Errorf(serval.Internal, "the constraint does not allow token %d, which it allowed before", id)
			return
		}
		if a.state.Ended() {
			a.finish = serval.Stop
			return
		}
	} else if a.model.Words.IsEnd(id) && !a.In.Sampling.IgnoreEnd {
		a.finish = serval.Stop
		return
	}
	for _, stop := range a.In.Sampling.StopTokens {
		if id == stop {
			a.finish = serval.Stop
			if a.state != nil && !a.state.Done() { // cut before it was a word of the language
				a.finish = serval.Length
			}
			return
		}
	}
	if a.Made() >= a.In.Limit || len(a.Tokens) >= a.model.Context {
		a.finish = serval.Length
	}
}

// impossible says why no token could be picked.
func (a *Answer) impossible(logits []float32) error {
	for _, l := range logits {
		if math.IsNaN(float64(l)) {
			return a.model.damaged()
		}
	}
	if a.state != nil {
		return serval.Errorf(serval.Internal, "model '%s' has no token that the constraint allows here", a.model.Name)
	}
	return serval.Errorf(serval.InvalidArgument, "no token is left that may be picked; see logit_bias").At("logit_bias")
}

func (m *Model) noLogits() error {
	return serval.Errorf(serval.Internal, "model '%s' computed no logits for a token that needs some", m.Name)
}
