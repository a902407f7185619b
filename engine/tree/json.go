package tree

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"unicode/utf8"
)

// jsonLexer splits JSON into tokens. Beyond RFC 8259 it takes NaN and the infinities, which XGBoost writes.
type jsonLexer struct {
	data  []byte
	at    int
	open  []byte // '{' or '[' of each container that is not closed
	first bool   // nothing was read yet of the innermost container
	value bool   // a key was read: its value comes next
	done  bool
}

func newJSON(data []byte) *jsonLexer {
	return &jsonLexer{data: bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))}
}

func (l *jsonLexer) offset() int { return l.at }

func (l *jsonLexer) space() {
	for l.at < len(l.data) {
		switch l.data[l.at] {
		case ' ', '\t', '\n', '\r':
			l.at++
		default:
			return
		}
	}
}

var errShort = errors.New("the file ends in the middle of a value")

// next implements lexer.
func (l *jsonLexer) next() (token, error) {
	l.space()
	if l.done {
		if l.at < len(l.data) {
			return token{}, fmt.Errorf("there is more after the end of the document: %q", clip(l.data[l.at:]))
		}
		return token{}, nil
	}
	if l.at >= len(l.data) {
		return token{}, errShort
	}
	if n := len(l.open); n > 0 && !l.value {
		closing := l.open[n-1] + 2 // '{' → '}', '[' → ']'
		if l.data[l.at] == closing {
			return l.close(), nil
		}
		if !l.first {
			if l.data[l.at] != ',' {
				return token{}, fmt.Errorf("%q stands where a comma or %q must", l.data[l.at], closing)
			}
			l.at++
			l.space()
		}
		l.first = false
		if l.open[n-1] == '{' {
			return l.key()
		}
	}
	l.value = false
	return l.scalar()
}

func (l *jsonLexer) close() token {
	k := arrayEnd
	if l.data[l.at] == '}' {
		k = objectEnd
	}
	l.at++
	l.open = l.open[:len(l.open)-1]
	l.ended()
	return token{kind: k}
}

// ended notes that a value is complete.
func (l *jsonLexer) ended() {
	l.first = false
	l.done = len(l.open) == 0
}

func (l *jsonLexer) key() (token, error) {
	if l.at >= len(l.data) {
		return token{}, errShort
	}
	if l.data[l.at] != '"' {
		return token{}, fmt.Errorf("%q stands where a key must", l.data[l.at])
	}
	text, err := l.text()
	if err != nil {
		return token{}, err
	}
	l.space()
	if l.at >= len(l.data) {
		return token{}, errShort
	}
	if l.data[l.at] != ':' {
		return token{}, fmt.Errorf("%q stands where a colon must", l.data[l.at])
	}
	l.at++
	l.value = true
	return token{kind: keyKind, text: text}, nil
}

// scalar reads a value, or the start of one.
func (l *jsonLexer) scalar() (token, error) {
	if l.at >= len(l.data) {
		return token{}, errShort
	}
	switch c := l.data[l.at]; c {
	case '{', '[':
		if len(l.open) == maxNesting {
			return token{}, fmt.Errorf("objects and arrays lie more than %d deep in each other", maxNesting)
		}
		l.at++
		l.open = append(l.open, c)
		l.first = true
		if c == '{' {
			return token{kind: objectBegin}, nil
		}
		return token{kind: arrayBegin}, nil
	case '"':
		text, err := l.text()
		l.ended()
		return token{kind: textKind, text: text}, err
	case 't', 'f', 'n':
		for _, w := range [...]struct {
			word string
			tok  token
		}{{"true", token{kind: boolKind, num: 1}}, {"false", token{kind: boolKind}}, {"null", token{kind: nullKind}}} {
			if bytes.HasPrefix(l.data[l.at:], []byte(w.word)) {
				l.at += len(w.word)
				l.ended()
				return w.tok, nil
			}
		}
	default:
		if v, n := parseNumber(l.data[l.at:]); n > 0 {
			l.at += n
			l.ended()
			return token{kind: numberKind, num: v}, nil
		}
	}
	return token{}, fmt.Errorf("%q is not JSON", clip(l.data[l.at:min(len(l.data), l.at+16)]))
}

// text reads a string; what it returns is a part of the document, or a copy where there were escapes.
func (l *jsonLexer) text() ([]byte, error) {
	start := l.at + 1
	for i := start; i < len(l.data); i++ {
		switch c := l.data[i]; {
		case c == '"':
			l.at = i + 1
			return l.data[start:i], nil
		case c == '\\':
			return l.escaped(start, i)
		case c < ' ':
			return nil, fmt.Errorf("a control character (0x%02x) stands in a string", c)
		}
	}
	return nil, errShort
}

// escaped reads a string whose first escape is at i.
func (l *jsonLexer) escaped(start, i int) ([]byte, error) {
	word := append([]byte(nil), l.data[start:i]...)
	for i < len(l.data) {
		c := l.data[i]
		switch {
		case c == '"':
			l.at = i + 1
			return word, nil
		case c < ' ':
			return nil, fmt.Errorf("a control character (0x%02x) stands in a string", c)
		case c != '\\':
			word = append(word, c)
			i++
			continue
		}
		if i+1 >= len(l.data) {
			return nil, errShort
		}
		switch c := l.data[i+1]; c {
		case '"', '\\', '/':
			word = append(word, c)
		case 'b':
			word = append(word, '\b')
		case 'f':
			word = append(word, '\f')
		case 'n':
			word = append(word, '\n')
		case 'r':
			word = append(word, '\r')
		case 't':
			word = append(word, '\t')
		case 'u':
			r, n, err := l.unicode(i)
			if err != nil {
				return nil, err
			}
			word = utf8.AppendRune(word, r)
			i += n
			continue
		default:
			return nil, fmt.Errorf("\\%c is no escape of JSON", c)
		}
		i += 2
	}
	return nil, errShort
}

// unicode reads the escape at i, with the second half of a surrogate pair, and says how long it is.
func (l *jsonLexer) unicode(i int) (rune, int, error) {
	r, err := l.hex(i)
	if err != nil {
		return 0, 0, err
	}
	if r >= 0xd800 && r < 0xdc00 && i+7 < len(l.data) && l.data[i+6] == '\\' && l.data[i+7] == 'u' {
		low, err := l.hex(i + 6)
		if err != nil {
			return 0, 0, err
		}
		if low >= 0xdc00 && low < 0xe000 {
			return (r-0xd800)<<10 + (low - 0xdc00) + 0x10000, 12, nil
		}
	}
	return r, 6, nil // half a pair becomes U+FFFD
}

func (l *jsonLexer) hex(i int) (rune, error) {
	if i+6 > len(l.data) {
		return 0, errShort
	}
	v, err := strconv.ParseUint(string(l.data[i+2:i+6]), 16, 16)
	if err != nil {
		return 0, fmt.Errorf("%q is no escape of JSON", l.data[i:i+6])
	}
	return rune(v), nil
}
