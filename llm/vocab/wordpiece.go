package vocab

import (
	"strings"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// wordPiece is BERT's algorithm: a word is the longest token that it begins with, then the longest that the rest begins with,
// and so on; one that cannot be spelled is the unknown token.
type wordPiece struct {
	ids     map[string]int32
	unk     int32
	begin   string // what tokens that begin a word begin with: "" or ▁
	inside  string // what the others begin with: "##" or ""
	longest int    // bytes of the longest token
	most    int    // characters of a word; longer ones are unknown; 0: no bound
	cache   *cache
}

func newWordPiece(ids map[string]int32, unk int32, begin, inside string) *wordPiece {
	m := &wordPiece{ids: ids, unk: unk, begin: begin, inside: inside, cache: newCache()}
	for t := range ids {
		m.longest = max(m.longest, len(t))
	}
	return m
}

// text adds the tokens of a text that is normalized: of its words, which white space and punctuation part.
func (m *wordPiece) text(dst []int32, s string) []int32 {
	bertWords.split(s, classes(), func(word string) {
		if r, _ := utf8.DecodeRuneInString(word); classes().of(r)&space == 0 {
			dst = m.word(dst, word)
		}
	})
	return dst
}

func (m *wordPiece) word(dst []int32, word string) []int32 {
	return m.cache.through(dst, word, m.spell)
}

func (m *wordPiece) spell(dst []int32, word string) []int32 {
	from := len(dst)
	if m.most > 0 && utf8.RuneCountInString(word) > m.most {
		return m.unknown(dst, from)
	}
	key := make([]byte, 0, len(word)+8)
	for i := 0; i < len(word); {
		mark := m.inside
		if i == 0 {
			mark = m.begin
		}
		key = append(append(key[:0], mark...), word[i:min(len(word), i+m.longest)]...)
		for {
			if id, ok := m.ids[string(key)]; ok && utf8.RuneStart(at(word, i+len(key)-len(mark))) {
				dst = append(dst, id)
				break
			}
			if key = key[:len(key)-1]; len(key) <= len(mark) {
				return m.unknown(dst, from)
			}
		}
		i += len(key) - len(mark)
	}
	return dst
}

// at is byte i of s, or one that begins a character at its end.
func at(s string, i int) byte {
	if i < len(s) {
		return s[i]
	}
	return 0
}

// unknown takes back what the word has so far.
func (m *wordPiece) unknown(dst []int32, from int) []int32 {
	dst = dst[:from]
	if m.unk >= 0 {
		dst = append(dst, m.unk)
	}
	return dst
}

// bertWords parts words by white space, and has each mark of punctuation for a word.
var bertWords = splitter{func(x text, i int) int {
	r, n, c := x.at(i)
	switch {
	case n == 0:
		return i
	case c&space != 0:
		return x.run(i, space)
	case bertPunct(r, c):
		return i + n
	}
	return only(func(r rune, c class) bool { return c&space == 0 && !bertPunct(r, c) })(x, i)
}}

// bertPunct is what BERT has for punctuation: also ASCII's symbols.
func bertPunct(r rune, c class) bool { return c&punct != 0 || r < utf8.RuneSelf && c&symbol != 0 }

// bertNormalizer is Hugging Face's of that name.
type bertNormalizer struct {
	table     *classTable
	clean     bool // control characters go, white space becomes spaces
	lines     bool // of what is both, only \t, \n and \r are white space; else all is
	chinese   bool // Chinese characters are words of their own
	accents   bool // letters lose their accents
	lowercase bool
}

func (n bertNormalizer) apply(s string) string {
	if n.clean || n.chinese {
		var b strings.Builder
		b.Grow(len(s) + 16)
		for _, r := range s {
			c := n.table.of(r)
			switch {
			case n.clean && c&space != 0 && (c&control == 0 || !n.lines || r == '\t' || r == '\n' || r == '\r'):
				b.WriteByte(' ')
			case n.clean && (r == 0 || r == utf8.RuneError || c&control != 0):
			case n.chinese && bertChinese(r):
				b.WriteByte(' ')
				b.WriteRune(r)
				b.WriteByte(' ')
			default:
				b.WriteRune(r)
			}
		}
		s = b.String()
	}
	if n.accents {
		s = strings.Map(func(r rune) rune {
			if n.table.of(r)&accent != 0 {
				return -1
			}
			return r
		}, normalForm(norm.NFD)(s))
	}
	if n.lowercase {
		s = lowerCase(s)
	}
	return s
}

// lowerCase is Unicode's full mapping without context, of which Go's strings.ToLower lacks one character.
func lowerCase(s string) string {
	return strings.ToLower(strings.ReplaceAll(s, "İ", "i̇"))
}

// bertChinese has the gap before U+2B920 that Hugging Face's has.
func bertChinese(r rune) bool {
	return 0x4E00 <= r && r <= 0x9FFF || 0x3400 <= r && r <= 0x4DBF || 0x20000 <= r && r <= 0x2A6DF || 0x2A700 <= r && r <= 0x2B73F ||
		0x2B740 <= r && r <= 0x2B81F || 0x2B920 <= r && r <= 0x2CEAF || 0xF900 <= r && r <= 0xFAFF || 0x2F800 <= r && r <= 0x2FA1F
}
