package jsontensor

import (
	"bytes"
	"encoding/binary"
	"unicode/utf16"
	"unicode/utf8"

	"serval"
)

// String takes a string and returns it without its escapes. The result aliases the text, or the Scanner until the next
// String or Key. Bytes that are not UTF-8 are passed on as they are; half a surrogate pair is an error.
func (s *Scanner) String() ([]byte, error) {
	c := s.Peek()
	if c != '"' {
		return nil, s.unexpected(c, "a string")
	}
	start := s.pos
	escaped, err := s.stringSpan()
	if err != nil {
		return nil, err
	}
	raw := s.buf[start+1 : s.pos-1]
	if !escaped {
		return raw, nil
	}
	s.scratch, err = appendUnescaped(s.scratch[:0], raw, start+1)
	return s.scratch, err
}

// stringSpan takes a string without looking into its escapes beyond their grammar; it reports whether there are any.
func (s *Scanner) stringSpan() (escaped bool, err error) {
	from := s.pos + 1
	if end := bytes.IndexByte(s.buf[from:], '"'); end >= 0 {
		seg := s.buf[from : from+end]
		if !hasControl(seg) && bytes.IndexByte(seg, '\\') < 0 {
			s.pos = from + end + 1
			return false, nil
		}
	}
	for i := from; i < len(s.buf); i++ {
		switch c := s.buf[i]; {
		case c == '"':
			s.pos = i + 1
			return escaped, nil
		case c == '\\':
			escaped = true
			n := escapeLen(s.buf[i:])
			if n == 0 {
				s.pos = i
				return false, serval.Errorf(serval.InvalidArgument, "invalid JSON at byte %d: unknown escape in a string", i)
			}
			i += n - 1
		case c < ' ':
			s.pos = i
			return false, serval.Errorf(serval.InvalidArgument, "invalid JSON at byte %d: control character 0x%02x in a string; escape it", i, c)
		}
	}
	return false, serval.Errorf(serval.InvalidArgument, "invalid JSON: the string that begins at byte %d has no end", s.pos)
}

// escapeLen is the length of the escape that b begins with; 0 if it is none.
func escapeLen(b []byte) int {
	if len(b) < 2 {
		return 0
	}
	switch b[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2
	case 'u':
		if _, ok := hex4(b); ok {
			return 6
		}
	}
	return 0
}

// hex4 reads the \uXXXX that b begins with.
func hex4(b []byte) (rune, bool) {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return 0, false
	}
	var r rune
	for _, c := range b[2:6] {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

// appendUnescaped appends a string whose escapes are known to be well-formed; at is where raw stands in the text.
func appendUnescaped(dst, raw []byte, at int) ([]byte, error) {
	for i := 0; i < len(raw); {
		next := bytes.IndexByte(raw[i:], '\\')
		if next < 0 {
			return append(dst, raw[i:]...), nil
		}
		dst = append(dst, raw[i:i+next]...)
		i += next
		switch c := raw[i+1]; c {
		case 'b':
			c = '\b'
			dst = append(dst, c)
		case 'f':
			dst = append(dst, '\f')
		case 'n':
			dst = append(dst, '\n')
		case 'r':
			dst = append(dst, '\r')
		case 't':
			dst = append(dst, '\t')
		case 'u':
			r, _ := hex4(raw[i:])
			i += 4
			if utf16.IsSurrogate(r) {
				low, ok := hex4(raw[i+2:])
				full := utf16.DecodeRune(r, low)
				if !ok || full == utf8.RuneError {
					return dst, serval.Errorf(serval.InvalidArgument, "invalid JSON at byte %d: \\u%04x is half of a surrogate pair; send bytes that are not text as binary data", at+i-4, r)
				}
				r = full
				i += 6
			}
			dst = utf8.AppendRune(dst, r)
		default: // " \ /
			dst = append(dst, c)
		}
		i += 2
	}
	return dst, nil
}

// hasControl says whether b has a byte below space.
func hasControl(b []byte) bool {
	for len(b) >= 8 {
		x := binary.LittleEndian.Uint64(b)
		// A byte below 0x20 borrows into its top bit; a borrow from a lower byte can only follow such a byte.
		if (x-0x2020202020202020)&^x&0x8080808080808080 != 0 {
			return true
		}
		b = b[8:]
	}
	for _, c := range b {
		if c < ' ' {
			return true
		}
	}
	return false
}
