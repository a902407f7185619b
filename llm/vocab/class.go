package vocab

import (
	"sync"
	"unicode"
	"unicode/utf8"
)

// class is a set of Unicode properties of a character.
type class uint16

const (
	upper   class = 1 << iota // Lu, Lt
	lower                     // Ll
	uncased                   // Lm, Lo
	mark                      // M
	number                    // N
	punct                     // P
	symbol                    // S
	space                     // White_Space, which is \s
	control                   // Cc, Cf, Cs, Co: not what is unassigned
	accent                    // Mn

	letter = upper | lower | uncased
)

// classTable finds a character's class by two steps: pages of 256 characters, most of which are shared.
type classTable struct {
	page  [unicode.MaxRune>>8 + 1]uint16
	pages [][256]class
}

func (t *classTable) of(r rune) class { return t.pages[t.page[r>>8]][r&0xFF] }

// addition is characters that have a class in a later version of Unicode than Go's.
type addition struct {
	class    class
	from, to rune
}

// unicode151 are all the characters that Unicode 15.1, which is llama.cpp's, added to 15.0, which is Go's.
var unicode151 = []addition{{uncased, 0x2EBF0, 0x2EE5D}, {symbol, 0x2FFC, 0x2FFF}, {symbol, 0x31EF, 0x31EF}}

// classes is the table as llama.cpp has it, classes16 as the expressions of Hugging Face's tokenizers do, and classes8 as their
// parts for BERT do; each is made at first use, in 3 ms.
var (
	classes   = sync.OnceValue(func() *classTable { return newClassTable(unicode151, nil) })
	classes16 = sync.OnceValue(func() *classTable { return newClassTable(unicode16, nil) })
	classes8  = sync.OnceValue(func() *classTable { return newClassTable(unicode8, after8) })
)

func newClassTable(more, less []addition) *classTable {
	all := make([]class, unicode.MaxRune+1)
	for _, set := range []struct {
		class class
		table *unicode.RangeTable
	}{
		{upper, unicode.Lu}, {upper, unicode.Lt}, {lower, unicode.Ll}, {uncased, unicode.Lm}, {uncased, unicode.Lo},
		{mark, unicode.M}, {number, unicode.N}, {punct, unicode.P}, {symbol, unicode.S}, {space, unicode.White_Space},
		{control, unicode.Cc}, {control, unicode.Cf}, {control, unicode.Cs}, {control, unicode.Co},
		{accent, unicode.Mn},
	} {
		for _, r := range set.table.R16 {
			for c := rune(r.Lo); c <= rune(r.Hi); c += rune(r.Stride) {
				all[c] |= set.class
			}
		}
		for _, r := range set.table.R32 {
			for c := rune(r.Lo); c <= rune(r.Hi); c += rune(r.Stride) {
				all[c] |= set.class
			}
		}
	}
	for _, a := range more {
		for c := a.from; c <= a.to; c++ {
			all[c] |= a.class
		}
	}
	for _, a := range less {
		for c := a.from; c <= a.to; c++ {
			all[c] &^= a.class
		}
	}
	t := &classTable{}
	seen := map[[256]class]uint16{}
	for p := range t.page {
		page := [256]class(all[p<<8:])
		n, ok := seen[page]
		if !ok {
			n = uint16(len(t.pages))
			t.pages = append(t.pages, page)
			seen[page] = n
		}
		t.page[p] = n
	}
	return t
}

// text is a piece of valid UTF-8 that is being cut, with the table of classes at hand.
type text struct {
	s string
	t *classTable
}

// at is the character that begins at byte i, its length and its class; all zero at the end.
func (x text) at(i int) (r rune, n int, c class) {
	if i >= len(x.s) {
		return 0, 0, 0
	}
	if b := x.s[i]; b < utf8.RuneSelf {
		return rune(b), 1, x.t.pages[x.t.page[0]][b]
	}
	r, n = utf8.DecodeRuneInString(x.s[i:])
	return r, n, x.t.of(r)
}

// run is the end of the characters from byte i on that have one of the properties.
func (x text) run(i int, of class) int {
	for {
		_, n, c := x.at(i)
		if c&of == 0 {
			return i
		}
		i += n
	}
}

// other is the end of the characters from byte i on that have none of the properties.
func (x text) other(i int, than class) int {
	for {
		_, n, c := x.at(i)
		if n == 0 || c&than != 0 {
			return i
		}
		i += n
	}
}

// isHan tells whether llama.cpp takes the character for Chinese (unicode_cpt_is_han).
func isHan(r rune) bool {
	switch {
	case r < 0x3400:
		return false
	case r <= 0x4DBF, 0x4E00 <= r && r <= 0x9FFF, 0xF900 <= r && r <= 0xFAFF:
		return true
	}
	return 0x20000 <= r && r <= 0x2A6DF || 0x2A700 <= r && r <= 0x2EBEF || 0x2F800 <= r && r <= 0x2FA1F
}
