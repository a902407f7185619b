package grammar

import (
	bits64 "math/bits"
	"slices"
)

// local is what a state allows whatever called its rule (XGrammar's context-independent tokens, Dong et al. 2024): the tokens
// that its rule reads, or at least begins to read before it ends, and what is left of a token where the rule ends inside it.
type local struct {
	bits []uint64 // the tokens that fit as far as the rule reads; nil: few
	few  []int32  // the same as a list
	rest *trie    // what follows the rule's end within a token; nil: nothing
	all  bool     // too much is left over: the whole vocabulary is walked instead
}

// localKey names a local: states of any grammar that agree on the next maxPiece bytes share it. follow is 0, or tells what
// may follow the rule where that had to be used.
type localKey struct{ color, follow uint64 }

// Up to wideRest leftovers are kept whatever follows a rule, so that grammars share them; up to mostRest otherwise.
const (
	wideRest = 8 << 10
	mostRest = 32 << 10
	fewBits  = 512
)

// local returns what a state allows.
func (b *Bound) local(q int32) *local {
	l := b.lex
	key := localKey{color: b.colors[q]}
	narrow := localKey{b.colors[q], b.follows[b.net.states[q].rule]}
	l.mu.RLock()
	found := l.locals[key]
	if found == nil {
		found = l.locals[narrow]
	}
	l.mu.RUnlock()
	if found != nil {
		return found
	}
	made := b.makeLocal(q, nil, wideRest)
	if made == nil {
		key = narrow
		if made = b.makeLocal(q, &b.net.follow[b.net.states[q].rule], mostRest); made == nil {
			made = &local{all: true}
		}
	}
	size := 128 + 8*len(made.bits) + 4*len(made.few)
	if made.rest != nil {
		size += 16*len(made.rest.nodes) + 4*len(made.rest.tokens)
	}
	l.mu.Lock()
	if l.size += size; l.size > maxLocals {
		clear(l.locals)
		l.size = size
	}
	l.locals[key] = made
	l.mu.Unlock()
	return made
}

// makeLocal walks the vocabulary from a state at the bottom. It returns nil if more than most leftovers begin with a byte of
// follow, nil for any.
func (b *Bound) makeLocal(q int32, follow *set256, most int) *local {
	m := newMachine(b.net)
	t := b.lex.trie
	bits := make([]uint64, b.lex.words)
	set := 0
	var rest []word
	var path [maxPiece + 1]*config
	path[0] = &config{items: []item{{q, nil}}}
	for i := int32(0); i < int32(len(t.nodes)); {
		n := &t.nodes[i]
		c := m.step(path[n.depth-1], n.b)
		if c.dead() {
			i = n.end
			continue
		}
		path[n.depth] = c
		for _, id := range t.tokens[n.token0:n.token1] {
			bits[id>>6] |= 1 << (id & 63)
			set++
		}
		if c.pops {
			for j := i + 1; j < n.end; j++ {
				d := &t.nodes[j]
				if d.depth == n.depth+1 && follow != nil && !follow.has(d.b) {
					j = d.end - 1
					continue
				}
				for _, id := range t.tokens[d.token0:d.token1] {
					if len(rest) == most {
						return nil
					}
					rest = append(rest, word{b.lex.pieces[id][n.depth:], id})
				}
			}
		}
		i++
	}
	out := &local{bits: bits}
	if set <= fewBits {
		out.bits, out.few = nil, make([]int32, 0, set)
		for w, word := range bits {
			for ; word != 0; word &= word - 1 {
				out.few = append(out.few, int32(w*64+bits64.TrailingZeros64(word)))
			}
		}
	}
	if len(rest) > 0 {
		out.rest = makeTrie(rest)
	}
	return out
}

// walk sets the bits of a trie's tokens that may follow a config.
func (m *machine) walk(c *config, t *trie, bits []uint64) {
	var path [maxPiece + 1]*config
	path[0] = c
	for i := int32(0); i < int32(len(t.nodes)); {
		n := &t.nodes[i]
		c := m.step(path[n.depth-1], n.b)
		if c.dead() {
			i = n.end
			continue
		}
		path[n.depth] = c
		for _, id := range t.tokens[n.token0:n.token1] {
			bits[id>>6] |= 1 << (id & 63)
		}
		i++
	}
}

// colors hashes how each state goes on for the next maxPiece bytes: states with equal colors have equal locals. Calls are
// hashed by what the called rule reads, so it does not matter where a rule stands or what it is called.
func colors(n *network, seed uint64) []uint64 {
	now, next := make([]uint64, len(n.states)), make([]uint64, len(n.states))
	for q := range now {
		now[q] = mix(seed, truth(n.states[q].final))
	}
	order := make([]int32, 0, len(n.starts)) // who is called first, first
	for r, q := range n.starts {
		if q >= 0 {
			order = append(order, int32(r))
		}
	}
	slices.SortFunc(order, func(a, b int32) int { return int(n.rank[b] - n.rank[a]) })
	for i, r := range order {
		order[i] = n.starts[r]
	}
	hash := func(q int32) {
		h := mix(seed, truth(n.states[q].final))
		for _, e := range n.edgesOf(q) {
			h = mix(h, now[e.to]+(uint64(e.lo)<<8|uint64(e.hi)+1)*0x9E3779B97F4A7C15)
		}
		for _, c := range n.callsOf(q) {
			h = mix(h, next[n.starts[c.rule]])
			h = mix(h, now[c.to])
		}
		next[q] = h
	}
	// Always as many rounds, so that grammars agree on the colors.
	for range maxPiece {
		for _, q := range order {
			hash(q)
		}
		for q := range next {
			hash(int32(q))
		}
		now, next = next, now
	}
	return now
}

func truth(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

// mix joins two hashes (the finaliser of SplitMix64).
func mix(h, v uint64) uint64 {
	h = (h ^ v) * 0x9E3779B97F4A7C15
	h = (h ^ h>>30) * 0xBF58476D1CE4E5B9
	h = (h ^ h>>27) * 0x94D049BB133111EB
	return h ^ h>>31
}
