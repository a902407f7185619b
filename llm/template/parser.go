package template

import "fmt"

const (
	maxSource  = 1 << 20 // bytes of a template
	maxNesting = 200     // tags and parentheses inside each other
	maxChain   = 2000    // operators in a row
)

// parser makes nodes of tokens.
type parser struct {
	tokens []token
	at     int
	ids    map[string]int
	names  []string
	depth  int
	loops  int // loops around the current place, inside the current macro
	soft   int // conditions around it: what is unknown there is an error only if it is reached
}

func (p *parser) peek() *token { return &p.tokens[p.at] }

func (p *parser) look() *token { return &p.tokens[min(p.at+1, len(p.tokens)-1)] }

func (p *parser) take() *token {
	t := p.peek()
	if t.kind != tokEnd {
		p.at++
	}
	return t
}

func (p *parser) id(name string) int {
	id, ok := p.ids[name]
	if !ok {
		id = len(p.names)
		p.ids[name] = id
		p.names = append(p.names, name)
	}
	return id
}

func (t *token) is(k kind, text string) bool { return t.kind == k && t.text == text }

func (t *token) describe() string {
	switch t.kind {
	case tokEnd:
		return "end of template"
	case tokBlockEnd:
		return "'%}'"
	case tokVariableEnd:
		return "'}}'"
	case tokNumber:
		return "a number"
	case tokString:
		return "a string"
	case tokData, tokBlockBegin, tokVariableBegin:
		return "text"
	}
	return fmt.Sprintf("'%s'", t.text)
}

func (p *parser) skip(k kind, text string) bool {
	if p.peek().is(k, text) {
		p.at++
		return true
	}
	return false
}

func (p *parser) op(text string) bool      { return p.skip(tokOperator, text) }
func (p *parser) keyword(text string) bool { return p.skip(tokName, text) }

func (p *parser) expect(k kind, text string) *token {
	t := p.peek()
	if t.kind != k || text != "" && t.text != text {
		want := text
		switch {
		case want != "":
			want = "'" + want + "'"
		case k == tokName:
			want = "a name"
		case k == tokBlockEnd:
			want = "'%}'"
		case k == tokVariableEnd:
			want = "'}}'"
		}
		fault(t.pos, "expected %s, got %s", want, t.describe())
	}
	return p.take()
}

// nest counts what is open around the current place.
func (p *parser) nest(pos int) {
	if p.depth++; p.depth > maxNesting {
		fault(pos, "nested more than %d deep", maxNesting)
	}
}

// body parses statements up to a tag of one of these names, whose name is the next token but one then.
func (p *parser) body(ends ...string) []stmt {
	var list []stmt
	opened := p.peek().pos
	for {
		t := p.take()
		switch t.kind {
		case tokEnd:
			if len(ends) > 0 {
				fault(opened, "the template ends before the {%% %s %%} of this tag", ends[len(ends)-1])
			}
			return list
		case tokData:
			list = append(list, &textStmt{base(t.pos), t.text})
		case tokVariableBegin:
			list = append(list, &outputStmt{base(t.pos), p.tuple(tupleOptions{cond: true})})
			p.expect(tokVariableEnd, "")
		default:
			name := p.expect(tokName, "")
			for _, end := range ends {
				if name.text == end {
					p.at--
					return list
				}
			}
			p.nest(name.pos)
			if s := p.statement(name); s != nil {
				list = append(list, s)
			}
			p.depth--
		}
	}
}

// inner parses a tag's end, its body, and the name of the tag that ends it.
func (p *parser) inner(ends ...string) []stmt {
	p.op(":")
	p.expect(tokBlockEnd, "")
	return p.body(ends...)
}

// closing takes a body's end.
func (p *parser) closed(end string) []stmt {
	list := p.inner(end)
	p.take()
	return list
}

func (p *parser) statement(name *token) stmt {
	pos := base(name.pos)
	var s stmt
	switch name.text {
	case "if":
		s = p.parseIf(pos)
	case "for":
		s = p.parseFor(pos)
	case "set":
		s = p.parseSet(pos)
	case "macro":
		s = p.parseMacro(pos)
	case "call":
		s = p.parseCall(pos)
	case "filter":
		f := p.filters(nil, true)
		s = &filterStmt{pos, f, p.closed("endfilter")}
	case "with":
		s = p.parseWith(pos)
	case "generation":
		s = &scopeStmt{pos, p.closed("endgeneration")}
	case "print":
		s = p.parsePrint(pos)
	case "break", "continue":
		if p.loops == 0 {
			fault(name.pos, "'%s' outside of a loop", name.text)
		}
		how := breakLoop
		if name.text == "continue" {
			how = continueLoop
		}
		s = &jumpStmt{pos, how}
	case "include", "import", "from", "extends", "block", "autoescape", "do", "trans":
		fault(name.pos, "the tag '%s' is not known to chat templates", name.text)
	default:
		fault(name.pos, "unknown tag '%s'", name.text)
	}
	p.expect(tokBlockEnd, "")
	return s
}

func (p *parser) parseIf(pos base) stmt {
	s := &ifStmt{base: pos}
	p.soft++
	defer func() { p.soft-- }()
	for {
		s.conds = append(s.conds, p.tuple(tupleOptions{}))
		s.bodies = append(s.bodies, p.inner("elif", "else", "endif"))
		switch p.take().text {
		case "elif":
			continue
		case "else":
			s.bodies = append(s.bodies, p.closed("endif"))
		}
		return s
	}
}

func (p *parser) parseFor(pos base) stmt {
	s := &forStmt{base: pos}
	s.into = p.target(false, "in")
	p.expect(tokName, "in")
	s.over = p.tuple(tupleOptions{end: "recursive"})
	if p.keyword("if") {
		s.filter = p.expression()
	}
	s.recursive = p.keyword("recursive")
	p.loops++
	s.body = p.inner("else", "endfor")
	p.loops--
	if p.take().text == "else" {
		s.otherwise = p.closed("endfor")
	}
	return s
}

func (p *parser) parseSet(pos base) stmt {
	into := p.target(true, "")
	if p.op("=") {
		return &setStmt{pos, into, p.tuple(tupleOptions{cond: true})}
	}
	f := p.filters(nil, false)
	return &captureStmt{pos, into, f, p.closed("endset")}
}

func (p *parser) parseWith(pos base) stmt {
	s := &withStmt{base: pos}
	for p.peek().kind != tokBlockEnd {
		if len(s.into) > 0 {
			p.expect(tokOperator, ",")
		}
		s.into = append(s.into, p.target(false, ""))
		p.expect(tokOperator, "=")
		s.values = append(s.values, p.expression())
	}
	s.body = p.closed("endwith")
	return s
}

func (p *parser) parsePrint(pos base) stmt {
	parts := &concatExpr{base: pos}
	for p.peek().kind != tokBlockEnd {
		if len(parts.parts) > 0 {
			p.expect(tokOperator, ",")
		}
		parts.parts = append(parts.parts, p.expression())
	}
	return &outputStmt{pos, parts}
}

func (p *parser) parseMacro(pos base) stmt {
	name := p.expect(tokName, "")
	s := &macroStmt{pos, p.id(name.text), &macroDecl{name: name.text}}
	p.signature(s.decl)
	p.macroBody(s.decl, "endmacro")
	return s
}

func (p *parser) parseCall(pos base) stmt {
	s := &callStmt{base: pos, decl: &macroDecl{}}
	if p.peek().is(tokOperator, "(") {
		p.signature(s.decl)
	}
	call, ok := p.expression().(*callExpr)
	if !ok {
		fault(int(pos), "a call block needs a call")
	}
	s.call = call
	p.macroBody(s.decl, "endcall")
	return s
}

func (p *parser) signature(d *macroDecl) {
	p.expect(tokOperator, "(")
	for !p.op(")") {
		if len(d.params) > 0 {
			p.expect(tokOperator, ",")
		}
		name := p.expect(tokName, "")
		d.params = append(d.params, name.text)
		d.ids = append(d.ids, p.id(name.text))
		if p.op("=") {
			d.defaults = append(d.defaults, p.expression())
		} else if len(d.defaults) > 0 {
			fault(name.pos, "the parameter '%s' without a default follows one that has a default", name.text)
		}
	}
}

// macroBody parses a body and finds out which of the special names it reads.
func (p *parser) macroBody(d *macroDecl, end string) {
	loops := p.loops
	p.loops = 0
	from := p.at
	d.body = p.closed(end)
	p.loops = loops
	special := func(name string) int {
		for _, param := range d.params {
			if param == name {
				return -1
			}
		}
		for i := from; i < p.at; i++ {
			if p.tokens[i].is(tokName, name) {
				return p.id(name)
			}
		}
		return -1
	}
	d.caller, d.varargs, d.kwargs = special("caller"), special("varargs"), special("kwargs")
}

// target parses what is assigned to.
func (p *parser) target(namespace bool, end string) target {
	first := p.oneTarget(namespace)
	if !p.peek().is(tokOperator, ",") {
		return first
	}
	t := target{pos: first.pos, tuple: []target{first}}
	for p.op(",") {
		n := p.peek()
		if end != "" && n.is(tokName, end) || n.kind == tokBlockEnd || n.is(tokOperator, "=") || n.is(tokOperator, ")") {
			break
		}
		t.tuple = append(t.tuple, p.oneTarget(namespace))
	}
	return t
}

func (p *parser) oneTarget(namespace bool) target {
	t := p.take()
	p.nest(t.pos)
	defer func() { p.depth-- }()
	if t.is(tokOperator, "(") {
		in := p.target(namespace, "")
		p.expect(tokOperator, ")")
		return in
	}
	if t.kind != tokName || reserved(t.text) {
		fault(t.pos, "cannot assign to %s", t.describe())
	}
	made := target{pos: t.pos, id: p.id(t.text)}
	if namespace && p.op(".") {
		made.attr = p.expect(tokName, "").text
	}
	return made
}

func reserved(name string) bool {
	switch name {
	case "true", "false", "none", "True", "False", "None":
		return true
	}
	return false
}
