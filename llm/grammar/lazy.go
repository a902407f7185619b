package grammar

import "sync"

// triggers look for the first of several texts in what is generated (Aho and Corasick 1975). The states of the search are the
// beginnings of the texts.
type triggers struct {
	b     *Bound
	goes  [][256]int32 // the next state
	found []string     // the trigger that ends in a state; "" for none

	mu    sync.Mutex
	masks [][]uint64 // of each state, made when first asked for
}

func newTriggers(b *Bound, texts []string) *triggers {
	t := &triggers{b: b, goes: make([][256]int32, 1), found: make([]string, 1)}
	for _, text := range texts {
		at := int32(0)
		for i := 0; i < len(text); i++ {
			next := t.goes[at][text[i]]
			if next == 0 {
				next = int32(len(t.goes))
				t.goes = append(t.goes, [256]int32{})
				t.found = append(t.found, "")
				t.goes[at][text[i]] = next
			}
			at = next
		}
		t.found[at] = text
	}
	fail := make([]int32, len(t.goes))
	queue := []int32{0}
	for len(queue) > 0 {
		at := queue[0]
		queue = queue[1:]
		for c := range 256 {
			next := t.goes[at][c]
			fallback := int32(0)
			if at != 0 {
				fallback = t.goes[fail[at]][c]
			}
			if next == 0 {
				t.goes[at][c] = fallback
				continue
			}
			fail[next] = fallback
			if t.found[next] == "" {
				t.found[next] = t.found[fallback]
			}
			queue = append(queue, next)
		}
	}
	t.masks = make([][]uint64, len(t.goes))
	return t
}

// read goes on by bytes. If a trigger is completed, it returns that and how many bytes were read.
func (t *triggers) read(at int32, text []byte) (next int32, found string, n int) {
	for i, c := range text {
		if at = t.goes[at][c]; t.found[at] != "" {
			return at, t.found[at], i + 1
		}
	}
	return at, "", len(text)
}

// mask adds the tokens that may come while no trigger was found: all, but those that complete one and then do not fit.
func (t *triggers) mask(at int32, bits []uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.masks[at] == nil {
		m := newMachine(t.b.net)
		mask := make([]uint64, t.b.lex.words)
		for id, piece := range t.b.lex.pieces {
			if len(piece) > 0 && t.fits(m, at, piece) {
				mask[id>>6] |= 1 << (id & 63)
			}
		}
		for _, w := range t.b.lex.specials {
			if t.fits(m, at, w.bytes) {
				mask[w.token>>6] |= 1 << (w.token & 63)
			}
		}
		t.masks[at] = mask
	}
	for i, w := range t.masks[at] {
		bits[i] |= w
	}
}

func (t *triggers) fits(m *machine, at int32, piece []byte) bool {
	_, found, n := t.read(at, piece)
	if found == "" {
		return true
	}
	c := m.feed(m.start(), []byte(found))
	return c != nil && m.feed(c, piece[n:]) != nil
}

// acceptFree moves on by a token before the trigger.
func (s *State) acceptFree(token int32) bool {
	piece := s.b.lex.pieces[token]
	if piece == nil {
		piece = s.b.lex.Piece(token)
	}
	next, found, n := s.b.lazy.read(s.search, piece)
	if found == "" {
		s.search = next
		return true
	}
	s.run.Lock()
	defer s.run.Unlock()
	at := s.run.feed(s.run.start(), []byte(found))
	if at != nil {
		at = s.run.feed(at, piece[n:])
	}
	if at == nil {
		return false
	}
	s.free, s.at = false, at
	return true
}
