package vocab

import "strings"

// rule matches a regular expression at byte i of x and gives the match's end; i when there is none. Matches are as a
// backtracking engine finds them: of alternatives the first, of repetitions the longest.
type rule func(x text, i int) int

// splitter cuts text into words. Each rule is run over the words that the rules before it left: its matches are words, and so
// is what lies between two of them. A look-ahead of a rule sees no further than the word's end.
type splitter []rule

// split calls word for each word of s, in order, with the classes of characters that t has. s is valid UTF-8.
func (p splitter) split(s string, t *classTable, word func(string)) {
	if len(p) == 0 {
		if s != "" {
			word(s)
		}
		return
	}
	p.step(text{s, t}, word)
}

func (p splitter) step(x text, word func(string)) {
	first, rest := p[0], p[1:]
	give := func(from, to int) {
		switch {
		case from >= to:
		case len(rest) == 0:
			word(x.s[from:to])
		default:
			rest.step(text{x.s[from:to], x.t}, word)
		}
	}
	done := 0
	for i := 0; i < len(x.s); {
		if end := first(x, i); end > i {
			give(done, i)
			give(i, end)
			i, done = end, end
			continue
		}
		_, n, _ := x.at(i)
		i += n
	}
	give(done, len(x.s))
}

// suffix matches one of 's 't 're 've 'm 'll 'd, in any case of ASCII when fold is set.
func suffix(x text, i int, fold bool) int {
	s := x.s
	if i+1 >= len(s) || s[i] != '\'' {
		return i
	}
	a, b := s[i+1], byte(0)
	if i+2 < len(s) {
		b = s[i+2]
	}
	if fold {
		a, b = lowerASCII(a), lowerASCII(b)
	}
	switch a {
	case 's', 't', 'm', 'd':
		return i + 2
	case 'r', 'v':
		if b == 'e' {
			return i + 3
		}
	case 'l':
		if b == 'l' {
			return i + 3
		}
	}
	return i
}

func lowerASCII(b byte) byte {
	if 'A' <= b && b <= 'Z' {
		b += 'a' - 'A'
	}
	return b
}

// blanks matches \s+(?!\S)|\s+, which begins at byte i: all of them at the end of the text, else all but the last, unless it
// is the only one.
func blanks(x text, i int) int {
	end, last := i, i
	for {
		_, n, c := x.at(end)
		if c&space == 0 {
			if n == 0 || last == i {
				return end
			}
			return last
		}
		last = end
		end += n
	}
}

// lines matches \s*[\r\n]+: to the last line feed or return of the white space that begins at byte i.
func lines(x text, i int) int {
	end := i
	for j := i; ; {
		r, n, c := x.at(j)
		if c&space == 0 {
			return end
		}
		j += n
		if r == '\r' || r == '\n' {
			end = j
		}
	}
}

// tail matches the characters of set, which are ASCII, from byte i on.
func tail(x text, i int, set string) int {
	for i < len(x.s) && strings.IndexByte(set, x.s[i]) >= 0 {
		i++
	}
	return i
}

// afterSpace is the byte after a space at byte i, or i.
func afterSpace(x text, i int) int {
	if i < len(x.s) && x.s[i] == ' ' {
		return i + 1
	}
	return i
}

// digits matches up to most characters of class number; most 0 is no bound.
func digits(x text, i, most int) int {
	for n := 0; most == 0 || n < most; n++ {
		_, size, c := x.at(i)
		if c&number == 0 {
			break
		}
		i += size
	}
	return i
}

// gpt2 is GPT-2's expression:
//
//	's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
//
// Many write it without its last alternative, which makes no difference: what it would match is then what lies between.
func gpt2(x text, i int) int {
	if end := suffix(x, i, false); end > i {
		return end
	}
	j := afterSpace(x, i)
	_, n, c := x.at(j)
	switch {
	case c&letter != 0:
		return x.run(j, letter)
	case c&number != 0:
		return x.run(j, number)
	case n > 0 && c&space == 0:
		return x.other(j, space|letter|number)
	}
	return blanks(x, i)
}

// words are the expressions that came after cl100k, which differ in the fields below:
//
//	(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
type words struct {
	suffix bool                    // the first alternative is there
	letter class                   // what words are made of: \p{L}, or [\p{L}\p{M}]
	digits int                     // most digits together; 0: any number
	tail   string                  // what may follow symbols: "\r\n", "\r\n/", or nothing
	cased  func(x text, i int) int // instead of the second alternative, for o200k and its kin
	blank  func(x text, i int) int // instead of the last two alternatives
}

func (w words) rule() rule {
	if w.letter == 0 {
		w.letter = letter
	}
	if w.blank == nil {
		w.blank = blanks
	}
	return w.match
}

func (w words) match(x text, i int) int {
	if w.suffix {
		if end := suffix(x, i, true); end > i {
			return end
		}
	}
	r, n, c := x.at(i)
	if w.cased != nil {
		if end := w.cased(x, i); end > i {
			return end
		}
	} else if c&(w.letter) != 0 {
		// A mark may stand before the letters as any other character, and then it is taken for that; the end is the same.
		return x.run(i, w.letter)
	} else if c&number == 0 && r != '\r' && r != '\n' {
		if _, _, next := x.at(i + n); next&w.letter != 0 {
			return x.run(i+n, w.letter)
		}
	}
	if c&number != 0 {
		return digits(x, i, w.digits)
	}
	j := afterSpace(x, i)
	// Without marks in words, a mark is a symbol; with them it is a word, found above.
	if _, n, c := x.at(j); n > 0 && c&(space|w.letter|number) == 0 {
		return tail(x, x.other(j, space|w.letter|number), w.tail)
	}
	if end := lines(x, i); end > i {
		return end
	}
	return w.blank(x, i)
}

// cased are o200k's words, in which a capital begins a new one:
//
//	[^\r\n\p{L}\p{N}]?U*L+(?i:'s|…)?|[^\r\n\p{L}\p{N}]?U+L*(?i:'s|…)?
type cased struct {
	upper, lower func(r rune, c class) bool // U and L; a character may be both
	suffix       bool
}

// theirCase is U and L as the expression has them: [\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}] and [\p{Ll}\p{Lm}\p{Lo}\p{M}].
var theirCase = cased{
	upper: func(_ rune, c class) bool { return c&(upper|uncased|mark) != 0 },
	lower: func(_ rune, c class) bool { return c&(lower|uncased|mark) != 0 },
}

// asciiCase is how llama.cpp reads it: only ASCII letters have a case, and marks are no letters.
func asciiCase(letters class) cased {
	return cased{
		upper: func(r rune, c class) bool { return c&letters != 0 && (r < 'a' || r > 'z') },
		lower: func(r rune, c class) bool { return c&letters != 0 && (r < 'A' || r > 'Z') },
	}
}

func (w cased) with() cased { w.suffix = true; return w }

func (w cased) match(x text, i int) int {
	starts := [2]int{i, i}
	if r, n, c := x.at(i); c&(letter|number) == 0 && r != '\r' && r != '\n' {
		starts[0] += n // one character before the word, if the match is then one
	}
	for _, from := range starts {
		if end := w.lowered(x, from); end > from {
			return w.end(x, end)
		}
	}
	for _, from := range starts {
		if end := w.while(x, from, w.upper); end > from {
			return w.end(x, w.while(x, end, w.lower))
		}
	}
	return i
}

// lowered matches U*L+.
func (w cased) lowered(x text, i int) int {
	capitals, both := i, i // the ends of the longest U*, and of the last of them that is in L too
	for {
		r, n, c := x.at(capitals)
		if n == 0 || !w.upper(r, c) {
			break
		}
		capitals += n
		if w.lower(r, c) {
			both = capitals
		}
	}
	if end := w.while(x, capitals, w.lower); end > capitals {
		return end
	}
	return both
}

func (w cased) while(x text, i int, in func(rune, class) bool) int {
	for {
		r, n, c := x.at(i)
		if n == 0 || !in(r, c) {
			return i
		}
		i += n
	}
}

func (w cased) end(x text, i int) int {
	if w.suffix {
		return suffix(x, i, true)
	}
	return i
}

// only matches one or more characters that are in the set.
func only(in func(r rune, c class) bool) rule {
	return func(x text, i int) int {
		for {
			r, n, c := x.at(i)
			if n == 0 || !in(r, c) {
				return i
			}
			i += n
		}
	}
}

// one matches a character that is in the set.
func one(in func(r rune, c class) bool) rule {
	return func(x text, i int) int {
		if r, n, c := x.at(i); n > 0 && in(r, c) {
			return i + n
		}
		return i
	}
}

// spaced matches \s? and then one or more characters of the set.
func spaced(in func(r rune, c class) bool) rule {
	word := only(in)
	return func(x text, i int) int {
		if _, n, c := x.at(i); c&space != 0 {
			if end := word(x, i+n); end > i+n {
				return end
			}
		}
		return word(x, i)
	}
}

// is tells whether a character has one of the properties.
func is(of class) func(rune, class) bool { return func(_ rune, c class) bool { return c&of != 0 } }
