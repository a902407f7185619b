package tree

import (
	"encoding/binary"
	"fmt"
	"math"
)

// ubjLexer splits Universal Binary JSON (ubjson.org, draft 12) into tokens: all that XGBoost writes, and what others may
// write for the same. Numbers are big-endian.
type ubjLexer struct {
	data []byte
	at   int
	open []frame
	key  bool // a key was read: its value comes next
	done bool
}

// frame is a container that is not closed.
type frame struct {
	object bool
	typed  byte  // the type of all elements; 0: each says its own
	left   int64 // elements to come; -1: until the closing bracket
}

func newUBJ(data []byte) *ubjLexer { return &ubjLexer{data: data} }

func (l *ubjLexer) offset() int { return l.at }

// marker is the next byte that is no padding.
func (l *ubjLexer) marker() (byte, error) {
	for l.at < len(l.data) && l.data[l.at] == 'N' {
		l.at++
	}
	if l.at >= len(l.data) {
		return 0, errShort
	}
	return l.data[l.at], nil
}

// next implements lexer.
func (l *ubjLexer) next() (token, error) {
	if l.done {
		if l.at < len(l.data) {
			return token{}, fmt.Errorf("there are %d bytes after the end of the document", len(l.data)-l.at)
		}
		return token{}, nil
	}
	if n := len(l.open); n > 0 && !l.key {
		f := &l.open[n-1]
		if f.left == 0 {
			return l.close(f.object), nil
		}
		if f.left > 0 {
			f.left--
		} else {
			m, err := l.marker()
			if err != nil {
				return token{}, err
			}
			if m == ']' && !f.object || m == '}' && f.object {
				l.at++
				return l.close(f.object), nil
			}
		}
		if f.object {
			text, err := l.text()
			l.key = true
			return token{kind: keyKind, text: text}, err
		}
		if f.typed != 0 {
			return l.value(f.typed)
		}
	}
	l.key = false
	m, err := l.marker()
	if err != nil {
		return token{}, err
	}
	l.at++
	return l.value(m)
}

func (l *ubjLexer) close(object bool) token {
	l.open = l.open[:len(l.open)-1]
	l.done = len(l.open) == 0
	if object {
		return token{kind: objectEnd}
	}
	return token{kind: arrayEnd}
}

// value reads a value of the type t.
func (l *ubjLexer) value(t byte) (token, error) {
	l.done = len(l.open) == 0
	switch t {
	case '{', '[':
		l.done = false
		return l.begin(t == '{')
	case 'S':
		text, err := l.text()
		return token{kind: textKind, text: text}, err
	case 'C':
		b, err := l.take(1)
		return token{kind: textKind, text: b}, err
	case 'T':
		return token{kind: boolKind, num: 1}, nil
	case 'F':
		return token{kind: boolKind}, nil
	case 'Z':
		return token{kind: nullKind}, nil
	}
	v, err := l.number(t)
	return token{kind: numberKind, num: v}, err
}

// take cuts off the next n bytes.
func (l *ubjLexer) take(n int) ([]byte, error) {
	if n > len(l.data)-l.at {
		return nil, errShort
	}
	b := l.data[l.at : l.at+n : l.at+n]
	l.at += n
	return b, nil
}

// sizes of the numbers, by their types.
func numberSize(t byte) int {
	switch t {
	case 'i', 'U':
		return 1
	case 'I':
		return 2
	case 'l', 'd':
		return 4
	case 'L', 'D':
		return 8
	}
	return 0
}

func (l *ubjLexer) number(t byte) (float64, error) {
	size := numberSize(t)
	if size == 0 {
		return 0, fmt.Errorf("%q is not a type of a UBJ value", t)
	}
	b, err := l.take(size)
	if err != nil {
		return 0, err
	}
	switch t {
	case 'i':
		return float64(int8(b[0])), nil
	case 'U':
		return float64(b[0]), nil
	case 'I':
		return float64(int16(binary.BigEndian.Uint16(b))), nil
	case 'l':
		return float64(int32(binary.BigEndian.Uint32(b))), nil
	case 'L':
		return float64(int64(binary.BigEndian.Uint64(b))), nil
	case 'd':
		return float64(math.Float32frombits(binary.BigEndian.Uint32(b))), nil
	}
	return math.Float64frombits(binary.BigEndian.Uint64(b)), nil
}

// length reads a count, which must fit into the bytes that are left.
func (l *ubjLexer) length() (int64, error) {
	m, err := l.marker()
	if err != nil {
		return 0, err
	}
	if m == 'd' || m == 'D' || numberSize(m) == 0 {
		return 0, fmt.Errorf("%q is not a type of a length", m)
	}
	l.at++
	v, err := l.number(m)
	if err != nil {
		return 0, err
	}
	if left := len(l.data) - l.at; v < 0 || v > float64(left) {
		return 0, fmt.Errorf("a length of %.0f is declared, and %d bytes are left", v, left)
	}
	return int64(v), nil
}

func (l *ubjLexer) text() ([]byte, error) {
	n, err := l.length()
	if err != nil {
		return nil, err
	}
	return l.take(int(n))
}

// begin reads the head of a container.
func (l *ubjLexer) begin(object bool) (token, error) {
	if len(l.open) == maxNesting {
		return token{}, fmt.Errorf("objects and arrays lie more than %d deep in each other", maxNesting)
	}
	f := frame{object: object, left: -1}
	m, err := l.marker()
	if err != nil {
		return token{}, err
	}
	if m == '$' {
		if l.at+2 >= len(l.data) {
			return token{}, errShort
		}
		f.typed = l.data[l.at+1]
		if object || numberSize(f.typed) == 0 {
			return token{}, fmt.Errorf("a container of the type %q is not read here; only arrays of numbers may be typed", f.typed)
		}
		l.at += 2
		if m = l.data[l.at]; m != '#' {
			return token{}, fmt.Errorf("a typed array has no count")
		}
	}
	if m == '#' {
		l.at++
		if f.left, err = l.length(); err != nil {
			return token{}, err
		}
		if size := int64(numberSize(f.typed)); f.typed != 0 && f.left > int64(len(l.data)-l.at)/size {
			return token{}, fmt.Errorf("an array of %d elements of %d bytes is declared, and %d bytes are left", f.left, size, len(l.data)-l.at)
		}
	}
	l.open = append(l.open, f)
	if object {
		return token{kind: objectBegin}, nil
	}
	return token{kind: arrayBegin}, nil
}
