package grammar

import (
	"strings"
	"sync"
)

// Bound is a grammar and the vocabulary whose tokens it allows. It is not changed once made, and safe for concurrent use.
type Bound struct {
	net     *network
	lex     *Lexicon
	colors  []uint64 // of states
	follows []uint64 // hashes of what follows each rule
	special *trie    // special tokens that the grammar spells out; nil: none
	admit   map[int32][]byte
	lazy    *triggers // nil: the grammar binds from the start
}

// Bind makes the grammar ready for a vocabulary. A *Lexicon is used as it is; any other vocabulary is indexed first, which
// takes longer than all else: keep an Index for each model.
func (g *Grammar) Bind(v Vocabulary) *Bound {
	b := &Bound{net: g.net, lex: Index(v)}
	b.colors = colors(g.net, b.lex.seed)
	b.follows = make([]uint64, len(g.net.follow))
	for i, f := range g.net.follow {
		h := b.lex.seed
		for _, w := range f {
			h = mix(h, w)
		}
		b.follows[i] = h
	}
	b.admit = map[int32][]byte{}
	var words []word
	for _, w := range b.lex.specials {
		if len(w.bytes) <= maxPiece && g.spells(string(w.bytes)) {
			words = append(words, w)
			b.admit[w.token] = w.bytes
		}
	}
	if len(words) > 0 {
		b.special = makeTrie(words)
	}
	if len(g.triggers) > 0 {
		b.lazy = newTriggers(b, g.triggers)
	}
	return b
}

// spells says whether the grammar has a literal with a text in it.
func (g *Grammar) spells(text string) bool {
	for _, l := range g.literals {
		if strings.Contains(l, text) {
			return true
		}
	}
	return false
}

// runner is a machine that a state shares with its clones.
type runner struct {
	sync.Mutex
	*machine
}

// State is where one sequence stands in a grammar. A state is used by one goroutine at a time; its clones may be used by
// others.
type State struct {
	b      *Bound
	run    *runner
	at     *config
	ended  bool
	free   bool  // a lazy grammar whose trigger has not come
	search int32 // how much of a trigger has
}

// Start is the state before the first token.
func (b *Bound) Start() *State {
	s := &State{b: b, run: &runner{machine: newMachine(b.net)}, free: b.lazy != nil}
	s.at = s.run.start()
	return s
}

// Clone is a copy that goes on by itself: for several answers, or for tokens that are tried.
func (s *State) Clone() *State {
	c := *s
	return &c
}

// Done says whether the text so far is complete, so that the answer may end here. With a lazy grammar, it also may while no
// trigger came.
func (s *State) Done() bool { return s.free || s.at.pops }

// Ended says whether an end token was accepted, or nothing but one can come: the text is complete and cannot go on.
func (s *State) Ended() bool { return s.ended || !s.free && s.at.pops && len(s.at.items) == 0 }

// Bound is what the state belongs to.
func (s *State) Bound() *Bound { return s.b }

// fewItems is up to how many ways of reading the text a mask is put together from theirs; with more, the vocabulary is walked.
const fewItems = 24

// Mask writes which tokens may come next, one bit each, the lowest bit of the first word for token 0; bits has room for the
// vocabulary. End tokens may come where Done. Special tokens may not, but for those whose text the grammar has in a literal.
// No bit is set where nothing may come: the text has ended, or this vocabulary cannot spell what would have to come.
func (s *State) Mask(bits []uint64) {
	clear(bits)
	if s.ended {
		return
	}
	if s.Done() {
		for _, id := range s.b.lex.ends {
			bits[id>>6] |= 1 << (id & 63)
		}
	}
	if s.free {
		s.b.lazy.mask(s.search, bits)
		return
	}
	s.run.Lock()
	defer s.run.Unlock()
	m := s.run.machine
	m.work = maxWork
	items := s.at.items
	if len(items) > fewItems {
		m.walk(s.at, s.b.lex.trie, bits)
		items = nil
	}
	for _, it := range items {
		l := s.b.local(it.state)
		if l.all {
			m.walk(s.at, s.b.lex.trie, bits)
			break
		}
		for i, w := range l.bits {
			bits[i] |= w
		}
		for _, id := range l.few {
			bits[id>>6] |= 1 << (id & 63)
		}
		if l.rest != nil && it.frame != nil {
			m.walk(m.pop(it.frame), l.rest, bits)
		}
	}
	if s.b.special != nil {
		m.walk(s.at, s.b.special, bits)
	}
	s.tidy()
}

// tidy forgets moves when there are too many. The current config stays.
func (s *State) tidy() {
	if m := s.run.machine; len(m.configs) > maxConfigs || len(m.frames) > maxConfigs {
		m.forget()
		s.at = &config{items: s.at.items, pops: s.at.pops}
	}
}

// Accept moves on by a token and says whether it was allowed; if not, nothing changes.
func (s *State) Accept(token int32) bool {
	if s.ended || token < 0 || int(token) >= len(s.b.lex.pieces) {
		return false
	}
	if s.b.lex.IsEnd(token) {
		s.ended = s.Done()
		return s.ended
	}
	if s.free {
		return s.acceptFree(token)
	}
	piece := s.b.lex.pieces[token]
	if piece == nil {
		piece = s.b.admit[token]
	}
	return len(piece) > 0 && s.AcceptText(piece)
}

// AcceptText moves on by bytes and says whether they were allowed; if not, nothing changes.
func (s *State) AcceptText(text []byte) bool {
	s.run.Lock()
	defer s.run.Unlock()
	at := s.run.feed(s.at, text)
	if at == nil {
		return false
	}
	s.at = at
	s.tidy()
	return true
}

// feed reads bytes, and returns nil where they do not fit.
func (m *machine) feed(c *config, text []byte) *config {
	m.work = maxWork
	for _, b := range text {
		if c = m.step(c, b); c.dead() {
			return nil
		}
	}
	return c
}

// Forced are the bytes that must come next, at most so many: as long as there is one way only. Nothing changes.
func (s *State) Forced(most int) []byte {
	if s.free || s.ended {
		return nil
	}
	s.run.Lock()
	defer s.run.Unlock()
	var out []byte
	s.run.work = maxWork
	for at := s.at; len(out) < most && !at.pops; {
		next, count := byte(0), 0
		for _, it := range at.items {
			for _, e := range s.b.net.edgesOf(it.state) {
				if e.lo != e.hi || count > 0 && e.lo != next {
					return out
				}
				next, count = e.lo, 1
			}
		}
		if count == 0 {
			return out
		}
		out = append(out, next)
		at = s.run.step(at, next)
	}
	return out
}
