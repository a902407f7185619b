package grammar

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// parseRegex reads a regular expression that the whole answer must match.
func parseRegex(source string) (*expr, error) {
	r, err := readRegex(source)
	if err != nil {
		return nil, err
	}
	return r.whole()
}

// regex is a parsed expression: nodes as expr, with anchors kept apart.
type regex struct {
	source string
	root   *rnode
}

// rnode is a node of a regular expression. Of a leaf, expr is set; anchors have neither.
type rnode struct {
	op     op // opSeq, opAlt, opRepeat; opEmpty for an anchor; opClass for any leaf
	leaf   *expr
	kids   []*rnode
	least  int
	most   int
	anchor byte // '^' or '$'
	at     int
}

type regexParser struct {
	src    string
	at     int
	depth  int
	fold   bool // (?i)
	dotAll bool // (?s)
}

func readRegex(source string) (*regex, error) {
	p := &regexParser{src: source}
	root, err := p.alternatives()
	if err != nil {
		return nil, err
	}
	if p.at < len(p.src) {
		return nil, p.fault(p.at, ") closes nothing")
	}
	return &regex{source, root}, nil
}

func (p *regexParser) fault(at int, format string, args ...any) *fault {
	where := "character " + itoa(utf8.RuneCountInString(p.src[:min(at, len(p.src))])+1)
	return faultf(where, format, args...)
}

func (p *regexParser) peek() byte {
	if p.at < len(p.src) {
		return p.src[p.at]
	}
	return 0
}

func (p *regexParser) has(prefix string) bool { return strings.HasPrefix(p.src[p.at:], prefix) }

func (p *regexParser) alternatives() (*rnode, error) {
	if p.depth++; p.depth > maxNesting {
		return nil, p.fault(p.at, "groups are nested deeper than %d", maxNesting)
	}
	defer func() { p.depth-- }()
	n := &rnode{op: opAlt, at: p.at}
	for {
		s := &rnode{op: opSeq, at: p.at}
		for p.at < len(p.src) && p.peek() != '|' && p.peek() != ')' {
			k, err := p.term()
			if err != nil {
				return nil, err
			}
			if k != nil {
				s.kids = append(s.kids, k)
			}
		}
		n.kids = append(n.kids, s)
		if p.peek() != '|' || p.at >= len(p.src) {
			break
		}
		p.at++
	}
	if len(n.kids) == 1 {
		return n.kids[0], nil
	}
	return n, nil
}

// term is an atom and what repeats it; nil for flags.
func (p *regexParser) term() (*rnode, error) {
	from := p.at
	n, err := p.atom()
	if err != nil || n == nil {
		return n, err
	}
	for {
		at := p.at
		least, most, ok, err := p.quantifier()
		if err != nil {
			return nil, err
		}
		if !ok {
			return n, nil
		}
		if n.op == opEmpty {
			return nil, p.fault(from, "an anchor cannot be repeated")
		}
		if n.op == opRepeat && n.at == from && n.anchor == 1 {
			return nil, p.fault(at, "two quantifiers follow each other; put what is to be repeated into a group (?:…)")
		}
		if p.peek() == '?' {
			p.at++ // lazy: the same language
		} else if p.peek() == '+' {
			return nil, p.fault(p.at, "possessive quantifiers are not supported")
		}
		n = &rnode{op: opRepeat, kids: []*rnode{n}, least: least, most: most, at: from, anchor: 1}
	}
}

func (p *regexParser) quantifier() (least, most int, ok bool, err error) {
	switch p.peek() {
	case '*':
		p.at++
		return 0, -1, true, nil
	case '+':
		p.at++
		return 1, -1, true, nil
	case '?':
		p.at++
		return 0, 1, true, nil
	case '{':
		from := p.at
		p.at++
		least, any := p.number()
		most = least
		if any && p.peek() == ',' {
			p.at++
			most = -1
			if p.peek() != '}' {
				most, any = p.number()
			}
		}
		if !any || p.peek() != '}' {
			p.at = from // a brace as it stands
			return 0, 0, false, nil
		}
		p.at++
		if least > maxRepeat || most > maxRepeat {
			return 0, 0, false, p.fault(from, "more than %d repetitions are not supported", maxRepeat)
		}
		if most >= 0 && most < least {
			return 0, 0, false, p.fault(from, "the repetition {%d,%d} has its larger number first", least, most)
		}
		return least, most, true, nil
	}
	return 0, 0, false, nil
}

func (p *regexParser) number() (int, bool) {
	from, n := p.at, 0
	for c := p.peek(); c >= '0' && c <= '9'; c = p.peek() {
		n = min(n*10+int(c-'0'), maxRepeat+1)
		p.at++
	}
	return n, p.at > from
}

func (p *regexParser) leaf(s set, at int) *rnode {
	if p.fold {
		s = foldSet(s)
	}
	return &rnode{op: opClass, leaf: class(s), at: at}
}

func (p *regexParser) atom() (*rnode, error) {
	from := p.at
	r, n := utf8.DecodeRuneInString(p.src[p.at:])
	p.at += n
	switch r {
	case '^':
		return &rnode{op: opEmpty, anchor: '^', at: from}, nil
	case '$':
		return &rnode{op: opEmpty, anchor: '$', at: from}, nil
	case '.':
		if p.dotAll {
			return p.leaf(anyRune(), from), nil
		}
		return p.leaf(lineEnds.not(), from), nil
	case '[':
		s, err := p.bracket(from)
		if err != nil {
			return nil, err
		}
		return p.leaf(s, from), nil
	case '(':
		return p.group(from)
	case '\\':
		return p.escape(from)
	case '*', '+', '?':
		return nil, p.fault(from, "%q has nothing before it to repeat", r)
	}
	return p.leaf(one(r), from), nil
}

// lineEnds are what the dot leaves out: those of ECMAScript, among which are those of the other dialects.
var lineEnds = of("\n\r\u2028\u2029")

func (p *regexParser) group(from int) (*rnode, error) {
	fold, dotAll := p.fold, p.dotAll
	switch {
	case p.has("?:"):
		p.at += 2
	case p.has("?=") || p.has("?!") || p.has("?<=") || p.has("?<!"):
		return nil, p.fault(from, "look-around (?=…), (?!…), (?<=…), (?<!…) is not supported")
	case p.has("?P<") || p.has("?<"):
		end := strings.IndexByte(p.src[p.at:], '>')
		if end < 0 {
			return nil, p.fault(from, "the name of the group is not closed by >")
		}
		p.at += end + 1
	case p.has("?P="):
		return nil, p.fault(from, "back-references are not supported")
	case p.has("?>"):
		return nil, p.fault(from, "atomic groups are not supported")
	case p.has("?#"):
		end := strings.IndexByte(p.src[p.at:], ')')
		if end < 0 {
			return nil, p.fault(from, "the comment is not closed by )")
		}
		p.at += end + 1
		return nil, nil
	case p.has("?"):
		p.at++
		for on := true; ; p.at++ {
			switch p.peek() {
			case 'i':
				p.fold = on
			case 's':
				p.dotAll = on
			case '-':
				on = false
			case ':':
				p.at++
				goto inside
			case ')':
				p.at++
				return nil, nil // until the end of the group around it
			default:
				return nil, p.fault(p.at, "this flag is not supported; there are i and s")
			}
		}
	}
inside:
	n, err := p.alternatives()
	if err != nil {
		return nil, err
	}
	if p.peek() != ')' {
		return nil, p.fault(from, "the group that begins here is not closed by )")
	}
	p.at++
	p.fold, p.dotAll = fold, dotAll
	return n, nil
}

func (p *regexParser) escape(from int) (*rnode, error) {
	r, n := utf8.DecodeRuneInString(p.src[p.at:])
	if n == 0 {
		return nil, p.fault(from, "a backslash ends the expression; write \\\\ for a backslash")
	}
	switch {
	case r == 'b' || r == 'B':
		return nil, p.fault(from, "word boundaries \\b and \\B are not supported")
	case r >= '1' && r <= '9' || r == 'k':
		return nil, p.fault(from, "back-references are not supported")
	case r == 'A':
		p.at++
		return &rnode{op: opEmpty, anchor: '^', at: from}, nil
	case r == 'z' || r == 'Z':
		p.at++
		return &rnode{op: opEmpty, anchor: '$', at: from}, nil
	}
	s, err := p.escaped(from)
	if err != nil {
		return nil, err
	}
	return p.leaf(s, from), nil
}

// escaped reads what stands after a backslash, inside brackets or outside.
func (p *regexParser) escaped(from int) (set, error) {
	r, n := utf8.DecodeRuneInString(p.src[p.at:])
	p.at += n
	if s, ok := perl(r); ok {
		return s, nil
	}
	switch r {
	case 't':
		return one('\t'), nil
	case 'n':
		return one('\n'), nil
	case 'r':
		return one('\r'), nil
	case 'f':
		return one('\f'), nil
	case 'v':
		return one('\v'), nil
	case 'a':
		return one('\a'), nil
	case '0':
		return one(0), nil
	case 'x':
		if p.peek() == '{' {
			return p.braced(from)
		}
		return p.hex(from, 2)
	case 'u':
		if p.peek() == '{' {
			return p.braced(from)
		}
		return p.hex(from, 4)
	case 'U':
		return p.hex(from, 8)
	case 'c':
		if c := p.peek() | 0x20; c >= 'a' && c <= 'z' {
			p.at++
			return one(rune(c - 'a' + 1)), nil
		}
		return nil, p.fault(from, "\\c needs a letter")
	case 'p', 'P':
		return p.property(from, r == 'P')
	}
	if r < utf8.RuneSelf && (wordSet.has(r) && r != '_' || r < ' ') {
		return nil, p.fault(from, "the escape \\%c is not supported", r)
	}
	return one(r), nil
}

func (p *regexParser) hex(from, digits int) (set, error) {
	var r rune
	for range digits {
		d := unhex(p.peek())
		if d < 0 {
			return nil, p.fault(from, "%d hexadecimal digits are expected", digits)
		}
		r = r<<4 | rune(d)
		p.at++
	}
	return p.valid(from, r)
}

func (p *regexParser) valid(from int, r rune) (set, error) {
	// Surrogates stand for characters in pairs in some dialects; by themselves they are none.
	if !utf8.ValidRune(r) {
		return nil, p.fault(from, "U+%04X is no character", uint32(r))
	}
	return one(r), nil
}

func (p *regexParser) braced(from int) (set, error) {
	end := strings.IndexByte(p.src[p.at:], '}')
	var r rune
	if end < 2 || end > 9 {
		return nil, p.fault(from, "a hexadecimal number is expected in the braces")
	}
	for _, c := range []byte(p.src[p.at+1 : p.at+end]) {
		d := unhex(c)
		if d < 0 {
			return nil, p.fault(from, "a hexadecimal number is expected in the braces")
		}
		r = r<<4 | rune(d)
	}
	p.at += end + 1
	return p.valid(from, r)
}

// property reads \pL, \p{Lu}, \p{Greek}.
func (p *regexParser) property(from int, negated bool) (set, error) {
	var name string
	if p.peek() == '{' {
		end := strings.IndexByte(p.src[p.at:], '}')
		if end < 0 {
			return nil, p.fault(from, "the name of the property is not closed by }")
		}
		name = p.src[p.at+1 : p.at+end]
		p.at += end + 1
	} else {
		_, n := utf8.DecodeRuneInString(p.src[p.at:])
		name = p.src[p.at : p.at+n]
		p.at += n
	}
	if strings.HasPrefix(name, "^") {
		name, negated = name[1:], !negated
	}
	for _, prefix := range []string{"Script=", "sc=", "General_Category=", "gc="} {
		name = strings.TrimPrefix(name, prefix)
	}
	if long, ok := categories[name]; ok {
		name = long
	}
	t, ok := unicode.Categories[name]
	if !ok {
		t, ok = unicode.Scripts[name]
	}
	if !ok {
		return nil, p.fault(from, "the property %q is not known", name)
	}
	if negated {
		return tableSet(t).not(), nil
	}
	return tableSet(t), nil
}

// bracket reads a class after its [.
func (p *regexParser) bracket(from int) (set, error) {
	negated := p.peek() == '^'
	if negated {
		p.at++
	}
	var spans []span
	for first := true; ; first = false {
		if p.at >= len(p.src) {
			return nil, p.fault(from, "the class that begins here is not closed by ]")
		}
		if p.peek() == ']' && !first {
			p.at++
			break
		}
		at := p.at
		s, single, err := p.member()
		if err != nil {
			return nil, err
		}
		if single && p.has("-") && !p.has("-]") {
			p.at++
			hi, ok, err := p.member()
			if err != nil {
				return nil, err
			}
			if !ok || hi[0].lo < s[0].lo {
				return nil, p.fault(at, "this range runs backwards, or to a class")
			}
			s = set{{s[0].lo, hi[0].lo}}
		}
		spans = append(spans, s...)
	}
	s := makeSet(spans...)
	if p.fold {
		s = foldSet(s)
	}
	if negated {
		return s.not(), nil
	}
	return s, nil
}

// member is one entry of a class; single if it may begin a range.
func (p *regexParser) member() (s set, single bool, err error) {
	from := p.at
	if p.has("[:") {
		if end := strings.Index(p.src[p.at:], ":]"); end > 1 {
			if s, ok := posix[p.src[p.at+2:p.at+end]]; ok {
				p.at += end + 2
				return s, false, nil
			}
		}
	}
	r, n := utf8.DecodeRuneInString(p.src[p.at:])
	if n == 0 {
		return nil, false, p.fault(from, "the class is not closed by ]")
	}
	p.at += n
	if r != '\\' {
		return one(r), true, nil
	}
	if p.at >= len(p.src) {
		return nil, false, p.fault(from, "a backslash ends the expression; write \\\\ for a backslash")
	}
	if p.peek() == 'b' {
		p.at++
		return one('\b'), true, nil
	}
	s, err = p.escaped(from)
	return s, err == nil && len(s) == 1 && s[0].lo == s[0].hi, err
}
