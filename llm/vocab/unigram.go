package vocab

import (
	"math"
	"strings"
	"unicode/utf8"
)

// unigram is SentencePiece's Unigram: of all ways to spell a text by tokens the one whose scores add up to the most.
type unigram struct {
	trie    *trie
	tokens  []token
	unk     int32
	penalty float64 // the score of a character that is no token
	bytes   [256]int32
	orByte  bool // such a character is given by its bytes
	fuse    bool // neighbouring unknown tokens are one
}

// newUnigram takes the tokens that text may be spelled by: all but control tokens, bytes and the unknown one.
func newUnigram(tokens []token, unk int32) *unigram {
	m := &unigram{tokens: tokens, unk: unk, fuse: true}
	var texts []string
	var ids []int32
	low := math.MaxFloat64
	for i := range tokens {
		t := &tokens[i]
		if t.attr&normal != 0 {
			low = min(low, t.score)
		}
		if t.attr&(normal|userDefined|unused) != 0 {
			texts, ids = append(texts, t.text), append(ids, int32(i))
		}
	}
	m.trie = newTrie(texts, ids)
	m.penalty = low - 10
	return m
}

// best is the best spelling of the text up to some byte: its score and its last token.
type best struct {
	score float64
	from  int32 // where the last token begins
	id    int32
}

// append adds the tokens of a text, by Viterbi's algorithm.
func (m *unigram) append(dst []int32, s string) []int32 {
	if s == "" {
		return dst
	}
	ways := make([]best, len(s)+1)
	for i := range ways {
		ways[i] = best{score: -math.MaxFloat64, id: m.unk}
	}
	ways[0].score = 0
	better := func(to int, score float64, from int, id int32) {
		if score > ways[to].score {
			ways[to] = best{score, int32(from), id}
		}
	}
	for i := 0; i < len(s); {
		_, n := utf8.DecodeRuneInString(s[i:])
		whole := false
		for node, j := m.trie.root[s[i]], i+1; node != 0; j++ {
			if id := m.trie.nodes[node].value; id >= 0 {
				whole = whole || j == i+n
				score := m.tokens[id].score
				if m.tokens[id].attr&userDefined != 0 {
					score = 0
				}
				better(j, ways[i].score+score, i, id)
			}
			if j == len(s) {
				break
			}
			node = m.trie.step(node, s[j])
		}
		if !whole {
			better(i+n, ways[i].score+m.penalty, i, m.unk)
		}
		i += n
	}
	return m.trace(dst, s, ways)
}

// trace follows the best spelling from the end to the beginning.
func (m *unigram) trace(dst []int32, s string, ways []best) []int32 {
	from := len(dst)
	last := int32(noToken)
	for i := len(s); i > 0; {
		w := ways[i]
		switch {
		case w.id != m.unk:
			dst = append(dst, w.id)
		case m.orByte:
			for k := i - 1; k >= int(w.from); k-- {
				dst = append(dst, m.bytes[s[k]])
			}
		case m.unk >= 0 && !(m.fuse && last == m.unk):
			dst = append(dst, m.unk)
		}
		last = w.id
		i = int(w.from)
	}
	for a, b := from, len(dst)-1; a < b; a, b = a+1, b-1 {
		dst[a], dst[b] = dst[b], dst[a]
	}
	return dst
}

// unigram makes the algorithm of T5 and XLM-RoBERTa.
func (r *reading) unigram() (func([]int32, string, bool) []int32, error) {
	m := newUnigram(r.tokens, r.unk)
	var users []string
	for i := range r.tokens {
		if r.tokens[i].attr&userDefined != 0 {
			users = append(users, r.tokens[i].text)
		}
	}
	n := &charNormalizer{users: newTrie(users, make([]int32, len(users))), prefix: r.prefix, merge: r.merge}
	if _, _, ok := r.file.Kind(key("precompiled_charsmap")); ok {
		blob, ok := r.file.Ints(key("precompiled_charsmap"))
		if !ok {
			return nil, errCharsMap("it is no list of bytes")
		}
		raw := make([]byte, len(blob))
		for i, b := range blob {
			raw[i] = byte(b)
		}
		var err error
		if n.chars, err = readCharsMap(raw); err != nil {
			return nil, err
		}
	}
	return func(dst []int32, s string, _ bool) []int32 { return m.append(dst, n.apply(s)) }, nil
}

// charNormalizer prepares text as SentencePiece does: characters by the model's table, white space as the model has it.
type charNormalizer struct {
	chars  *charsMap // nil: none
	users  *trie     // tokens that users added stay as they are
	prefix bool      // a space before the text
	merge  bool      // neighbouring spaces are one, those at the ends none
}

func (n *charNormalizer) apply(s string) string {
	var b strings.Builder
	b.Grow(len(s) + len(s)/4 + 8)
	prepended, inWord := false, false
	for i := 0; i < len(s); {
		part, used := n.next(s, i)
		i += used
		for k := range len(part) {
			c := part[k]
			if c == ' ' {
				inWord = false
				if !n.merge {
					b.WriteString(spaceMark)
				}
				continue
			}
			if !inWord {
				inWord = true
				if n.prefix && !prepended || n.merge {
					b.WriteString(spaceMark)
					prepended = true
				}
			}
			b.WriteByte(c)
		}
	}
	return b.String()
}

// next is what the text at byte i becomes, and how many bytes of it that takes.
func (n *charNormalizer) next(s string, i int) (string, int) {
	used := 0
	for node, j := n.users.root[s[i]], i+1; node != 0; j++ {
		used = j - i // llama.cpp takes the beginning of a name for the name
		if j == len(s) {
			break
		}
		node = n.users.step(node, s[j])
	}
	if used > 0 {
		return s[i : i+used], used
	}
	if n.chars != nil {
		if to, used := n.chars.longest(s[i:]); used > 0 {
			return to, used
		}
	}
	_, size := utf8.DecodeRuneInString(s[i:])
	return s[i : i+size], size
}
