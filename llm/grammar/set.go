package grammar

import "slices"

// span is a range of code points, both ends included.
type span struct{ lo, hi rune }

// set is a set of code points: spans in order that neither overlap nor touch.
type set []span

const lastRune = 0x10FFFF

// surrogates are no characters: UTF-8 has none of them.
var surrogates = span{0xD800, 0xDFFF}

// makeSet orders and joins spans in any order.
func makeSet(spans ...span) set {
	s := slices.Clone(spans)
	slices.SortFunc(s, func(a, b span) int { return int(a.lo - b.lo) })
	out := s[:0]
	for _, p := range s {
		if p.hi < p.lo {
			continue
		}
		if n := len(out); n > 0 && p.lo <= out[n-1].hi+1 {
			out[n-1].hi = max(out[n-1].hi, p.hi)
			continue
		}
		out = append(out, p)
	}
	return out
}

// one is the set of a single code point.
func one(r rune) set { return set{{r, r}} }

// of is the set of the characters of a text.
func of(text string) set {
	var spans []span
	for _, r := range text {
		spans = append(spans, span{r, r})
	}
	return makeSet(spans...)
}

func anyRune() set { return set{{0, lastRune}} }

func (s set) or(t set) set { return makeSet(append(slices.Clone(s), t...)...) }

// not are the code points that are missing.
func (s set) not() set {
	var out set
	next := rune(0)
	for _, p := range s {
		if p.lo > next {
			out = append(out, span{next, p.lo - 1})
		}
		next = p.hi + 1
	}
	if next <= lastRune {
		out = append(out, span{next, lastRune})
	}
	return out
}

func (s set) and(t set) set {
	var out set
	for i, j := 0, 0; i < len(s) && j < len(t); {
		lo, hi := max(s[i].lo, t[j].lo), min(s[i].hi, t[j].hi)
		if lo <= hi {
			out = append(out, span{lo, hi})
		}
		if s[i].hi < t[j].hi {
			i++
		} else {
			j++
		}
	}
	return out
}

func (s set) minus(t set) set { return s.and(t.not()) }

func (s set) has(r rune) bool {
	_, ok := slices.BinarySearchFunc(s, r, func(p span, r rune) int {
		if p.hi < r {
			return -1
		}
		if p.lo > r {
			return 1
		}
		return 0
	})
	return ok
}

// size is how many code points there are.
func (s set) size() int {
	n := 0
	for _, p := range s {
		n += int(p.hi-p.lo) + 1
	}
	return n
}
