package vocab

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// cutter cuts text into words, and calls word for each in order. first says, of the text and of each word, that it begins the
// whole.
type cutter func(s string, first bool, word func(s string, first bool))

// cutting is a cutter, and whether its words are bytes in GPT-2's alphabet, which the model then puts them into.
type cutting struct {
	cut   cutter
	bytes bool
}

// cutterOf makes the step that cuts text into words.
func cutterOf(p *part) (cutting, error) {
	if p.raw == nil {
		return cutting{cut: func(s string, first bool, word func(string, bool)) { word(s, first) }}, nil
	}
	plain := func(c cutter, err error) (cutting, error) { return cutting{cut: c}, err }
	switch p.kind {
	case "ByteLevel":
		return byteLevel(p)
	case "BertPreTokenizer":
		return plain(pieces(bertWords, classes8(), dropBlanks), nil)
	case "Whitespace":
		return plain(pieces(splitter{wordsAndSymbols}, classes16(), dropBlanks), nil)
	case "WhitespaceSplit":
		return plain(pieces(splitter{runOf(space)}, classes16(), dropBlanks), nil)
	case "Digits":
		var c struct {
			Individual bool `json:"individual_digits"`
		}
		if err := p.read(&c); err != nil {
			return cutting{}, err
		}
		if c.Individual {
			return plain(pieces(splitter{one(is(number))}, classes16(), nil), nil)
		}
		return plain(pieces(splitter{runOf(number)}, classes16(), nil), nil)
	case "Punctuation":
		c := struct{ Behavior string }{"Isolated"}
		if err := p.read(&c); err != nil {
			return cutting{}, err
		}
		return plain(behaving(one(bertPunct), classes8(), c.Behavior, false))
	case "CharDelimiterSplit":
		var c struct{ Delimiter string }
		if err := p.read(&c); err != nil {
			return cutting{}, err
		}
		return plain(behaving(literal(c.Delimiter), classes16(), "Removed", false))
	case "Split":
		return splitOf(p)
	case "Metaspace":
		return metaspace(p)
	case "Sequence":
		return cutters(p)
	}
	return cutting{}, fmt.Errorf("%q is not supported; %s", p.kind, known("ByteLevel", "BertPreTokenizer", "Whitespace", "WhitespaceSplit",
		"Digits", "Punctuation", "CharDelimiterSplit", "Split", "Metaspace", "Sequence"))
}

// pieces cuts by a splitter, and leaves out the words for which drop holds.
func pieces(p splitter, t *classTable, drop func(string) bool) cutter {
	return func(s string, first bool, word func(string, bool)) {
		p.split(s, t, func(w string) {
			if drop == nil || !drop(w) {
				word(w, first)
			}
			first = false
		})
	}
}

// dropBlanks holds for words of white space.
func dropBlanks(s string) bool {
	r, _ := utf8.DecodeRuneInString(s)
	return whiteSpace(r)
}

// wordsAndSymbols matches \w+|[^\w\s]+.
func wordsAndSymbols(x text, i int) int {
	if end := only(isWord)(x, i); end > i {
		return end
	}
	return only(func(r rune, c class) bool { return c&space == 0 && !isWord(r, c) })(x, i)
}

// isWord is \w: [\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}].
func isWord(r rune, c class) bool {
	if r < utf8.RuneSelf {
		return r == '_' || c&(letter|number) != 0
	}
	return c&(letter|mark) != 0 || unicode.In(r, unicode.Nd, unicode.Nl, unicode.Other_Alphabetic, unicode.Pc, unicode.Join_Control)
}

func byteLevel(p *part) (cutting, error) {
	c := struct {
		Prefix bool `json:"add_prefix_space"`
		Regex  bool `json:"use_regex"`
	}{true, true}
	if err := p.read(&c); err != nil {
		return cutting{}, err
	}
	var words splitter
	if c.Regex {
		words = splitter{gpt2}
	}
	cut := pieces(words, classes16(), nil)
	if c.Prefix {
		inner := cut
		cut = func(s string, first bool, word func(string, bool)) {
			if !strings.HasPrefix(s, " ") {
				s = " " + s
			}
			inner(s, first, word)
		}
	}
	return cutting{cut: cut, bytes: true}, nil
}

func metaspace(p *part) (cutting, error) {
	c := struct {
		Replacement string
		Scheme      string `json:"prepend_scheme"`
		Prefix      *bool  `json:"add_prefix_space"` // of old files
		Split       *bool
	}{Replacement: spaceMark, Scheme: "always"}
	if err := p.read(&c); err != nil {
		return cutting{}, err
	}
	if c.Prefix != nil && !*c.Prefix {
		c.Scheme = "never"
	}
	if c.Scheme != "always" && c.Scheme != "first" && c.Scheme != "never" || utf8.RuneCountInString(c.Replacement) != 1 {
		return cutting{}, fmt.Errorf("in Metaspace: prepend_scheme %q with replacement %q is not supported", c.Scheme, c.Replacement)
	}
	cut := func(s string, first bool, word func(string, bool)) { word(s, first) }
	if c.Split == nil || *c.Split {
		var err error
		if cut, err = behaving(literal(c.Replacement), classes16(), "MergedWithNext", false); err != nil {
			return cutting{}, err
		}
	}
	return cutting{cut: func(s string, first bool, word func(string, bool)) {
		s = strings.ReplaceAll(s, " ", c.Replacement)
		if (c.Scheme == "always" || c.Scheme == "first" && first) && !strings.HasPrefix(s, c.Replacement) {
			s = c.Replacement + s
		}
		cut(s, first, word)
	}}, nil
}

func cutters(p *part) (cutting, error) {
	var c struct{ Pretokenizers []part }
	if err := p.read(&c); err != nil {
		return cutting{}, err
	}
	all := cutting{cut: func(s string, first bool, word func(string, bool)) { word(s, first) }}
	for i := range c.Pretokenizers {
		next, err := cutterOf(&c.Pretokenizers[i])
		if err != nil {
			return cutting{}, err
		}
		if all.bytes {
			return cutting{}, errors.New("in Sequence: a step after ByteLevel is not supported")
		}
		if i == 0 {
			all = next
			continue
		}
		before := all.cut
		all = cutting{bytes: next.bytes, cut: func(s string, first bool, word func(string, bool)) {
			before(s, first, func(s string, first bool) { next.cut(s, first, word) })
		}}
	}
	return all, nil
}

func splitOf(p *part) (cutting, error) {
	var c struct {
		Pattern  pattern
		Behavior string
		Invert   bool
	}
	if err := p.read(&c); err != nil {
		return cutting{}, err
	}
	var match rule
	switch {
	case c.Pattern.String != nil && *c.Pattern.String != "":
		match = literal(*c.Pattern.String)
	case c.Pattern.Regex != nil:
		var ok bool
		if match, ok = expressions()[plainExpression(*c.Pattern.Regex)]; !ok {
			return cutting{}, fmt.Errorf("in Split: the expression %q is not known", *c.Pattern.Regex)
		}
	default:
		return cutting{}, errors.New("in Split: no pattern")
	}
	cut, err := behaving(match, classes16(), c.Behavior, c.Invert)
	return cutting{cut: cut}, err
}

// literal matches a string.
func literal(of string) rule {
	return func(x text, i int) int {
		if of != "" && strings.HasPrefix(x.s[i:], of) {
			return i + len(of)
		}
		return i
	}
}

// behaving cuts text at the matches of a rule, which become words, go, or become part of a neighbour. With invert the text
// between matches is what is meant.
func behaving(match rule, t *classTable, behavior string, invert bool) (cutter, error) {
	switch behavior {
	case "Isolated", "Removed", "MergedWithPrevious", "MergedWithNext", "Contiguous":
	default:
		return nil, fmt.Errorf("the behavior %q is not supported", behavior)
	}
	return func(s string, first bool, word func(string, bool)) {
		x := text{s, t}
		give := func(from, to int) {
			if from < to {
				word(s[from:to], first)
				first = false
			}
		}
		begin := 0        // of the word that is open
		matched := invert // what is before: a match?
		step := func(from, to int, is bool) {
			if from == to {
				return
			}
			is = is != invert
			switch {
			case behavior == "Removed":
				if !is {
					give(from, to)
				}
				first = false
				begin = to
			case behavior == "Isolated":
				give(from, to)
				begin = to
			case behavior == "Contiguous":
				if is != matched {
					give(begin, from)
					begin = from
				}
			case behavior == "MergedWithPrevious":
				if !is || matched && begin < from {
					give(begin, from)
					begin = from
				}
				if is {
					give(begin, to)
					begin = to
				}
			case behavior == "MergedWithNext":
				if is {
					give(begin, from)
					begin = from
				} else {
					give(begin, to)
					begin = to
				}
			}
			matched = is
		}
		done := 0
		for i := 0; i < len(s); {
			if end := match(x, i); end > i {
				step(done, i, false)
				step(i, end, true)
				i, done = end, end
				continue
			}
			_, n, _ := x.at(i)
			i += n
		}
		step(done, len(s), false)
		give(begin, len(s))
	}, nil
}
