package grammar

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// gbnf reads a grammar in llama.cpp's GBNF (grammars/README.md of that project), without its token terms, and with three words
// more: the terms %json_schema {…} and %regex "…", and the line %lazy "trigger" … (see Lazy).
func (m *maker) gbnf(source string, g *Grammar) error {
	p := &gbnfParser{maker: m, src: source, grammar: g, known: map[string]int{}, defined: map[int]bool{}, used: map[int]int{}}
	if err := p.file(); err != nil {
		return err
	}
	if !p.defined[0] {
		return faultf("", "there is no rule named root, which says what the whole answer is")
	}
	for _, id := range p.order {
		if at, ok := p.used[id]; ok && !p.defined[id] {
			return p.fault(at, "the rule %s is not defined", m.rules[id].name)
		}
	}
	g.literals = append(g.literals, g.triggers...)
	return nil
}

type gbnfParser struct {
	*maker
	src     string
	at      int
	grammar *Grammar
	known   map[string]int
	order   []int
	defined map[int]bool
	used    map[int]int // the first use of a rule
	depth   int
}

// place is line:column of a byte of the source.
func place(src string, at int) string {
	at = min(at, len(src))
	line := strings.Count(src[:at], "\n") + 1
	column := utf8.RuneCountInString(src[strings.LastIndexByte(src[:at], '\n')+1:at]) + 1
	return fmt.Sprintf("line %d, column %d", line, column)
}

func (p *gbnfParser) fault(at int, format string, args ...any) *fault {
	return faultf(place(p.src, at), format, args...)
}

// peek is the next byte, 0 at the end.
func (p *gbnfParser) peek() byte {
	if p.at < len(p.src) {
		return p.src[p.at]
	}
	return 0
}

// space skips blanks and comments, and lines' ends where they may be.
func (p *gbnfParser) space(lines bool) {
	for p.at < len(p.src) {
		switch c := p.src[p.at]; {
		case c == ' ' || c == '\t' || lines && (c == '\n' || c == '\r'):
			p.at++
		case c == '#':
			for p.at < len(p.src) && p.src[p.at] != '\n' && p.src[p.at] != '\r' {
				p.at++
			}
		default:
			return
		}
	}
}

func (p *gbnfParser) name() string {
	from := p.at
	for p.at < len(p.src) {
		c := p.src[p.at]
		if c != '-' && c != '_' && (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z') {
			break
		}
		p.at++
	}
	return p.src[from:p.at]
}

func (p *gbnfParser) id(name string) int {
	if name == "root" {
		p.rules[0].name = name
		return 0
	}
	id, ok := p.known[name]
	if !ok {
		id = p.rule(name, "", false)
		p.known[name] = id
		p.order = append(p.order, id)
	}
	return id
}

func (p *gbnfParser) file() error {
	for p.space(true); p.at < len(p.src); p.space(true) {
		from := p.at
		if strings.HasPrefix(p.src[p.at:], "%lazy") {
			if err := p.lazy(); err != nil {
				return err
			}
			continue
		}
		name := p.name()
		if name == "" {
			return p.fault(p.at, "a rule's name is expected here")
		}
		p.space(false)
		if !strings.HasPrefix(p.src[p.at:], "::=") {
			return p.fault(p.at, "::= is expected after the name %s", name)
		}
		p.at += 3
		p.space(true)
		id := p.id(name)
		if p.defined[id] {
			return p.fault(from, "the rule %s is defined a second time", name)
		}
		p.defined[id] = true
		p.rules[id].place = place(p.src, from)
		body, err := p.alternatives(false)
		if err != nil {
			return err
		}
		p.rules[id].body = body
		if c := p.peek(); p.at < len(p.src) && c != '\n' && c != '\r' {
			return p.fault(p.at, "a new line is expected after the rule %s, not %q", name, c)
		}
		if len(p.rules) > maxRules {
			return p.fault(from, "there are more than %d rules", maxRules)
		}
	}
	return nil
}

func (p *gbnfParser) lazy() error {
	from := p.at
	p.at += len("%lazy")
	for p.space(false); p.peek() == '"'; p.space(false) {
		at := p.at
		s, err := p.literal()
		if err != nil {
			return err
		}
		if s == "" {
			return p.fault(at, "a trigger must not be empty")
		}
		p.grammar.triggers = append(p.grammar.triggers, s)
	}
	if len(p.grammar.triggers) == 0 {
		return p.fault(from, `%%lazy needs at least one trigger, as in %%lazy "<tool_call>"`)
	}
	return nil
}

func (p *gbnfParser) alternatives(nested bool) (*expr, error) {
	if p.depth++; p.depth > maxNesting {
		return nil, p.fault(p.at, "groups are nested deeper than %d", maxNesting)
	}
	defer func() { p.depth-- }()
	var kids []*expr
	for {
		k, err := p.sequence(nested)
		if err != nil {
			return nil, err
		}
		kids = append(kids, k)
		if p.peek() != '|' {
			return alt(kids...), nil
		}
		p.at++
		p.space(true)
	}
}

func (p *gbnfParser) sequence(nested bool) (*expr, error) {
	var kids []*expr
	for {
		k, err := p.term()
		if err != nil {
			return nil, err
		}
		if k == nil {
			return seq(kids...), nil
		}
		p.space(nested)
		if k, err = p.quantifier(k); err != nil {
			return nil, err
		}
		p.space(nested)
		for c := p.peek(); c == '*' || c == '+' || c == '?' || c == '{'; c = p.peek() {
			if k, err = p.quantifier(k); err != nil {
				return nil, err
			}
			p.space(nested)
		}
		kids = append(kids, k)
	}
}

// term is nil at the end of a sequence.
func (p *gbnfParser) term() (*expr, error) {
	from := p.at
	switch c := p.peek(); {
	case c == '"':
		s, err := p.literal()
		if s != "" {
			p.grammar.literals = append(p.grammar.literals, s)
		}
		return text(s), err
	case c == '[':
		return p.class()
	case c == '(':
		p.at++
		p.space(true)
		e, err := p.alternatives(true)
		if err != nil {
			return nil, err
		}
		if p.peek() != ')' {
			return nil, p.fault(p.at, "the group that begins at %s is not closed by )", place(p.src, from))
		}
		p.at++
		return e, nil
	case c == '.':
		p.at++
		return class(anyRune()), nil
	case c == '%':
		return p.embedded()
	case c == '<' || c == '!':
		return nil, p.fault(p.at, "terms of tokens (<[7]>, <name>, !<name>) are not supported; write the text that they stand for as a literal")
	case c == '*' || c == '+' || c == '?' || c == '{':
		return nil, p.fault(p.at, "%q has nothing before it to repeat", c)
	}
	name := p.name()
	if name == "" {
		return nil, nil
	}
	id := p.id(name)
	if _, ok := p.used[id]; !ok {
		p.used[id] = from
	}
	return call(id), nil
}

func (p *gbnfParser) quantifier(e *expr) (*expr, error) {
	from := p.at
	least, most := 1, 1
	switch p.peek() {
	case '*':
		least, most = 0, -1
	case '+':
		most = -1
	case '?':
		least = 0
	case '{':
		p.at++
		p.space(false)
		var err error
		if least, err = p.number(); err != nil {
			return nil, err
		}
		most = least
		p.space(false)
		if p.peek() == ',' {
			p.at++
			p.space(false)
			most = -1
			if p.peek() != '}' {
				if most, err = p.number(); err != nil {
					return nil, err
				}
				p.space(false)
			}
		}
		if p.peek() != '}' {
			return nil, p.fault(p.at, "} is expected after the number of repetitions")
		}
		if most >= 0 && most < least {
			return nil, p.fault(from, "the repetition {%d,%d} has its larger number first", least, most)
		}
	default:
		return e, nil
	}
	p.at++
	return repeat(e, least, most), nil
}

// maxRepeat is the largest number of repetitions that can be written; how many fit is a matter of maxStates.
const maxRepeat = maxStates

func (p *gbnfParser) number() (int, error) {
	from, n := p.at, 0
	for c := p.peek(); c >= '0' && c <= '9'; c = p.peek() {
		if n = n*10 + int(c-'0'); n > maxRepeat {
			return 0, p.fault(from, "more than %d repetitions are not supported", maxRepeat)
		}
		p.at++
	}
	if p.at == from {
		return 0, p.fault(from, "a number of repetitions is expected here")
	}
	return n, nil
}

// literal reads a text in quotes.
func (p *gbnfParser) literal() (string, error) {
	from := p.at
	var out []byte
	for p.at++; p.peek() != '"'; {
		if p.at >= len(p.src) {
			return "", p.fault(from, "the text that begins here is not closed by \"")
		}
		r, err := p.char()
		if err != nil {
			return "", err
		}
		out = utf8.AppendRune(out, r)
	}
	p.at++
	return string(out), nil
}

// class reads a set of characters in brackets.
func (p *gbnfParser) class() (*expr, error) {
	from := p.at
	p.at++
	negated := p.peek() == '^'
	if negated {
		p.at++
	}
	var spans []span
	for p.peek() != ']' {
		if p.at >= len(p.src) {
			return nil, p.fault(from, "the class that begins here is not closed by ]")
		}
		at := p.at
		lo, err := p.char()
		if err != nil {
			return nil, err
		}
		hi := lo
		if strings.HasPrefix(p.src[p.at:], "-") && !strings.HasPrefix(p.src[p.at:], "-]") {
			p.at++
			if p.at >= len(p.src) {
				return nil, p.fault(from, "the class that begins here is not closed by ]")
			}
			if hi, err = p.char(); err != nil {
				return nil, err
			}
		}
		if hi < lo {
			return nil, p.fault(at, "the range %q-%q runs backwards", lo, hi)
		}
		spans = append(spans, span{lo, hi})
	}
	p.at++
	s := makeSet(spans...)
	if negated {
		s = s.not()
	}
	return class(s), nil
}

// char reads a character or an escape.
func (p *gbnfParser) char() (rune, error) {
	if p.peek() != '\\' {
		r, n := utf8.DecodeRuneInString(p.src[p.at:])
		p.at += n
		return r, nil
	}
	from := p.at
	p.at++
	c := p.peek()
	p.at++
	digits := 0
	switch c {
	case 't':
		return '\t', nil
	case 'r':
		return '\r', nil
	case 'n':
		return '\n', nil
	case '\\', '"', '[', ']', '-', '^':
		return rune(c), nil
	case 'x':
		digits = 2
	case 'u':
		digits = 4
	case 'U':
		digits = 8
	default:
		return 0, p.fault(from, `this escape is not known; there are \t \r \n \\ \" \[ \] \- \^ \xXX \uXXXX \UXXXXXXXX`)
	}
	var r uint32
	for range digits {
		d := unhex(p.peek())
		if d < 0 {
			return 0, p.fault(from, `\%c needs %d hexadecimal digits`, c, digits)
		}
		r = r<<4 | uint32(d)
		p.at++
	}
	if !utf8.ValidRune(rune(r)) || r > lastRune {
		return 0, p.fault(from, "U+%04X is no character", r)
	}
	return rune(r), nil
}

func unhex(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c|0x20 >= 'a' && c|0x20 <= 'f':
		return int(c|0x20-'a') + 10
	}
	return -1
}

// embedded reads a term in another language.
func (p *gbnfParser) embedded() (*expr, error) {
	from := p.at
	p.at++
	switch word := p.name(); word {
	case "json_schema":
		p.space(true)
		d := json.NewDecoder(bytes.NewReader([]byte(p.src[p.at:])))
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			return nil, p.fault(p.at, "a JSON Schema is expected after %%json_schema: %s", strings.TrimPrefix(err.Error(), "json: "))
		}
		at := place(p.src, p.at)
		p.at += int(d.InputOffset())
		return p.schema(slices.Clone(raw), at)
	case "regex":
		p.space(true)
		if p.peek() != '"' {
			return nil, p.fault(p.at, `a regular expression in quotes is expected after %%regex`)
		}
		at := p.at
		s, err := p.literal()
		if err != nil {
			return nil, err
		}
		e, err := parseRegex(s)
		if f, ok := err.(*fault); ok {
			return nil, p.fault(at, "%s", f)
		}
		return e, err
	default:
		return nil, p.fault(from, "%%%s is not known; there are %%json_schema and %%regex, and %%lazy on a line of its own", word)
	}
}
