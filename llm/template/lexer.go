package template

import (
	"math/big"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// kind is what a token is.
type kind uint8

const (
	tokEnd kind = iota
	tokData
	tokBlockBegin
	tokBlockEnd
	tokVariableBegin
	tokVariableEnd
	tokName
	tokString
	tokNumber
	tokOperator
)

// token is a piece of the source. text is a name, an operator, a string's value or a piece of data; value is a number's.
type token struct {
	kind  kind
	pos   int
	text  string
	value any
}

// lexer cuts the source into tokens, with the white-space rules of trim_blocks and lstrip_blocks.
type lexer struct {
	src       string
	pos       int
	lineStart bool // the last match ended a line
	tokens    []token
}

// normalize ends all lines with \n and takes the last one's end away, as jinja does before anything else.
func normalize(source string) string {
	if strings.Contains(source, "\r") {
		source = strings.ReplaceAll(strings.ReplaceAll(source, "\r\n", "\n"), "\r", "\n")
	}
	return strings.TrimSuffix(source, "\n")
}

func lex(source string) []token {
	l := &lexer{src: source, lineStart: true}
	for l.pos < len(l.src) {
		l.root()
	}
	l.emit(token{kind: tokEnd, pos: len(source)})
	return l.tokens
}

func (l *lexer) emit(t token) { l.tokens = append(l.tokens, t) }

// root takes data up to the next tag, and the tag.
func (l *lexer) root() {
	start := l.pos
	at := start
	for {
		i := strings.IndexByte(l.src[at:], '{')
		if i < 0 || at+i+1 >= len(l.src) {
			l.emit(token{kind: tokData, pos: start, text: l.src[start:]})
			l.pos = len(l.src)
			return
		}
		at += i
		if c := l.src[at+1]; c == '%' || c == '{' || c == '#' {
			break
		}
		at++
	}
	tag := l.src[at+1]
	l.pos = at + 2
	sign := l.sign("-+")
	l.data(start, at, sign, tag != '{')
	switch tag {
	case '#':
		l.comment(at)
	case '{':
		l.emit(token{kind: tokVariableBegin, pos: at})
		l.lineStart = false
		l.inside(at, tokVariableEnd, "}}")
	default:
		if after, ok := l.rawBegin(); ok {
			l.raw(at, after)
			return
		}
		l.emit(token{kind: tokBlockBegin, pos: at})
		l.lineStart = false
		l.inside(at, tokBlockEnd, "%}")
	}
}

// sign takes a white-space sign.
func (l *lexer) sign(allowed string) byte {
	if l.pos < len(l.src) && strings.IndexByte(allowed, l.src[l.pos]) >= 0 {
		l.pos++
		return l.src[l.pos-1]
	}
	return 0
}

// data emits text before a tag, less the white space that the tag eats.
func (l *lexer) data(start, end int, sign byte, strips bool) {
	text := l.src[start:end]
	if sign == '-' {
		text = strings.TrimRightFunc(text, isSpace)
	} else if sign != '+' && strips {
		line := strings.LastIndexByte(text, '\n') + 1
		if (line > 0 || l.lineStart) && strings.TrimLeftFunc(text[line:], isSpace) == "" {
			text = text[:line]
		}
	}
	if text != "" {
		l.emit(token{kind: tokData, pos: start, text: text})
	}
}

// closes takes the end of a tag, with the white space that belongs to it.
func (l *lexer) closes(end string) bool {
	rest := l.src[l.pos:]
	switch {
	case strings.HasPrefix(rest, "-"+end):
		l.pos += 1 + len(end)
		l.pos = len(l.src) - len(strings.TrimLeftFunc(l.src[l.pos:], isSpace))
	case end != "}}" && strings.HasPrefix(rest, "+"+end):
		l.pos += 1 + len(end)
	case strings.HasPrefix(rest, end):
		l.pos += len(end)
		if end != "}}" && l.pos < len(l.src) && l.src[l.pos] == '\n' {
			l.pos++
		}
	default:
		return false
	}
	l.lineStart = l.src[l.pos-1] == '\n'
	return true
}

func (l *lexer) comment(at int) {
	i := strings.Index(l.src[l.pos:], "#}")
	if i < 0 {
		fault(at, "this comment has no end: #} is missing")
	}
	end := l.pos + i
	if end > l.pos && (l.src[end-1] == '-' || l.src[end-1] == '+') {
		end--
	}
	l.pos = end
	l.closes("#}")
}

// rawBegin says whether the tag just begun is raw, and where it ends.
func (l *lexer) rawBegin() (int, bool) {
	rest := strings.TrimLeftFunc(l.src[l.pos:], isSpace)
	rest, ok := strings.CutPrefix(rest, "raw")
	if !ok {
		return 0, false
	}
	rest = strings.TrimLeftFunc(rest, isSpace)
	if after, ok := strings.CutPrefix(rest, "-%}"); ok {
		return len(l.src) - len(strings.TrimLeftFunc(after, isSpace)), true
	}
	after, ok := strings.CutPrefix(rest, "%}")
	return len(l.src) - len(after), ok
}

// raw takes everything up to endraw as it is.
func (l *lexer) raw(at, start int) {
	l.lineStart = l.src[start-1] == '\n'
	for from := start; ; {
		i := strings.Index(l.src[from:], "{%")
		if i < 0 {
			fault(at, "this raw block has no end: {%% endraw %%} is missing")
		}
		begin := from + i
		from = begin + 2
		l.pos = from
		sign := l.sign("-+")
		rest, ok := strings.CutPrefix(strings.TrimLeftFunc(l.src[l.pos:], isSpace), "endraw")
		if !ok {
			continue
		}
		l.pos = len(l.src) - len(strings.TrimLeftFunc(rest, isSpace))
		tail := l.pos
		if !l.closes("%}") {
			continue
		}
		after, starts := l.pos, l.lineStart
		l.lineStart, l.pos = l.src[start-1] == '\n', tail
		l.data(start, begin, sign, true)
		l.pos, l.lineStart = after, starts
		return
	}
}

// inside takes the tokens of a tag up to its end.
func (l *lexer) inside(at int, end kind, closer string) {
	var open []byte
	for {
		for l.pos < len(l.src) {
			r, n := utf8.DecodeRuneInString(l.src[l.pos:])
			if !isSpace(r) {
				break
			}
			l.pos += n
		}
		if l.pos >= len(l.src) {
			fault(at, "this tag has no end: %s is missing", closer)
		}
		start := l.pos
		if len(open) == 0 && l.closes(closer) {
			l.emit(token{kind: end, pos: start})
			return
		}
		c := l.src[l.pos]
		switch {
		case c == '\'' || c == '"':
			l.quoted(c)
		case c >= '0' && c <= '9':
			l.number()
		case c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= utf8.RuneSelf:
			l.name()
		default:
			open = l.operator(open)
		}
	}
}

func (l *lexer) name() {
	start := l.pos
	for l.pos < len(l.src) {
		r, n := utf8.DecodeRuneInString(l.src[l.pos:])
		if r != '_' && !unicode.IsLetter(r) && (l.pos == start || !unicode.IsDigit(r) && !unicode.IsMark(r)) {
			break
		}
		l.pos += n
	}
	if l.pos == start {
		r, _ := utf8.DecodeRuneInString(l.src[start:])
		fault(start, "unexpected character %q", r)
	}
	l.emit(token{kind: tokName, pos: start, text: l.src[start:l.pos]})
}

// operators are those of expressions, the longer ones first.
var operators = [...]string{"//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[", "]", "(", ")", "{", "}", ">", "<", "=", ".", ":", "|", ",", ";"}

func (l *lexer) operator(open []byte) []byte {
	for _, op := range operators {
		if !strings.HasPrefix(l.src[l.pos:], op) {
			continue
		}
		switch op {
		case "(":
			open = append(open, ')')
		case "[":
			open = append(open, ']')
		case "{":
			open = append(open, '}')
		case ")", "]", "}":
			if len(open) == 0 {
				fault(l.pos, "unexpected '%s'", op)
			}
			if want := open[len(open)-1]; want != op[0] {
				fault(l.pos, "unexpected '%s', expected '%c'", op, want)
			}
			open = open[:len(open)-1]
		}
		l.emit(token{kind: tokOperator, pos: l.pos, text: op})
		l.pos += len(op)
		return open
	}
	fault(l.pos, "unexpected character %q", l.src[l.pos])
	return nil
}

// digits takes digits with single underscores between them.
func (l *lexer) digits(ok func(byte) bool) {
	for l.pos < len(l.src) {
		if c := l.src[l.pos]; !ok(c) && (c != '_' || l.pos+1 >= len(l.src) || !ok(l.src[l.pos+1])) {
			return
		}
		l.pos++
	}
}

func decimal(c byte) bool { return c >= '0' && c <= '9' }

func (l *lexer) at(i int) byte {
	if l.pos+i < len(l.src) {
		return l.src[l.pos+i]
	}
	return 0
}

func (l *lexer) number() {
	start := l.pos
	afterDot := start > 0 && l.src[start-1] == '.'
	if prefix := l.at(1) | 0x20; l.at(0) == '0' && (prefix == 'x' || prefix == 'o' || prefix == 'b') {
		l.pos += 2
		l.digits(func(c byte) bool {
			c |= 0x20
			switch prefix {
			case 'x':
				return decimal(c) || c >= 'a' && c <= 'f'
			case 'o':
				return c >= '0' && c <= '7'
			}
			return c == '0' || c == '1'
		})
	} else {
		l.digits(decimal)
		float := false
		if !afterDot {
			if l.at(0) == '.' && decimal(l.at(1)) {
				float = true
				l.pos++
				l.digits(decimal)
			}
			if l.at(0)|0x20 == 'e' && (decimal(l.at(1)) || (l.at(1) == '+' || l.at(1) == '-') && decimal(l.at(2))) {
				float = true
				l.pos += 2
				l.digits(decimal)
			}
		}
		if float {
			f, _ := strconv.ParseFloat(strings.ReplaceAll(l.src[start:l.pos], "_", ""), 64) // too large is infinite, as in Python
			l.emit(token{kind: tokNumber, pos: start, value: f})
			return
		}
	}
	text := strings.ReplaceAll(l.src[start:l.pos], "_", "")
	if len(text) > 1000 {
		fault(start, "this number has too many digits")
	}
	n, ok := new(big.Int).SetString(text, 0)
	if !ok || len(text) > 1 && text[0] == '0' && decimal(text[1]) && n.Sign() != 0 {
		fault(start, "'%s' is not a number", text)
	}
	l.emit(token{kind: tokNumber, pos: start, value: whole(n)})
}

// quoted takes a string and resolves its escapes as Python's unicode-escape does.
func (l *lexer) quoted(quote byte) {
	start := l.pos
	end := start + 1
	for ; ; end++ {
		if end >= len(l.src) {
			fault(start, "this string has no end")
		}
		if l.src[end] == quote {
			break
		}
		if l.src[end] == '\\' {
			end++
		}
	}
	body := l.src[start+1 : end]
	l.pos = end + 1
	if strings.IndexByte(body, '\\') >= 0 {
		body = unescape(body, start+1)
	}
	l.emit(token{kind: tokString, pos: start, text: body})
}

func unescape(s string, pos int) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			b.WriteByte(s[i])
			continue
		}
		i++ // the lexer saw that something follows
		if at := strings.IndexByte(`abfnrtv\'"`, s[i]); at >= 0 {
			b.WriteByte("\a\b\f\n\r\t\v\\'\""[at])
			continue
		}
		width := 0
		switch s[i] {
		case '\n':
			continue
		case 'x':
			width = 2
		case 'u':
			width = 4
		case 'U':
			width = 8
		case '0', '1', '2', '3', '4', '5', '6', '7':
			n, end := 0, i
			for ; end < len(s) && end < i+3 && s[end] >= '0' && s[end] <= '7'; end++ {
				n = n*8 + int(s[end]-'0')
			}
			b.WriteRune(rune(n))
			i = end - 1
			continue
		default:
			b.WriteByte('\\')
			b.WriteByte(s[i])
			continue
		}
		if i+1+width > len(s) {
			fault(pos+i, `this escape needs %d hexadecimal digits`, width)
		}
		n, err := strconv.ParseUint(s[i+1:i+1+width], 16, 32)
		if err != nil || n > unicode.MaxRune {
			fault(pos+i, `this escape needs %d hexadecimal digits`, width)
		}
		b.WriteRune(rune(n)) // half of a surrogate pair, which a Go string cannot hold, becomes U+FFFD
		i += width
	}
	return b.String()
}
