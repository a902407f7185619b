package gguf

import (
	"errors"
	"slices"

	"serval/llm/decode"
)

// errFull cannot come, since one sequence alone always fits; see check.
var errFull = errors.New("gguf: the key-value cache has no room for a single sequence")

// worthWaiting is how many tokens more an earlier sequence must promise for a later one to wait for it.
const worthWaiting = block

// start gives places in the cache to sequences that have none.
func (d *decoder) start() {
	for i, s := range d.live {
		if s.placed || s.Waits() {
			continue
		}
		if s.Made() > 0 && i > 0 && blocksFor(len(s.Tokens)+ahead) > d.cache.idle() { // it lost its place; not before all of it fits
			return
		}
		if !d.promised(i) {
			d.place(s)
		}
	}
}

// promised says whether an earlier sequence will soon have more of what the i-th begins with than the cache has now.
func (d *decoder) promised(i int) bool {
	s := d.live[i]
	most := s.Cacheable() / block * block
	if most == 0 {
		return false
	}
	there := -1
	for _, o := range d.live[:i] {
		if o.In.Salt != s.In.Salt || o.Waits() || !o.placed || o.Done >= o.Prompt {
			continue
		}
		n := min(decode.Common(o.Tokens[:o.Prompt], s.Tokens), most) / block * block
		if n <= o.Done {
			continue
		}
		if there < 0 {
			there = d.cache.known(s.In.Salt, s.Tokens[:most]) * block
		}
		if n >= there+worthWaiting {
			return true
		}
	}
	return false
}

// place gives s a place in the cache, with what of its beginning is there already.
func (d *decoder) place(s *sequence) {
	s.table, s.last = d.cache.find(s.table[:0], s.In.Salt, s.Tokens[:s.Cacheable()])
	s.placed, s.named = true, len(s.table)
	s.Done = s.named * block
	if from, n := d.cache.closest(s.last, s.In.Salt, s.Tokens[s.Done:s.Cacheable()]); n > 0 { // some of what follows is there, too
		d.cache.hold(from)
		if b, ok := d.cache.take(); ok {
			d.net.copyBlock(b, from)
			s.table = append(s.table, b)
			s.Done += n
		}
		d.cache.copied(s.table[:s.named], from)
	}
	s.Began()
}

// unplace takes it away.
func (d *decoder) unplace(s *sequence) {
	if at := s.named * block; s.Done > at {
		d.cache.tail(s.table[s.named], s.last, s.In.Salt, s.named, s.Tokens[at:s.Done])
	}
	d.cache.release(s.table)
	s.placed, s.table, s.named, s.last, s.Done = false, s.table[:0], 0, 0, 0
}

// room gives s blocks for n more tokens, as far as no other sequence holds them; it returns for how many tokens there are some.
func (d *decoder) room(s *sequence, n int) int {
	for len(s.table)*block < s.Done+n {
		b, ok := d.cache.take()
		if !ok && d.dropTexts(nil) {
			continue
		}
		if !ok {
			break
		}
		s.table = append(s.table, b)
	}
	return min(n, len(s.table)*block-s.Done)
}

// must gives s room for a token; the sequence that came last loses its place for it, and is computed again later. It reports
// false if that is s itself. Sequences must be asked for in the order in which they came, so that none that has rows in the batch
// loses its place.
func (d *decoder) must(s *sequence) bool {
	for d.room(s, 1) == 0 {
		at := len(d.live) - 1
		for at >= 0 && !d.live[at].placed {
			at--
		}
		if at < 0 {
			return false
		}
		last := d.live[at]
		if last == s && !slices.ContainsFunc(d.live, func(o *sequence) bool { return o.placed && o != s }) {
			return false
		}
		d.unplace(last)
		if last == s {
			return false
		}
	}
	return true
}

// lay puts the batch together: the token that each running sequence picked last, guesses at what follows, and a piece of the
// prompts. It returns how many rows are not of prompts.
func (d *decoder) lay() (running int, err error) {
	d.net.reset()
	d.laid = d.laid[:0]
	for _, s := range d.live {
		if !s.running() || s.Waits() {
			continue
		}
		if d.must(s) {
			d.laid = append(d.laid, s)
		} else if s.placed {
			return 0, errFull
		}
	}
	d.guess()
	for _, s := range d.laid {
		d.add(s, 1)
	}
	running = d.net.rows()
	d.layPrompts(running)
	return running, nil
}

// guess sets what may follow the next tokens of the running sequences. Guesses take no block from anybody, and leave half of the logits
// to others.
func (d *decoder) guess() {
	if d.cache.idle() <= len(d.laid) { // each may need one more
		return
	}
	for _, s := range d.laid {
		d.guesses.Offer(s.Answer, block)
	}
	d.guesses.Choose(&d.pace, len(d.laid), d.plan.outputs/2-len(d.laid))
	for _, s := range d.laid {
		if n := len(s.Guesses); n > 0 {
			s.Guesses = s.Guesses[:d.room(s, 1+n)-1]
		}
	}
}

// add adds the next n tokens of s to the batch, and its guesses. There is room for them.
func (d *decoder) add(s *sequence, n int) {
	s.rows, s.out = n, d.net.outputs()
	tokens := s.Tokens[s.Done : s.Done+n]
	if len(s.Guesses) > 0 {
		d.row = append(append(d.row[:0], tokens...), s.Guesses...)
		tokens = d.row
	}
	d.net.add(tokens, s.Done, s.table, func(i int) bool { return i >= n || s.Wants(s.Done+i) })
}

// Pieces of prompts beside running sequences take about so many seconds, but are at least so long.
const (
	patience   = 0.05
	leastPiece = 32
)

// budget is how many tokens of prompts may be computed beside running sequences.
func (d *decoder) budget(running int) int {
	most := d.plan.rows - running
	switch {
	case running == 0:
		return min(most, piece)
	case d.chunk > 0:
		return min(most, d.chunk)
	case d.pace.PerPrompt() == 0:
		return min(most, 2*leastPiece)
	}
	return min(most, max(int(patience/d.pace.PerPrompt()), leastPiece))
}

// layPrompts adds pieces of the prompts that are read: the first gets half of the budget or more, the shortest the rest, so that
// they pass a long one and the long one gets on.
func (d *decoder) layPrompts(running int) {
	budget := d.budget(running)
	var first *sequence
	var others []*sequence
	for _, s := range d.live {
		if !s.placed || s.Waits() || s.running() || s.Left() == 0 {
			continue
		}
		if first == nil {
			first = s
		} else {
			others = append(others, s)
		}
	}
	if first == nil {
		return
	}
	slices.SortStableFunc(others, func(a, b *sequence) int { return a.Left() - b.Left() })
	rest := 0
	for _, s := range others {
		rest += s.Left()
	}
	budget -= d.layPrompt(first, max((budget+1)/2, budget-rest))
	for _, s := range others {
		if budget <= 0 {
			return
		}
		budget -= d.layPrompt(s, budget)
	}
}

// layPrompt adds at most n tokens of a prompt and returns how many. Where the log-probabilities of its tokens are asked for, the
// logits of each row are needed, which bounds it.
func (d *decoder) layPrompt(s *sequence, n int) int {
	n = min(n, s.Left())
	logits := d.plan.outputs - d.net.outputs()
	if s.Echoes(s.Done + 1) {
		n = min(n, logits)
	} else if s.Left() == n && logits == 0 {
		n-- // no room for the logits of its last token
	}
	if n <= 0 {
		return 0
	}
	if n = d.room(s, n); n == 0 {
		// Others lose their place for it only where nothing else can be computed: what has rows in the batch must keep its.
		if len(d.laid) > 0 || !d.must(s) {
			return 0
		}
		n = 1
	}
	d.add(s, n)
	d.laid = append(d.laid, s)
	return n
}

// settle names the blocks that are full now, and hands the new tokens on.
func (d *decoder) settle(s *sequence) {
	for (s.named+1)*block <= s.Done {
		s.last = d.cache.full(s.table, s.last, s.In.Salt, s.named, s.Tokens)
		s.named++
	}
	s.Tell()
}
