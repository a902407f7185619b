package llama

import (
	"math"
	"sync"

	"serval"
	"serval/llm/sample"
)

// each runs f for every sequence of the batch, on several goroutines where picking tokens is work, and waits for them.
func (d *decoder) each(f func(*sequence)) {
	work := 0
	for _, s := range d.batched {
		if s.sampler != nil && (!s.sampler.Plain() || s.state != nil || s.in.Logprobs >= 0) {
			work++
		}
	}
	n := min(work, d.threads)
	if n < 2 {
		for _, s := range d.batched {
			f(s)
		}
		return
	}
	var wait sync.WaitGroup
	for i := range n {
		wait.Go(func() {
			for j := i; j < len(d.batched); j += n {
				f(d.batched[j])
			}
		})
	}
	wait.Wait()
}

// take reads the logits of a sequence's rows: log-probabilities of the prompt, and the tokens that follow. It touches nothing
// but s and its logits, so sequences may be taken at the same time.
func (d *decoder) take(s *sequence) {
	for i := range s.rows {
		at := s.done + i
		switch {
		case s.err != nil:
		case at+1 < len(s.tokens):
			if s.echoes(at + 1) {
				d.takeEcho(s, at+1, s.row+i)
			}
		case s.in.Limit == 0:
			if s.echoes(0) { // of one token
				s.echo = []serval.Token{{ID: s.tokens[0]}}
			}
			s.finish = serval.Length
		default:
			d.pick(s, s.row+i)
		}
	}
	s.done += s.rows
	for g := range s.guesses { // each was computed as if it had been picked
		row := s.row + s.rows + g
		if s.over() || s.tokens[len(s.tokens)-1] != d.main.batch.tokens[row] {
			break
		}
		s.accepted++
		s.done++
		d.pick(s, row)
	}
}

// takeEcho records the log-probability of the prompt's token at position i.
func (d *decoder) takeEcho(s *sequence, i, row int) {
	if len(s.echo) == 0 {
		s.echo = append(make([]serval.Token, 0, s.prompt), serval.Token{ID: s.tokens[0]})
	}
	logits := d.main.logits(row, d.vocab)
	if logits == nil {
		s.err = serval.Errorf(serval.Internal, "llama.cpp gave no logits for row %d", row)
		return
	}
	s.echo = append(s.echo, sample.Logprobs(logits, s.tokens[i], s.in.PromptLogprobs))
}

// pick chooses the token that follows the last one, from the logits of a row, and decides whether the answer ends with it.
func (d *decoder) pick(s *sequence, row int) {
	logits := d.main.logits(row, d.vocab)
	if logits == nil {
		s.err = serval.Errorf(serval.Internal, "llama.cpp gave no logits for row %d", row)
		return
	}
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
		return sample.Argmax(logits)
	}
	return s.sampler.Sample(logits, allowed)
}

// pickAndTell picks a token and tells its log-probability, which is that of the logits before they were changed.
func (d *decoder) pickAndTell(s *sequence, logits []float32, allowed []uint64, t *serval.Token) int32 {
	if s.sampler.Plain() {
		id := d.choose(s, logits, allowed) // plain: the logits stay as they are
		*t = sample.Logprobs(logits, id, s.in.Logprobs)
		return id
	}
	raw := append([]float32(nil), logits...)
	id := s.sampler.Sample(logits, allowed)
	*t = sample.Logprobs(raw, id, s.in.Logprobs)
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
	if s.made() >= s.in.Limit || len(s.tokens) >= d.window {
		s.finish = serval.Length
	}
}

// impossible says why no token could be picked.
func (d *decoder) impossible(s *sequence, logits []float32) error {
	for _, l := range logits {
		if math.IsNaN(float64(l)) {
			return serval.Errorf(serval.Internal, "model '%s' computed numbers that are none (NaN); its file may be damaged", d.name)
		}
	}
	if s.state != nil {
		return serval.Errorf(serval.Internal, "model '%s' has no token that the constraint allows here", d.name)
	}
	return serval.Errorf(serval.InvalidArgument, "no token is left that may be picked; see logit_bias").At("logit_bias")
}

// settle takes back what guesses put into the cache in vain, and hands the new tokens on.
func (d *decoder) settle(s *sequence) {
	if len(s.cells) > s.done {
		d.lib.seqRm(d.main.mem, s.id, int32(s.done), -1)
		s.cells = d.cells.drop(s.cells, s.done)
	}
	if s.guesses > 0 {
		s.drafted += s.guesses
		s.guess.saw(s.guesses, s.accepted)
	}
	if len(s.fresh) > 0 || s.finish != serval.More && s.err == nil {
		d.emit(s)
	}
}
