package jsontensor

import (
	"encoding/binary"
	"math"

	"serval"
)

// maxDepth bounds how deep skipped values may nest; the Scanner's recursion never goes deeper.
const maxDepth = 128

// Scanner walks a JSON text once, from front to back. It checks the grammar as it goes and never reads the text twice.
// Not safe for concurrent use. An object is walked like this:
//
//	err := s.Enter('{', "the request")
//	for first := true; ; first = false {
//		more, err := s.More(first, '}') // false: the object is over
//		key, err := s.Key()
//		… read or Skip the value
//	}
type Scanner struct {
	buf     []byte
	pos     int
	scratch []byte // of String, where the text has escapes
}

// Reset begins a new text. The Scanner and what it returns alias text.
func (s *Scanner) Reset(text []byte) {
	s.buf, s.pos = text, 0
	if cap(s.scratch) > 64<<10 {
		s.scratch = nil
	}
}

// Pos is where the next byte to read is.
func (s *Scanner) Pos() int { return s.pos }

// Seek goes to a place that Pos gave.
func (s *Scanner) Seek(pos int) { s.pos = pos }

// Peek skips white space and returns the next byte without taking it; 0 at the end.
func (s *Scanner) Peek() byte {
	s.pos = skipSpace(s.buf, s.pos)
	if s.pos < len(s.buf) {
		return s.buf[s.pos]
	}
	return 0
}

// End fails unless nothing but white space is left.
func (s *Scanner) End() error {
	if c := s.Peek(); s.pos < len(s.buf) {
		return s.unexpected(c, "the end")
	}
	return nil
}

// Enter takes the '{' or '[' that a value begins with; what names the value for the error.
func (s *Scanner) Enter(open byte, what string) error {
	if s.Peek() != open {
		kind := "an object {…}"
		if open == '[' {
			kind = "an array […]"
		}
		if s.pos >= len(s.buf) {
			return s.unexpected(0, kind)
		}
		return serval.Errorf(serval.InvalidArgument, "%s must be %s, not %s", what, kind, s.kind()).At(what)
	}
	s.pos++
	return nil
}

// More says whether another member follows, and takes the comma before it or the closing byte after the last.
func (s *Scanner) More(first bool, closing byte) (bool, error) {
	c := s.Peek()
	switch {
	case c == closing:
		s.pos++
		return false, nil
	case first:
		return true, nil
	case c == ',':
		s.pos++
		if s.Peek() == closing {
			return false, s.unexpected(closing, "another value after ','")
		}
		return true, nil
	}
	return false, s.unexpected(c, "',' or '"+string(closing)+"'")
}

// Key takes a member's name and its colon. The result is good until the next Key or String.
func (s *Scanner) Key() ([]byte, error) {
	if c := s.Peek(); c != '"' {
		return nil, s.unexpected(c, "a name in quotes")
	}
	key, err := s.String()
	if err != nil {
		return nil, err
	}
	if c := s.Peek(); c != ':' {
		return nil, s.unexpected(c, "':'")
	}
	s.pos++
	return key, nil
}

// Follow takes a member's name and its colon where they stand next, just so: without white space or escapes. Else it takes
// nothing and returns false, and Key tells what stands there. name has no quotes, backslashes or control characters.
func (s *Scanner) Follow(name string) bool {
	b, n := s.buf[s.pos:], len(name)
	if len(b) < n+3 || b[0] != '"' || b[n+1] != '"' || b[n+2] != ':' || string(b[1:n+1]) != name {
		return false
	}
	s.pos += n + 3
	return true
}

// Value takes a number that d holds and writes it to dst, which has d's size. Where anything else stands, or a number that has to
// be looked at twice, it takes nothing and returns false; Tensor then takes it, or says what is wrong.
func (s *Scanner) Value(d serval.DType, dst []byte) bool {
	s.pos = skipSpace(s.buf, s.pos)
	num, next := scanNumber(s.buf, s.pos)
	if next < 0 {
		return false
	}
	switch d {
	case serval.FP32:
		f, ok := num.float32()
		if !ok {
			return false
		}
		binary.LittleEndian.PutUint32(dst, math.Float32bits(f))
	case serval.FP64:
		f, ok := num.float64()
		if !ok {
			return false
		}
		binary.LittleEndian.PutUint64(dst, math.Float64bits(f))
	case serval.Int64, serval.Int32:
		if num.frac || num.big {
			return false
		}
		v, ok := num.integer(nil, d)
		if !ok {
			return false
		}
		if d == serval.Int32 {
			binary.LittleEndian.PutUint32(dst, uint32(v))
		} else {
			binary.LittleEndian.PutUint64(dst, v)
		}
	default:
		return false
	}
	s.pos = next
	return true
}

// Skip takes the next value, whatever it is, and checks its grammar.
func (s *Scanner) Skip() error { return s.skip(0) }

func (s *Scanner) skip(depth int) error {
	if depth > maxDepth {
		return serval.Errorf(serval.InvalidArgument, "invalid JSON at byte %d: nested deeper than %d levels", s.pos, maxDepth)
	}
	switch c := s.Peek(); c {
	case '{', '[':
		s.pos++
		closing := c + 2 // '}' is '{'+2 and ']' is '['+2
		for first := true; ; first = false {
			more, err := s.More(first, closing)
			if err != nil || !more {
				return err
			}
			if c == '{' {
				if _, err := s.Key(); err != nil {
					return err
				}
			}
			if err := s.skip(depth + 1); err != nil {
				return err
			}
		}
	case '"':
		_, err := s.stringSpan()
		return err
	case 't', 'f':
		_, err := s.Bool()
		return err
	case 'n':
		return s.word("null")
	default:
		_, err := s.Number()
		return err
	}
}

// Bool takes true or false.
func (s *Scanner) Bool() (bool, error) {
	if s.Peek() == 't' {
		return true, s.word("true")
	}
	return false, s.word("false")
}

// Shape finds the shape of the next value, nested arrays or a single one, by its first elements, and leaves the value to be
// read. It appends the dimensions to dst; Tensor then finds out whether the rest agrees.
func (s *Scanner) Shape(dst []int64) ([]int64, error) {
	start := s.pos
	defer func() { s.pos = start }()
	for s.Peek() == '[' {
		if len(dst) == maxRank {
			return dst, serval.Errorf(serval.InvalidArgument, "data is nested deeper than %d levels", maxRank)
		}
		inner := s.pos + 1
		n := int64(0)
		s.pos = inner
		for {
			more, err := s.More(n == 0, ']')
			if err == nil && more {
				n++
				err = s.Skip()
			}
			if err != nil {
				return dst, err
			}
			if !more {
				break
			}
		}
		dst = append(dst, n)
		s.pos = inner
	}
	return dst, nil
}

// Null takes null.
func (s *Scanner) Null() error {
	s.Peek()
	return s.word("null")
}

func (s *Scanner) word(w string) error {
	if len(s.buf)-s.pos < len(w) || string(s.buf[s.pos:s.pos+len(w)]) != w {
		return s.unexpected(s.at(), w)
	}
	s.pos += len(w)
	return nil
}

// Number takes a number and returns it as it is written.
func (s *Scanner) Number() ([]byte, error) {
	c := s.Peek()
	_, next := scanNumber(s.buf, s.pos)
	if next < 0 {
		return nil, s.unexpected(c, "a value")
	}
	text := s.buf[s.pos:next]
	s.pos = next
	return text, nil
}

// Uint takes a whole number from 0 up; it reports false, and takes nothing, where something else stands.
func (s *Scanner) Uint() (uint64, bool) {
	s.Peek()
	n, next := scanNumber(s.buf, s.pos)
	if next < 0 || n.neg && n.mant != 0 || n.frac {
		return 0, false
	}
	v, ok := n.integer(s.buf[s.pos:next], serval.Uint64)
	if ok {
		s.pos = next
	}
	return v, ok
}

func (s *Scanner) at() byte {
	if s.pos < len(s.buf) {
		return s.buf[s.pos]
	}
	return 0
}

// kind names the sort of value that stands at pos.
func (s *Scanner) kind() string {
	switch c := s.at(); {
	case c == '{':
		return "an object"
	case c == '[':
		return "an array"
	case c == '"':
		return "a string"
	case c == 't', c == 'f':
		return "a boolean"
	case c == 'n':
		return "null"
	case c == '-', '0' <= c && c <= '9':
		return "a number"
	}
	return "something that is not JSON"
}

func (s *Scanner) unexpected(c byte, want string) error {
	if s.pos >= len(s.buf) {
		return serval.Errorf(serval.InvalidArgument, "invalid JSON: the text ends at byte %d where %s should be", len(s.buf), want)
	}
	return serval.Errorf(serval.InvalidArgument, "invalid JSON at byte %d: %q stands where %s should be", s.pos, rune(c), want)
}

func skipSpace(b []byte, i int) int {
	for i < len(b) && b[i] <= ' ' && (b[i] == ' ' || b[i] == '\n' || b[i] == '\r' || b[i] == '\t') {
		i++
	}
	return i
}

// Text is what was taken since Pos gave start, without white space around it.
func (s *Scanner) Text(start int) []byte {
	start = skipSpace(s.buf, start)
	return s.buf[start:max(start, s.pos):max(start, s.pos)]
}
