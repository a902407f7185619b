package sample

import "serval"

// penalty makes tokens less likely that are in the window: the last tokens of prompt and answer.
type penalty struct {
	repetition, presence, frequency float32

	window  int     // -1: all
	history []int32 // the window as a ring of the answer's and the prompt's tokens; the answer's as -1-token
	oldest  int

	place []int32 // of a token in seen, plus 1
	seen  []count
}

// count is how often a token is in the window.
type count struct {
	id     int32
	all    int32
	answer int32
}

// newPenalty is nil where none is asked for.
func newPenalty(s *serval.Sampling, vocab int, prompt []int32) *penalty {
	p := &penalty{repetition: s.RepetitionPenalty, presence: s.PresencePenalty, frequency: s.FrequencyPenalty, window: s.PenaltyWindow}
	if p.repetition <= 0 {
		p.repetition = 1
	}
	if p.repetition == 1 && p.presence == 0 && p.frequency == 0 || p.window == 0 {
		return nil
	}
	p.place = make([]int32, vocab)
	if p.window > 0 {
		prompt = prompt[max(0, len(prompt)-p.window):]
	}
	for _, id := range prompt {
		p.add(id, false)
	}
	return p
}

// add appends a token and drops the one that leaves the window.
func (p *penalty) add(id int32, answer bool) {
	if id < 0 || int(id) >= len(p.place) {
		return
	}
	p.change(id, answer, 1)
	if p.window < 0 {
		return
	}
	note := id
	if answer {
		note = -1 - id
	}
	if len(p.history) < p.window {
		p.history = append(p.history, note)
		return
	}
	gone := p.history[p.oldest]
	p.history[p.oldest] = note
	if p.oldest++; p.oldest == p.window {
		p.oldest = 0
	}
	if gone < 0 {
		p.change(-1-gone, true, -1)
	} else {
		p.change(gone, false, -1)
	}
}

func (p *penalty) change(id int32, answer bool, by int32) {
	at := p.place[id] - 1
	if at < 0 {
		at = int32(len(p.seen))
		p.seen = append(p.seen, count{id: id})
		p.place[id] = at + 1
	}
	c := &p.seen[at]
	c.all += by
	if answer {
		c.answer += by
	}
	if c.all == 0 {
		last := len(p.seen) - 1
		p.seen[at] = p.seen[last]
		p.place[p.seen[at].id] = at + 1
		p.place[id] = 0
		p.seen = p.seen[:last]
	}
}

// apply changes the logits of the tokens in the window.
func (p *penalty) apply(logits []float32) {
	for _, c := range p.seen {
		if int(c.id) >= len(logits) {
			continue
		}
		l := logits[c.id]
		if l > 0 {
			l /= p.repetition
		} else {
			l *= p.repetition
		}
		if c.answer > 0 {
			l -= p.presence + p.frequency*float32(c.answer)
		}
		logits[c.id] = l
	}
}
