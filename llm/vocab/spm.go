package vocab

import (
	"math"
	"strings"
	"sync"
	"unicode/utf8"
)

// spaceMark stands for a space in SentencePiece's tokens: U+2581.
const spaceMark = "▁"

// spm is SentencePiece's byte pair encoding: of the neighbours that together are a token, those with the highest score become
// one first. There are no words, but where no token has a space after another character, what stands before such a space and
// what follows are merged apart, with the same result.
type spm struct {
	ids     map[string]int32
	ranks   []int64    // of tokens: lower is a higher score
	longest int        // bytes of the longest token
	bytes   [256]int32 // the tokens of bytes; noToken where there is none
	unk     int32      // for what has no bytes; noToken: it is left out
	inner   map[rune]bool
	prefix  bool // a space is put before a text that begins the whole or follows a special token
	cache   *cache
	pool    sync.Pool // of *scratch
}

// scoreRank orders scores from high to low: a rank is less where the score is greater.
func scoreRank(score float32) int64 {
	if score == 0 {
		score = 0 // -0
	}
	b := int64(int32(math.Float32bits(score)))
	if b < 0 {
		b = math.MinInt32 - b
	}
	return -b
}

// innerSpaces are the characters after which some token has a space.
func innerSpaces(tokens []token) map[rune]bool {
	inner := map[rune]bool{}
	for i := range tokens {
		s := tokens[i].text
		for from := 0; ; {
			at := strings.Index(s[from:], spaceMark)
			if at < 0 {
				break
			}
			if at += from; at > 0 {
				r, _ := utf8.DecodeLastRuneInString(s[:at])
				inner[r] = true
			}
			from = at + len(spaceMark)
		}
	}
	return inner
}

// append adds the tokens of a text. first says that it begins the whole, or follows a special token.
func (m *spm) append(dst []int32, s string, first bool) []int32 {
	if m.prefix && first {
		s = " " + s
	}
	s = strings.ReplaceAll(s, " ", spaceMark)
	from := 0
	for i := 0; i < len(s); {
		at := strings.Index(s[i:], spaceMark)
		if at < 0 {
			break
		}
		if at += i; at > from {
			if r, _ := utf8.DecodeLastRuneInString(s[:at]); !m.inner[r] {
				dst = m.cache.through(dst, s[from:at], m.merged)
				from = at
			}
		}
		i = at + len(spaceMark)
	}
	if from < len(s) {
		dst = m.cache.through(dst, s[from:], m.merged)
	}
	return dst
}

func (m *spm) merged(dst []int32, s string) []int32 {
	t, _ := m.pool.Get().(*scratch)
	if t == nil {
		t = &scratch{}
	}
	t.links = t.links[:0]
	for i := 0; i < len(s); {
		_, n := utf8.DecodeRuneInString(s[i:])
		k := int32(len(t.links))
		id, ok := m.ids[s[i:i+n]]
		if !ok {
			id = noToken
		}
		t.links = append(t.links, link{prev: k - 1, next: k + 1, from: int32(i), n: int32(n), id: id})
		i += n
	}
	if len(t.links) > 0 {
		t.links[len(t.links)-1].next = -1
	}
	t.merge(func(a, b *link) (int64, int32, bool) {
		if int(a.n+b.n) > m.longest {
			return 0, 0, false
		}
		id, ok := m.ids[s[a.from:b.from+b.n]]
		if !ok {
			return 0, 0, false
		}
		return m.ranks[id], id, true
	})
	for i := range t.links {
		l := &t.links[i]
		switch {
		case l.n == 0:
		case l.id >= 0:
			dst = append(dst, l.id)
		default:
			dst = m.unknown(dst, s[l.from:l.from+l.n])
		}
	}
	if t.bounded() {
		m.pool.Put(t)
	}
	return dst
}

// unknown adds the bytes of a character that is no token.
func (m *spm) unknown(dst []int32, s string) []int32 {
	for i := range len(s) {
		switch id := m.bytes[s[i]]; {
		case id >= 0:
			dst = append(dst, id)
		case m.unk >= 0:
			return append(dst, m.unk)
		}
	}
	return dst
}
