package template

// tupleOptions say where an expression without parentheses may end.
type tupleOptions struct {
	cond     bool   // x if y else z may stand in it
	explicit bool   // in parentheses
	end      string // a name that ends it
}

// tuple parses an expression, or several with commas between, which make a tuple.
func (p *parser) tuple(o tupleOptions) expr {
	pos := base(p.peek().pos)
	var items []expr
	comma := false
	for {
		t := p.peek()
		if t.kind == tokVariableEnd || t.kind == tokBlockEnd || t.is(tokOperator, ")") || o.end != "" && t.is(tokName, o.end) {
			break
		}
		if o.cond || o.explicit {
			items = append(items, p.expression())
		} else {
			items = append(items, p.or())
		}
		if !p.op(",") {
			break
		}
		comma = true
	}
	if !comma {
		if len(items) == 1 {
			return items[0]
		}
		if !o.explicit {
			fault(int(pos), "expected an expression, got %s", p.peek().describe())
		}
	}
	return &listExpr{pos, items, true}
}

func (p *parser) expression() expr {
	p.nest(p.peek().pos)
	defer func() { p.depth-- }()
	e := p.or()
	for n := 0; p.peek().is(tokName, "if"); n++ {
		pos := base(p.take().pos)
		p.chain(n, pos)
		p.soft++
		c := &condExpr{base: pos, then: e, cond: p.or()}
		if p.keyword("else") {
			c.other = p.expression()
		}
		p.soft--
		e = c
	}
	return e
}

// chain bounds operators in a row.
func (p *parser) chain(n int, pos base) {
	if n >= maxChain {
		fault(int(pos), "more than %d operators in a row", maxChain)
	}
}

func (p *parser) or() expr {
	e := p.and()
	for n := 0; p.peek().is(tokName, "or"); n++ {
		pos := base(p.take().pos)
		p.chain(n, pos)
		e = &logicExpr{pos, true, e, p.and()}
	}
	return e
}

func (p *parser) and() expr {
	e := p.not()
	for n := 0; p.peek().is(tokName, "and"); n++ {
		pos := base(p.take().pos)
		p.chain(n, pos)
		e = &logicExpr{pos, false, e, p.not()}
	}
	return e
}

func (p *parser) not() expr {
	if t := p.peek(); t.is(tokName, "not") {
		p.nest(t.pos)
		defer func() { p.depth-- }()
		p.take()
		return &unaryExpr{base(t.pos), '!', p.not()}
	}
	return p.compare()
}

func (p *parser) compare() expr {
	e := p.math1()
	var c *compareExpr
	for {
		t := p.peek()
		op := ""
		switch {
		case t.kind == tokOperator && (t.text == "==" || t.text == "!=" || t.text == "<" || t.text == "<=" || t.text == ">" || t.text == ">="):
			op = t.text
		case t.is(tokName, "in"):
			op = "in"
		case t.is(tokName, "not") && p.look().is(tokName, "in"):
			p.take()
			op = "not in"
		}
		if op == "" {
			break
		}
		p.take()
		if c == nil {
			c = &compareExpr{base: base(t.pos), left: e}
			e = c
		}
		p.chain(len(c.ops), base(t.pos))
		c.ops = append(c.ops, op)
		c.args = append(c.args, p.math1())
	}
	return e
}

func (p *parser) math1() expr {
	e := p.concat()
	for n := 0; ; n++ {
		t := p.peek()
		if !t.is(tokOperator, "+") && !t.is(tokOperator, "-") {
			return e
		}
		p.take()
		p.chain(n, base(t.pos))
		e = &binaryExpr{base(t.pos), t.text, e, p.concat()}
	}
}

func (p *parser) concat() expr {
	e := p.math2()
	if !p.peek().is(tokOperator, "~") {
		return e
	}
	c := &concatExpr{base(p.peek().pos), []expr{e}}
	for p.op("~") {
		c.parts = append(c.parts, p.math2())
	}
	return c
}

func (p *parser) math2() expr {
	e := p.pow()
	for n := 0; ; n++ {
		t := p.peek()
		if t.kind != tokOperator || t.text != "*" && t.text != "/" && t.text != "//" && t.text != "%" {
			return e
		}
		p.take()
		p.chain(n, base(t.pos))
		e = &binaryExpr{base(t.pos), t.text, e, p.pow()}
	}
}

func (p *parser) pow() expr {
	e := p.unary(true)
	for n := 0; p.peek().is(tokOperator, "**"); n++ {
		pos := base(p.take().pos)
		p.chain(n, pos)
		e = &binaryExpr{pos, "**", e, p.unary(true)}
	}
	return e
}

func (p *parser) unary(filtered bool) expr {
	t := p.peek()
	p.nest(t.pos)
	defer func() { p.depth-- }()
	var e expr
	if t.is(tokOperator, "-") || t.is(tokOperator, "+") {
		p.take()
		e = &unaryExpr{base(t.pos), t.text[0], p.unary(false)}
	} else {
		e = p.primary()
	}
	e = p.postfix(e)
	if filtered {
		e = p.filtered(e)
	}
	return e
}

func (p *parser) primary() expr {
	t := p.take()
	pos := base(t.pos)
	switch t.kind {
	case tokName:
		switch t.text {
		case "true", "True":
			return &constExpr{pos, true}
		case "false", "False":
			return &constExpr{pos, false}
		case "none", "None":
			return &constExpr{pos, nil}
		}
		return &nameExpr{pos, p.id(t.text)}
	case tokNumber:
		return &constExpr{pos, t.value}
	case tokString:
		text := t.text
		for p.peek().kind == tokString {
			text += p.take().text
		}
		return &constExpr{pos, text}
	case tokOperator:
		switch t.text {
		case "(":
			e := p.tuple(tupleOptions{explicit: true})
			p.expect(tokOperator, ")")
			return e
		case "[":
			return &listExpr{pos, p.list("]"), false}
		case "{":
			return p.dict(pos)
		}
	}
	fault(t.pos, "unexpected %s", t.describe())
	return nil
}

// list parses expressions up to a closing bracket.
func (p *parser) list(end string) []expr {
	var items []expr
	for !p.op(end) {
		if len(items) > 0 {
			p.expect(tokOperator, ",")
			if p.op(end) {
				break
			}
		}
		items = append(items, p.expression())
	}
	return items
}

func (p *parser) dict(pos base) expr {
	d := &dictExpr{base: pos}
	for !p.op("}") {
		if len(d.keys) > 0 {
			p.expect(tokOperator, ",")
			if p.op("}") {
				break
			}
		}
		d.keys = append(d.keys, p.expression())
		p.expect(tokOperator, ":")
		d.values = append(d.values, p.expression())
	}
	return d
}

func (p *parser) postfix(e expr) expr {
	for n := 0; ; n++ {
		t := p.peek()
		p.chain(n, base(t.pos))
		switch {
		case t.is(tokOperator, "."):
			p.take()
			e = p.dot(e, base(t.pos))
		case t.is(tokOperator, "["):
			p.take()
			e = &itemExpr{base(t.pos), e, p.subscript(base(t.pos))}
		case t.is(tokOperator, "("):
			e = &callExpr{base(t.pos), e, p.callArgs()}
		default:
			return e
		}
	}
}

func (p *parser) dot(e expr, pos base) expr {
	t := p.take()
	switch _, whole := t.value.(int64); {
	case t.kind == tokName:
		return &attrExpr{pos, e, t.text}
	case t.kind == tokNumber && whole:
		return &itemExpr{pos, e, &constExpr{base(t.pos), t.value}}
	}
	fault(t.pos, "expected a name or a number after '.', got %s", t.describe())
	return nil
}

func (p *parser) subscript(pos base) expr {
	var items []expr
	comma := false
	for !p.op("]") {
		if len(items) > 0 {
			p.expect(tokOperator, ",")
			comma = true
		}
		items = append(items, p.subscribed())
	}
	if len(items) == 1 && !comma {
		return items[0]
	}
	return &listExpr{pos, items, true}
}

func (p *parser) subscribed() expr {
	pos := base(p.peek().pos)
	var parts [3]expr
	ends := func() bool {
		t := p.peek()
		return t.is(tokOperator, "]") || t.is(tokOperator, ",") || t.is(tokOperator, ":")
	}
	if !p.peek().is(tokOperator, ":") {
		parts[0] = p.expression()
		if !p.peek().is(tokOperator, ":") {
			return parts[0]
		}
	}
	for i := 1; i < 3 && p.op(":"); i++ {
		if !ends() {
			parts[i] = p.expression()
		}
	}
	return &sliceExpr{pos, parts[0], parts[1], parts[2]}
}

func (p *parser) callArgs() callArgs {
	open := p.expect(tokOperator, "(")
	var a callArgs
	for n := 0; !p.op(")"); n++ {
		if n > 0 {
			p.expect(tokOperator, ",")
			if p.op(")") {
				break
			}
		}
		ok := a.table == nil
		switch t := p.peek(); {
		case p.op("*"):
			ok = ok && a.list == nil
			a.list = p.expression()
		case p.op("**"):
			a.table = p.expression()
		case t.kind == tokName && p.look().is(tokOperator, "="):
			p.at += 2
			a.names = append(a.names, t.text)
			a.values = append(a.values, p.expression())
		default:
			ok = ok && a.list == nil && len(a.names) == 0
			a.pos = append(a.pos, p.expression())
		}
		if !ok {
			fault(open.pos, "the arguments of this call are out of order")
		}
	}
	return a
}

// filtered parses the filters and tests that follow.
func (p *parser) filtered(e expr) expr {
	for n := 0; ; n++ {
		t := p.peek()
		p.chain(n, base(t.pos))
		switch {
		case t.is(tokOperator, "|"):
			e = p.filters(e, false)
		case t.is(tokName, "is"):
			e = p.test(e)
		case t.is(tokOperator, "("):
			e = &callExpr{base(t.pos), e, p.callArgs()}
		default:
			return e
		}
	}
}

// dotted parses the name of a filter or test.
func (p *parser) dotted() *token {
	t := p.expect(tokName, "")
	if !p.peek().is(tokOperator, ".") {
		return t
	}
	made := *t
	for p.op(".") {
		made.text += "." + p.expect(tokName, "").text
	}
	return &made
}

// filters parses filters up to the last; with inline, the first one's bar is left out.
func (p *parser) filters(e expr, inline bool) expr {
	for n := 0; inline || p.peek().is(tokOperator, "|"); n++ {
		if !inline {
			p.take()
		}
		inline = false
		name := p.dotted()
		p.chain(n, base(name.pos))
		f := &filterExpr{base: base(name.pos), of: e, name: name.text, fn: findFilter(name.text)}
		if p.peek().is(tokOperator, "(") {
			f.args = p.callArgs()
		}
		if f.fn == nil && p.soft == 0 {
			fault(name.pos, "there is no filter '%s'", name.text)
		}
		e = f
	}
	return e
}

func (p *parser) test(e expr) expr {
	pos := base(p.take().pos)
	negated := p.keyword("not")
	name := p.dotted()
	t := &testExpr{base: pos, of: e, name: name.text, fn: findTest(name.text)}
	if t.fn == nil && p.soft == 0 {
		fault(name.pos, "there is no test '%s'", name.text)
	}
	switch n := p.peek(); {
	case n.is(tokOperator, "("):
		t.args = p.callArgs()
	case n.is(tokName, "is"):
		fault(n.pos, "tests cannot be chained with 'is'")
	case n.kind == tokName && n.text != "else" && n.text != "or" && n.text != "and", n.kind == tokString, n.kind == tokNumber,
		n.is(tokOperator, "["), n.is(tokOperator, "{"):
		p.nest(n.pos)
		t.args.pos = []expr{p.postfix(p.primary())}
		p.depth--
	}
	if negated {
		return &unaryExpr{pos, '!', t}
	}
	return t
}
