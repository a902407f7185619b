package grammar

// nfa is an automaton over bytes and calls, with empty moves (Thompson): what one rule becomes first.
type nfa struct {
	states []nstate
	most   int // states; beyond it full is set and building stops
	full   bool
}

type nstate struct {
	empty []int32
	edges []edge
	calls []callEdge
}

// edge reads a byte.
type edge struct {
	lo, hi byte
	to     int32
}

// callEdge reads a non-empty text of a rule.
type callEdge struct{ rule, to int32 }

func (n *nfa) add() int32 {
	if len(n.states) >= n.most {
		n.full = true
		return 0
	}
	n.states = append(n.states, nstate{})
	return int32(len(n.states) - 1)
}

func (n *nfa) skip(from, to int32) {
	if from != to {
		n.states[from].empty = append(n.states[from].empty, to)
	}
}

func (n *nfa) edge(from int32, b byteSpan, to int32) {
	n.states[from].edges = append(n.states[from].edges, edge{b.lo, b.hi, to})
}

// builder lowers the exprs of one rule. It needs to know of the other rules which are put in place of their calls, which can
// be empty, and which are nothing but empty.
type builder struct {
	nfa
	rules []ruleInfo
}

// ruleInfo is what is known of a rule before its automaton is built.
type ruleInfo struct {
	body     *expr
	inline   bool
	nullable bool
	bare     bool // only the empty text, or none: never called
}

// build adds the paths from one state to another that spell e. All states between are its own, and no path enters or leaves
// it otherwise, so parts can stand between any two states.
func (b *builder) build(e *expr, from, to int32) {
	if b.full {
		return
	}
	switch e.op {
	case opEmpty:
		b.skip(from, to)
	case opText:
		for i := 0; i < len(e.text); i++ {
			next := to
			if i+1 < len(e.text) {
				next = b.add()
			}
			b.edge(from, byteSpan{e.text[i], e.text[i]}, next)
			from = next
		}
	case opClass:
		b.class(e.set, from, to)
	case opSeq:
		for i, k := range e.kids {
			next := to
			if i+1 < len(e.kids) {
				next = b.add()
			}
			b.build(k, from, next)
			from = next
		}
	case opAlt:
		for _, k := range e.kids {
			b.build(k, from, to)
		}
	case opRepeat:
		b.repeat(e, from, to)
	case opCall:
		r := &b.rules[e.rule]
		if r.inline {
			b.build(r.body, from, to)
			return
		}
		if r.nullable {
			b.skip(from, to)
		}
		if !r.bare {
			b.states[from].calls = append(b.states[from].calls, callEdge{int32(e.rule), to})
		}
	case opGraph:
		b.graph(e.graph, from, to)
	}
}

func (b *builder) repeat(e *expr, from, to int32) {
	kid := e.kids[0]
	for range max(0, e.min-1) {
		if b.full {
			return
		}
		next := b.add()
		b.build(kid, from, next)
		from = next
	}
	if e.max < 0 {
		// A loop: once more at least if min is not 0.
		in, out := b.add(), b.add()
		b.skip(from, in)
		b.build(kid, in, out)
		b.skip(out, in)
		b.skip(out, to)
		if e.min == 0 {
			b.skip(from, to)
		}
		return
	}
	if e.min > 0 {
		next := b.add()
		b.build(kid, from, next)
		from = next
	}
	for range e.max - e.min {
		if b.full {
			return
		}
		b.skip(from, to)
		next := b.add()
		b.build(kid, from, next)
		from = next
	}
	b.skip(from, to)
}

// class adds the UTF-8 of a set; sequences with equal ends share them.
func (b *builder) class(s set, from, to int32) {
	type tail struct {
		b  byteSpan
		to int32
	}
	tails := map[tail]int32{}
	sequences(s, func(bytes []byteSpan) {
		if b.full {
			return
		}
		next := to
		for i := len(bytes) - 1; i > 0; i-- {
			key := tail{bytes[i], next}
			at, ok := tails[key]
			if !ok {
				at = b.add()
				b.edge(at, bytes[i], next)
				tails[key] = at
			}
			next = at
		}
		b.edge(from, bytes[0], next)
	})
}

func (b *builder) graph(g *graph, from, to int32) {
	at := make([]int32, len(g.edges))
	for i := range at {
		at[i] = b.add()
	}
	b.skip(from, at[0])
	for i, moves := range g.edges {
		if b.full {
			return
		}
		for _, m := range moves {
			b.build(jsonChar(m.set), at[i], at[m.to])
		}
		if g.final[i] {
			b.skip(at[i], to)
		}
	}
}
