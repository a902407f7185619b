package grammar

import (
	"sort"
	"strings"
	"unicode/utf8"
)

// stringOf is the language of a conjunction's strings.
func (s *schemaMaker) stringOf(list []element) (*expr, error) {
	least, most := limits(list, "minLength", "maxLength")
	if most >= 0 && least > most {
		return never, nil
	}
	var parts []*expr
	for _, e := range list {
		if p := e.doc.get("pattern"); p != nil {
			x, err := searched(p.text)
			if f, ok := err.(*fault); ok {
				return nil, s.fault(child(e.at, "pattern"), "%s", f)
			}
			parts = append(parts, x)
		}
		if f := e.doc.get("format"); f != nil && formats[f.text] != "" {
			x, err := parseRegex(formats[f.text])
			if err != nil {
				return nil, err
			}
			parts = append(parts, x)
		}
	}
	if len(parts) == 0 && least == 0 && most < 0 {
		return s.str(), nil
	}
	if least > 0 || most >= 0 {
		parts = append(parts, repeat(class(anyRune()), least, most))
	}
	inner := spelled(parts[0])
	if len(parts) > 1 {
		g, ok := intersect(parts)
		if !ok {
			return nil, s.fault(list[0].at, "pattern, format and length together are too large; more than %d states", maxGraph)
		}
		if inner = never; g != nil {
			inner = &expr{op: opGraph, graph: g}
		}
	}
	return seq(text(`"`), inner, text(`"`)), nil
}

func searched(pattern string) (*expr, error) {
	r, err := readRegex(pattern)
	if err != nil {
		return nil, err
	}
	return r.search()
}

// spelled is a language of characters as it is spelled in JSON strings.
func spelled(e *expr) *expr {
	switch e.op {
	case opClass:
		return jsonChar(e.set)
	case opSeq, opAlt:
		kids := make([]*expr, len(e.kids))
		for i, k := range e.kids {
			kids[i] = spelled(k)
		}
		if e.op == opSeq {
			return seq(kids...)
		}
		return alt(kids...)
	case opRepeat:
		return repeat(spelled(e.kids[0]), e.min, e.max)
	}
	return e
}

// maxGraph bounds the states of an intersection.
const maxGraph = 30_000

// intersect is the graph of the texts that are in all of several languages; nil if there is none.
func intersect(parts []*expr) (*graph, bool) {
	g, ok := toGraph(parts[0])
	for _, p := range parts[1:] {
		if !ok {
			return nil, false
		}
		var h *graph
		if h, ok = toGraph(p); ok {
			g, ok = product(g, h)
		}
	}
	return g, ok
}

// toGraph turns an expr of classes into a graph without empty moves.
func toGraph(e *expr) (*graph, bool) {
	b := &grapher{}
	start, end := b.add(), b.add()
	b.build(e, start, end)
	if len(b.edges) > maxGraph {
		return nil, false
	}
	g := &graph{edges: make([][]move, len(b.edges)), final: make([]bool, len(b.edges))}
	mark := make([]int32, len(b.edges))
	total := 0
	for q := range b.edges {
		stack := []int32{int32(q)}
		mark[q] = int32(q) + 1
		for len(stack) > 0 {
			p := stack[len(stack)-1]
			stack = stack[:len(stack)-1]
			g.edges[q] = append(g.edges[q], b.edges[p]...)
			g.final[q] = g.final[q] || p == end
			for _, to := range b.empty[p] {
				if mark[to] != int32(q)+1 {
					mark[to] = int32(q) + 1
					stack = append(stack, to)
				}
			}
		}
		if total += len(g.edges[q]); total > 16*maxGraph {
			return nil, false
		}
	}
	return g, true
}

// grapher is builder for graphs.
type grapher struct {
	edges [][]move
	empty [][]int32
}

func (b *grapher) add() int32 {
	b.edges, b.empty = append(b.edges, nil), append(b.empty, nil)
	return int32(len(b.edges) - 1)
}

func (b *grapher) skip(from, to int32) { b.empty[from] = append(b.empty[from], to) }

func (b *grapher) build(e *expr, from, to int32) {
	if len(b.edges) > maxGraph {
		return
	}
	switch e.op {
	case opEmpty:
		b.skip(from, to)
	case opClass:
		b.edges[from] = append(b.edges[from], move{e.set, to})
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
		for range e.min {
			if len(b.edges) > maxGraph {
				return
			}
			next := b.add()
			b.build(e.kids[0], from, next)
			from = next
		}
		if e.max < 0 {
			loop, again := b.add(), b.add()
			b.skip(from, loop)
			b.build(e.kids[0], loop, again)
			b.skip(again, loop)
			b.skip(loop, to)
			return
		}
		for range e.max - e.min {
			if len(b.edges) > maxGraph {
				return
			}
			b.skip(from, to)
			next := b.add()
			b.build(e.kids[0], from, next)
			from = next
		}
		b.skip(from, to)
	}
}

// product is the graph of the texts that both have.
func product(g, h *graph) (*graph, bool) {
	type pair struct{ a, b int32 }
	ids := map[pair]int32{{0, 0}: 0}
	list := []pair{{0, 0}}
	out := &graph{}
	total := 0
	for i := 0; i < len(list); i++ {
		p := list[i]
		var moves []move
		for _, m := range g.edges[p.a] {
			for _, n := range h.edges[p.b] {
				if total++; total > 64*maxGraph {
					return nil, false
				}
				both := m.set.and(n.set)
				if len(both) == 0 {
					continue
				}
				to := pair{m.to, n.to}
				id, ok := ids[to]
				if !ok {
					if len(list) >= maxGraph {
						return nil, false
					}
					id = int32(len(list))
					ids[to] = id
					list = append(list, to)
				}
				moves = append(moves, move{both, id})
			}
		}
		out.edges = append(out.edges, moves)
		out.final = append(out.final, g.final[p.a] && h.final[p.b])
	}
	return out.trim(), true
}

// trim drops what leads to no end; nil if that is all.
func (g *graph) trim() *graph {
	back := make([][]int32, len(g.edges))
	var work []int32
	useful := make([]bool, len(g.edges))
	for q, moves := range g.edges {
		for _, m := range moves {
			back[m.to] = append(back[m.to], int32(q))
		}
		if g.final[q] {
			useful[q] = true
			work = append(work, int32(q))
		}
	}
	for len(work) > 0 {
		q := work[len(work)-1]
		work = work[:len(work)-1]
		for _, p := range back[q] {
			if !useful[p] {
				useful[p] = true
				work = append(work, p)
			}
		}
	}
	if !useful[0] {
		return nil
	}
	for q, moves := range g.edges {
		kept := moves[:0]
		for _, m := range moves {
			if useful[m.to] {
				kept = append(kept, m)
			}
		}
		g.edges[q] = kept
	}
	return g
}

// matches says whether a graph has a text. The graph of a language may be large: bounded by toGraph.
func (g *graph) matches(s string) bool {
	now := map[int32]bool{0: true}
	for _, r := range s {
		next := map[int32]bool{}
		for q := range now {
			for _, m := range g.edges[q] {
				if m.set.has(r) {
					next[m.to] = true
				}
			}
		}
		if now = next; len(now) == 0 {
			return false
		}
	}
	for q := range now {
		if g.final[q] {
			return true
		}
	}
	return false
}

// The formats, as expressions; each is narrower than its RFC where readers differ.
var formats = map[string]string{
	"date":      datePattern,
	"time":      timePattern,
	"date-time": datePattern + `T` + timePattern,
	"duration":  `P(\d{1,4}W|(\d{1,4}Y(\d{1,4}M(\d{1,4}D)?)?|\d{1,4}M(\d{1,4}D)?|\d{1,4}D)(T` + clockPattern + `)?|T` + clockPattern + `)`,
	"uuid":      `[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}`,
	"email":     `[A-Za-z0-9_%+-]{1,30}(\.[A-Za-z0-9_%+-]{1,30})?@` + hostPattern,
	"hostname":  hostPattern,
	"ipv4":      octet + `(\.` + octet + `){3}`,
	"ipv6":      `([0-9a-fA-F]{1,4}:){7}[0-9a-fA-F]{1,4}|` + shortIPv6(),
	"uri":       `(https?|ftp|ftps|ws|wss)://` + hostPattern + `(:[1-9]\d{0,3})?` + uriTail + `|mailto:[A-Za-z0-9_+-]{1,30}@` + hostPattern + `|urn:[a-z0-9]{2,20}:[A-Za-z0-9._:-]{1,60}`,
}

const (
	datePattern  = `([1-9]\d{3}-((0[13578]|1[02])-(0[1-9]|[12]\d|3[01])|(0[469]|11)-(0[1-9]|[12]\d|30)|02-(0[1-9]|1\d|2[0-8]))|` + leapYear + `-02-29)`
	leapYear     = `([1-9]\d(0[48]|[2468][048]|[13579][26])|([2468][048]|[13579][26])00)`
	timePattern  = `([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,6})?(Z|[+-]([01]\d|2[0-3]):[0-5]\d)`
	clockPattern = `(\d{1,4}H(\d{1,4}M(\d{1,4}S)?)?|\d{1,4}M(\d{1,4}S)?|\d{1,4}S)`
	octet        = `(25[0-5]|2[0-4]\d|1\d\d|[1-9]\d|\d)`
	hostPattern  = `[a-zA-Z0-9]([a-zA-Z0-9]{1,30}|[a-zA-Z0-9]{1,20}-[a-zA-Z0-9]{1,20})?(\.[a-zA-Z0-9]{2,20}){1,3}`
	uriTail      = `(/[A-Za-z0-9._~-]{0,60}){0,8}(\?[A-Za-z0-9._~=&-]{0,120})?(#[A-Za-z0-9._~-]{0,60})?`
)

// shortIPv6 are the addresses with one :: in them.
func shortIPv6() string {
	var all []string
	for before := range 7 {
		left := ""
		if before > 0 {
			left = `[0-9a-fA-F]{1,4}(:[0-9a-fA-F]{1,4}){` + itoa(before-1) + `}`
		}
		right := ""
		if n := 6 - before; n > 0 {
			right = `([0-9a-fA-F]{1,4}(:[0-9a-fA-F]{1,4}){0,` + itoa(n-1) + `})?`
		}
		all = append(all, left+"::"+right)
	}
	return strings.Join(all, "|")
}

// ignoredFormats are annotations: they say how a value is kept or shown.
var ignoredFormats = map[string]bool{"int32": true, "int64": true, "uint32": true, "uint64": true, "float": true, "double": true, "password": true, "decimal": true}

func formatNames() string {
	var names []string
	for name := range formats {
		names = append(names, name)
	}
	sort.Strings(names)
	return strings.Join(names, ", ")
}

func runes(s string) int { return utf8.RuneCountInString(s) }
