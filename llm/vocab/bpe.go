package vocab

import (
	"sync"
	"unicode/utf8"
)

// bpe is byte pair encoding: a text is cut into words, and in each word the neighbours whose merge was learnt first become one,
// until no merge is left.
type bpe struct {
	split   splitter
	symbols *symbols
	pairs   pairs
	cache   *cache
	pool    sync.Pool // of *scratch

	raw    bool       // symbols are characters; else bytes, by GPT-2's alphabet
	first  [256]int32 // the symbol of each byte, unless raw
	whole  bool       // see preset
	line   bool       // see preset.newline
	bytes  [256]int32 // the tokens of bytes, for what is no token; noToken where there is none
	orByte bool       // bytes are used
	unk    int32      // for what is no token otherwise; noToken: it is left out
	fuse   bool       // neighbouring unks become one
	begin  string     // what a word that goes on begins with: "##"
	end    string     // what a word ends with: "</w>"
}

// noToken is the id of nothing.
const noToken = -1

// symbols numbers the strings that merges are made of. Those below tokens are tokens, by their ids.
type symbols struct {
	ids    map[string]int32 // tokens only: the vocabulary's own map
	more   map[string]int32
	tokens int32
	texts  []string // of those that are no tokens
}

func newSymbols(ids map[string]int32, tokens int) *symbols {
	return &symbols{ids: ids, more: map[string]int32{}, tokens: int32(tokens)}
}

// find is the symbol of s; noToken when there is none.
func (y *symbols) find(s string) int32 {
	if id, ok := y.ids[s]; ok {
		return id
	}
	if id, ok := y.more[s]; ok {
		return id
	}
	return noToken
}

// of is the symbol of s, which is made if there is none.
func (y *symbols) of(s string) int32 {
	id := y.find(s)
	if id == noToken {
		id = y.tokens + int32(len(y.texts))
		y.more[s] = id
		y.texts = append(y.texts, s)
	}
	return id
}

// pairs is a hash table from two symbols to the rank of their merge and what it makes: open addressing, at most half full.
type pairs struct {
	slots []pair
	shift uint
}

type pair struct {
	key  uint64 // left<<32 | right, plus 1: 0 is an empty slot
	rank int32
	id   int32
}

func newPairs(n int) pairs {
	bits := uint(4)
	for 1<<bits < 2*n {
		bits++
	}
	return pairs{slots: make([]pair, 1<<bits), shift: 64 - bits}
}

func pairKey(left, right int32) uint64 { return uint64(uint32(left))<<32 | uint64(uint32(right)) + 1 }

func (p *pairs) find(key uint64) *pair {
	for i := key * 0x9E3779B97F4A7C15 >> p.shift; ; i = (i + 1) % uint64(len(p.slots)) {
		if s := &p.slots[i]; s.key == key || s.key == 0 {
			return s
		}
	}
}

// add adds a merge. Of two with the same symbols the first counts, or the last if last is set.
func (p *pairs) add(left, right, id, rank int32, last bool) {
	key := pairKey(left, right)
	if s := p.find(key); s.key == 0 || last {
		*s = pair{key: key, rank: rank, id: id}
	}
}

// may is what scratch.merge asks.
func (b *bpe) may(l, r *link) (int64, int32, bool) {
	if l.id < 0 || r.id < 0 {
		return 0, 0, false
	}
	s := b.pairs.find(pairKey(l.id, r.id))
	return int64(s.rank), s.id, s.key != 0
}

// append adds the tokens of a text.
func (b *bpe) append(dst []int32, s string) []int32 {
	b.split.split(s, classes(), func(word string) { dst = b.word(dst, word) })
	return dst
}

// word adds the tokens of one word.
func (b *bpe) word(dst []int32, word string) []int32 { return b.cache.through(dst, word, b.merged) }

func (b *bpe) merged(dst []int32, word string) []int32 {
	if b.whole || b.line && tail(text{s: word}, 0, "\n") == len(word) {
		if id, ok := b.symbols.ids[b.spelled(word)]; ok {
			return append(dst, id)
		}
	}
	s, _ := b.pool.Get().(*scratch)
	if s == nil {
		s = &scratch{}
	}
	s.links = s.links[:0]
	if b.raw {
		b.characters(s, word)
	} else {
		for i := range len(word) {
			s.links = append(s.links, link{prev: int32(i) - 1, next: int32(i) + 1, from: int32(i), n: 1, id: b.first[word[i]]})
		}
	}
	if len(s.links) > 0 {
		s.links[len(s.links)-1].next = -1
	}
	if len(s.links) <= shortWord {
		b.short(s)
	} else {
		s.merge(b.may)
	}
	unknown := false
	for i := range s.links {
		if l := &s.links[i]; l.n > 0 {
			dst, unknown = b.emit(dst, l, word, unknown)
		}
	}
	if s.bounded() {
		b.pool.Put(s)
	}
	return dst
}

// characters makes a symbol of each character.
func (b *bpe) characters(s *scratch, word string) {
	for i := 0; i < len(word); {
		_, n := utf8.DecodeRuneInString(word[i:])
		c := word[i : i+n]
		if b.begin != "" && i > 0 {
			c = b.begin + c
		}
		if b.end != "" && i+n == len(word) {
			c += b.end
		}
		k := int32(len(s.links))
		s.links = append(s.links, link{prev: k - 1, next: k + 1, from: int32(i), n: int32(n), id: b.symbols.find(c)})
		i += n
	}
}

// shortWord is up to how many symbols looking at each pair again after each merge is faster than a queue.
const shortWord = 24

// short merges the few symbols of s as scratch.merge does, and closes the gaps.
func (b *bpe) short(s *scratch) {
	var ranks, ids [shortWord]int32
	const none = int32(^uint32(0) >> 1)
	l := s.links
	rate := func(i int) {
		ranks[i] = none
		if i+1 < len(l) {
			if rank, id, ok := b.may(&l[i], &l[i+1]); ok {
				ranks[i], ids[i] = int32(rank), id
			}
		}
	}
	for i := range l {
		rate(i)
	}
	for len(l) > 1 {
		best := 0
		for i := 1; i < len(l)-1; i++ {
			if ranks[i] < ranks[best] {
				best = i
			}
		}
		if ranks[best] == none {
			break
		}
		l[best].n += l[best+1].n
		l[best].id = ids[best]
		copy(l[best+1:], l[best+2:])
		copy(ranks[best+1:len(l)-1], ranks[best+2:len(l)])
		copy(ids[best+1:len(l)-1], ids[best+2:len(l)])
		l = l[:len(l)-1]
		rate(best)
		if best > 0 {
			rate(best - 1)
		}
	}
	s.links = l
}

// emit adds the token of a symbol, or those of its bytes, or the unknown token. unknown says whether the last was that.
func (b *bpe) emit(dst []int32, l *link, word string, unknown bool) ([]int32, bool) {
	if l.id >= 0 && l.id < b.symbols.tokens {
		return append(dst, l.id), false
	}
	of := word[l.from : l.from+l.n]
	switch {
	case b.raw:
	case l.id >= 0:
		of = b.symbols.texts[l.id-b.symbols.tokens] // in GPT-2's alphabet
	default:
		of = "" // a byte that the vocabulary lacks
	}
	if b.orByte && b.haveBytes(of) {
		for i := range len(of) {
			if id := b.bytes[of[i]]; id >= 0 {
				dst = append(dst, id)
			}
		}
		return dst, false
	}
	if b.unk < 0 || b.fuse && unknown {
		return dst, unknown
	}
	return append(dst, b.unk), true
}

// haveBytes tells whether the bytes of s can be used: all are tokens, or there is no unknown token for those that are not.
func (b *bpe) haveBytes(s string) bool {
	if b.unk < 0 {
		return true
	}
	for i := range len(s) {
		if b.bytes[s[i]] < 0 {
			return false
		}
	}
	return true
}

// spelled is a word as tokens spell it.
func (b *bpe) spelled(word string) string {
	if b.raw {
		return word
	}
	out := make([]byte, 0, 2*len(word))
	for i := range len(word) {
		out = utf8.AppendRune(out, byteRune(word[i]))
	}
	return string(out)
}

// byteRune is the character that stands for a byte in GPT-2's alphabet: itself if it is printable in Latin-1, else one of those
// from U+0100 on, in order (bytes_to_unicode in OpenAI's gpt-2/src/encoder.py).
func byteRune(b byte) rune {
	switch {
	case b < 0x21:
		return 0x100 + rune(b)
	case b < 0x7F:
		return rune(b)
	case b < 0xA1:
		return 0x121 + rune(b-0x7F)
	case b == 0xAD:
		return 0x143
	}
	return rune(b)
}

// runeByte is the byte that a character of GPT-2's alphabet stands for.
func runeByte(r rune) (byte, bool) {
	switch {
	case r < 0x21 || r > 0x143:
		return 0, false
	case r < 0x7F, 0xA1 <= r && r <= 0xFF && r != 0xAD:
		return byte(r), true
	case r < 0x100:
		return 0, false
	case r < 0x121:
		return byte(r - 0x100), true
	case r < 0x143:
		return byte(r - 0x121 + 0x7F), true
	}
	return 0xAD, true
}
