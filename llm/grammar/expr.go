package grammar

// op is what an expr does.
type op uint8

const (
	opEmpty  op = iota // the empty text
	opNever            // nothing at all
	opText             // these bytes
	opClass            // one character of a set, as UTF-8
	opSeq              // one after the other
	opAlt              // one of them
	opRepeat           // kids[0], min to max times; max -1: any number
	opCall             // a rule
	opGraph            // a graph over JSON characters
)

// expr is what all front ends make: a regular expression over characters that may call rules. It is not changed once made, so
// parts are shared.
type expr struct {
	op       op
	text     string
	set      set
	kids     []*expr
	min, max int
	rule     int
	graph    *graph
}

var (
	empty = &expr{op: opEmpty}
	never = &expr{op: opNever}
)

func text(s string) *expr {
	if s == "" {
		return empty
	}
	return &expr{op: opText, text: s}
}

func class(s set) *expr {
	if len(s) == 0 {
		return never
	}
	return &expr{op: opClass, set: s}
}

func seq(kids ...*expr) *expr {
	out := make([]*expr, 0, len(kids))
	for _, k := range kids {
		switch k.op {
		case opNever:
			return never
		case opEmpty:
		case opSeq:
			out = append(out, k.kids...)
		default:
			out = append(out, k)
		}
	}
	switch len(out) {
	case 0:
		return empty
	case 1:
		return out[0]
	}
	return &expr{op: opSeq, kids: out}
}

func alt(kids ...*expr) *expr {
	out := make([]*expr, 0, len(kids))
	for _, k := range kids {
		switch k.op {
		case opNever:
		case opAlt:
			out = append(out, k.kids...)
		default:
			out = append(out, k)
		}
	}
	switch len(out) {
	case 0:
		return never
	case 1:
		return out[0]
	}
	return &expr{op: opAlt, kids: out}
}

func repeat(e *expr, least, most int) *expr {
	switch {
	case most == 0 || e.op == opEmpty:
		return empty
	case e.op == opNever && least == 0:
		return empty
	case e.op == opNever:
		return never
	case least == 1 && most == 1:
		return e
	case e.op == opRepeat && e.min == 0:
		// What may be left out may be left out each time: (x{0,p}){m,n} is x{0,p*n}.
		if most < 0 || e.max < 0 {
			most = -1
		} else {
			most = min(maxRepeat+1, most*e.max)
		}
		return &expr{op: opRepeat, kids: e.kids, max: most}
	}
	return &expr{op: opRepeat, kids: []*expr{e}, min: least, max: most}
}

func maybe(e *expr) *expr { return repeat(e, 0, 1) }
func star(e *expr) *expr  { return repeat(e, 0, -1) }
func call(rule int) *expr { return &expr{op: opCall, rule: rule} }

// rule is a named expr. place says where it stands in the source, for messages; shared keeps it a rule of its own, so that the
// masks of its states serve every place that calls it.
type rule struct {
	name   string
	place  string
	body   *expr
	shared bool
}

// graph is an automaton over the characters of a JSON string's content, decoded: what intersections of patterns, formats and
// lengths make. State 0 is the start.
type graph struct {
	edges [][]move
	final []bool
}

// move is an edge of a graph.
type move struct {
	set set
	to  int32
}
