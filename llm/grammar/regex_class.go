package grammar

import "unicode"

// The classes of \w, \s and \d: what every dialect takes for one. Their negations leave out what any dialect takes for one.
var (
	wordSet   = makeSet(span{'0', '9'}, span{'A', 'Z'}, span{'_', '_'}, span{'a', 'z'})
	spaceSet  = of("\t\n\f\r ")
	spaceWide = makeSet(span{9, 13}, span{0x1C, 0x20}, span{0x85, 0x85}, span{0xA0, 0xA0}, span{0x1680, 0x1680}, span{0x2000, 0x200A},
		span{0x2028, 0x2029}, span{0x202F, 0x202F}, span{0x205F, 0x205F}, span{0x3000, 0x3000}, span{0xFEFF, 0xFEFF})
)

// perl is the class of a letter after a backslash.
func perl(c rune) (set, bool) {
	switch c {
	case 'd':
		return digit, true
	case 'w':
		return wordSet, true
	case 's':
		return spaceSet, true
	case 'D':
		return tableSet(unicode.Nd).not(), true
	case 'W':
		return wordSet.or(tableSet(unicode.L)).or(tableSet(unicode.N)).or(tableSet(unicode.M)).or(tableSet(unicode.Pc)).
			or(set{{0x200C, 0x200D}}).not(), true
	case 'S':
		return spaceWide.not(), true
	}
	return nil, false
}

func tableSet(t *unicode.RangeTable) set {
	var spans []span
	for _, r := range t.R16 {
		for c := rune(r.Lo); c <= rune(r.Hi); c += rune(r.Stride) {
			if r.Stride == 1 {
				spans = append(spans, span{c, rune(r.Hi)})
				break
			}
			spans = append(spans, span{c, c})
		}
	}
	for _, r := range t.R32 {
		for c := rune(r.Lo); c <= rune(r.Hi); c += rune(r.Stride) {
			if r.Stride == 1 {
				spans = append(spans, span{c, rune(r.Hi)})
				break
			}
			spans = append(spans, span{c, c})
		}
	}
	return makeSet(spans...)
}

// foldSet adds the other cases of what is in a set. Of large sets only the ASCII letters are looked at, and what is left out
// makes the language smaller.
func foldSet(s set) set {
	spans := append([]span(nil), s...)
	if s.size() > 4096 {
		s = s.and(set{{0, 0x7F}})
	}
	for _, p := range s {
		for r := p.lo; r <= p.hi; r++ {
			for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
				// K and s also have the forms of Kelvin and the long s, which not every dialect folds.
				if r > 0x7F || f <= 0x7F {
					spans = append(spans, span{f, f})
				}
			}
		}
	}
	return makeSet(spans...)
}

var categories = map[string]string{"Letter": "L", "Lowercase_Letter": "Ll", "Uppercase_Letter": "Lu", "Number": "N", "Decimal_Number": "Nd",
	"digit": "Nd", "Punctuation": "P", "punct": "P", "Symbol": "S", "Separator": "Z", "Mark": "M", "Letter_Number": "Nl"}

// posix are the named classes of brackets.
var posix = map[string]set{
	"alpha": {{'A', 'Z'}, {'a', 'z'}}, "digit": digit, "alnum": {{'0', '9'}, {'A', 'Z'}, {'a', 'z'}}, "upper": {{'A', 'Z'}}, "lower": {{'a', 'z'}},
	"space": {{'\t', '\r'}, {' ', ' '}}, "blank": {{'\t', '\t'}, {' ', ' '}}, "punct": {{'!', '/'}, {':', '@'}, {'[', '`'}, {'{', '~'}},
	"xdigit": hexDigit, "word": wordSet, "print": {{' ', '~'}}, "graph": {{'!', '~'}}, "cntrl": {{0, 0x1F}, {0x7F, 0x7F}},
}
