package gguf

import (
	"math"

	"serval"
	"serval/llm/sample"
)

// takeAll reads the logits of the batch, on all threads: sequences do not touch each other.
func (d *decoder) takeAll() {
	d.team.Run(len(d.laid), func(_, i int) { d.take(d.laid[i]) })
}

// take reads the logits of a sequence's rows: log-probabilities of the prompt, and the token that follows. It touches nothing
// but s and its logits.
func (d *decoder) take(s *sequence) {
	out := s.out
	for i := range s.rows {
		at := s.done + i
		if !s.wants(at) {
			if at+1 == len(s.tokens) { // Limit is 0
				if s.echoes(0) { // of one token
					s.echo = []serval.Token{{ID: s.tokens[0]}}
				}
				s.finish = serval.Length
			}
			continue
		}
		logits := d.net.logits(out)
		out++
		if at+1 < len(s.tokens) {
			d.takeEcho(s, at+1, logits)
		} else {
			d.pick(s, logits)
			s.done += s.rows
			return
		}
	}
	s.done += s.rows
}

// takeEcho records the log-probability of the prompt's token at position i.
func (d *decoder) takeEcho(s *sequence, i int, logits []float32) {
	if len(s.echo) == 0 {
		s.echo = append(make([]serval.Token, 0, s.prompt), serval.Token{ID: s.tokens[0]})
	}
	s.echo = append(s.echo, sample.Logprobs(logits, s.tokens[i], s.in.PromptLogprobs))
}

// pick chooses the token that follows the last one, and decides whether the answer ends with it.
func (d *decoder) pick(s *sequence, logits []float32) {
	var allowed []uint64
	if s.state != nil {
		s.state.Mask(s.mask)
		allowed = s.mask
	}
	var token serval.Token
	if s.in.Logprobs >= 0 {
		kept := d.pickAndTell(s, logits, allowed, &token)
		token.ID = kept
	} else {
		token.ID = d.choose(s, logits, allowed)
	}
	if token.ID < 0 {
		s.err = d.impossible(s, logits)
		return
	}
	s.sampler.Accept(token.ID)
	s.tokens = append(s.tokens, token.ID)
	s.fresh = append(s.fresh, token)
	d.conclude(s, token.ID)
}

func (d *decoder) choose(s *sequence, logits []float32, allowed []uint64) int32 {
	if allowed == nil && s.sampler.Plain() {
		i := d.net.ops.ArgMax(logits)
		if v := logits[i]; math.IsInf(float64(v), -1) || v != v { // none is possible
			return -1
		}
		return int32(i)
	}
	return s.sampler.Sample(logits, allowed)
}

// pickAndTell picks a token and tells its log-probability, which is that of the logits before they were changed.
func (d *decoder) pickAndTell(s *sequence, logits []float32, allowed []uint64, t *serval.Token) int32 {
	if s.sampler.Plain() {
		id := d.choose(s, logits, allowed) // plain: the logits stay as they are
		if id >= 0 {
			*t = sample.Logprobs(logits, id, s.in.Logprobs)
		}
		return id
	}
	raw := append([]float32(nil), logits...)
	id := s.sampler.Sample(logits, allowed)
	if id >= 0 {
		*t = sample.Logprobs(raw, id, s.in.Logprobs)
	}
	return id
}

// conclude decides whether the answer ends with the token that was picked last.
func (d *decoder) conclude(s *sequence, id int32) {
	end := d.words.IsEnd(id)
	if s.state != nil {
		if !s.state.Accept(id) {
			s.err = serval.Errorf(serval.Internal, "the constraint does not allow token %d, which it allowed before", id)
			return
		}
		if s.state.Ended() {
			s.finish = serval.Stop
			return
		}
	} else if end && !s.in.Sampling.IgnoreEnd {
		s.finish = serval.Stop
		return
	}
	for _, stop := range s.in.Sampling.StopTokens {
		if id == stop {
			s.finish = serval.Stop
			if s.state != nil && !s.state.Done() { // cut before it was a word of the language
				s.finish = serval.Length
			}
			return
		}
	}
	if s.made() >= s.in.Limit || len(s.tokens) >= d.plan.context {
		s.finish = serval.Length
	}
}

// impossible says why no token could be picked.
func (d *decoder) impossible(s *sequence, logits []float32) error {
	for _, l := range logits {
		if math.IsNaN(float64(l)) {
			return d.damaged()
		}
	}
	if s.state != nil {
		return serval.Errorf(serval.Internal, "model '%s' has no token that the constraint allows here", d.name)
	}
	return serval.Errorf(serval.InvalidArgument, "no token is left that may be picked; see logit_bias").At("logit_bias")
}

// damaged is the answer where what was computed is no number.
func (d *decoder) damaged() error {
	return serval.Errorf(serval.Internal, "model '%s' computed numbers that are none (NaN); its file may be damaged", d.name)
}
