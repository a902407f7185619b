package template

import (
	"time"
	"unicode/utf8"
)

// Limits of one Render. Real templates and conversations stay far below; a hostile one is stopped within about a second.
const (
	maxSteps  = 8_000_000 // nodes, items and pieces of text that are looked at
	maxAlloc  = 256 << 20 // bytes of values that are made, all together
	maxOutput = 64 << 20  // bytes
	maxFrames = 5000      // expressions and statements inside each other, macros included
	maxMacros = 200       // macros inside each other
	maxRange  = 100_000   // items of a range, as in jinja's sandbox
)

// Template is a parsed chat template. It is not changed by Render and is safe for concurrent use.
type Template struct {
	// Now is the clock of strftime_now; nil: time.Now.
	Now func() time.Time

	source string
	body   []stmt
	names  []string
	ids    map[string]int
}

// Parse reads a template of at most 1 MiB. The error is an *Error with the place.
func Parse(source string) (t *Template, err error) {
	if len(source) > maxSource {
		return nil, &Error{Line: 1, Column: 1, Message: "the template is larger than 1 MiB"}
	}
	if !utf8.ValidString(source) {
		return nil, &Error{Line: 1, Column: 1, Message: "the template is not UTF-8"}
	}
	source = normalize(source)
	defer caught(source, &err)
	p := &parser{tokens: lex(source), ids: map[string]int{}}
	body := p.body()
	return &Template{source: source, body: body, names: p.names, ids: p.ids}, nil
}

// Render gives the template's output for variables: nil, bool, numbers, string, []any, map[string]any, *Dict, json.RawMessage,
// json.Number, and slices and maps of these. The error is an *Error with the place in the template, or says which variable
// cannot be taken.
func (t *Template) Render(vars map[string]any) (out string, err error) {
	r := &run{t: t}
	r.top = &frame{vals: make([]any, len(t.names))}
	r.frame = r.top
	for i, name := range t.names {
		r.top.vals[i] = missing{}
		if g := global(name); g != nil {
			r.top.vals[i] = g
		}
	}
	for name, v := range vars {
		id, ok := t.ids[name]
		if !ok {
			continue
		}
		c, err := convert(v, 0)
		if err != nil {
			return "", &Error{Line: 1, Column: 1, Message: "variable " + name + ": " + err.Error()}
		}
		r.top.vals[id] = c
	}
	defer caught(t.source, &err)
	r.exec(t.body)
	return string(r.out), nil
}

// run is one Render.
type run struct {
	t     *Template
	top   *frame
	frame *frame
	out   []byte // of the innermost capture, after those around it
	pos   int    // where the work is, for errors

	steps, allocated, depth, macros int
}

// frame is a scope: ids and values of its variables. The outermost one has a value for each id.
type frame struct {
	parent *frame
	ids    []int
	vals   []any
}

func (r *run) fail(format string, args ...any) { fault(r.pos, format, args...) }

// step counts work.
func (r *run) step(n int) {
	if r.steps += n; r.steps > maxSteps {
		r.fail("the template takes more than %d steps", maxSteps)
	}
}

// alloc counts bytes before they are made.
func (r *run) alloc(n int) {
	if r.allocated += n; r.allocated > maxAlloc || n < 0 || n > maxAlloc {
		r.fail("the template makes more than %d MiB of values", maxAlloc>>20)
	}
}

// enter counts what is inside each other.
func (r *run) enter() {
	if r.depth++; r.depth > maxFrames {
		r.fail("more than %d operations inside each other", maxFrames)
	}
}

func (r *run) leave() { r.depth-- }

func (r *run) write(s string) {
	if len(r.out)+len(s) > maxOutput {
		r.fail("the output is larger than %d MiB", maxOutput>>20)
	}
	r.step(len(s) / 64)
	r.out = append(r.out, s...)
}

// capture gives what f writes.
func (r *run) capture(f func()) string {
	start := len(r.out)
	f()
	r.alloc(len(r.out) - start)
	s := string(r.out[start:])
	r.out = r.out[:start]
	return s
}

// scope runs f in a new scope inside of parent.
func (r *run) scope(parent *frame, f func()) {
	before := r.frame
	r.frame = &frame{parent: parent}
	f()
	r.frame = before
}

// lookup gives a variable's value, missing if it has none.
func (r *run) lookup(id int) any {
	for f := r.frame; f != r.top; f = f.parent {
		for i := range f.ids {
			if f.ids[i] == id {
				return f.vals[i]
			}
		}
	}
	return r.top.vals[id]
}

// set sets a variable of the current scope.
func (r *run) set(id int, v any) {
	f := r.frame
	if f == r.top {
		f.vals[id] = v
		return
	}
	for i := range f.ids {
		if f.ids[i] == id {
			f.vals[i] = v
			return
		}
	}
	f.ids = append(f.ids, id)
	f.vals = append(f.vals, v)
}

func (r *run) exec(body []stmt) flow {
	for _, s := range body {
		r.step(1)
		r.enter()
		how := s.exec(r)
		r.leave()
		if how != next {
			return how
		}
	}
	return next
}

func (s *textStmt) exec(r *run) flow {
	r.pos = s.at()
	r.write(s.text)
	return next
}

func (s *outputStmt) exec(r *run) flow {
	v := r.eval(s.of)
	r.pos = s.at()
	r.write(r.str(v))
	return next
}

func (s *ifStmt) exec(r *run) flow {
	for i, c := range s.conds {
		if truth(r.eval(c)) {
			return r.exec(s.bodies[i])
		}
	}
	if len(s.bodies) > len(s.conds) {
		return r.exec(s.bodies[len(s.conds)])
	}
	return next
}

func (s *setStmt) exec(r *run) flow {
	v := r.eval(s.of)
	r.assign(&s.into, v)
	return next
}

// assign sets what a target names.
func (r *run) assign(t *target, v any) {
	r.pos = t.pos
	switch {
	case t.tuple != nil:
		items := r.collect(v)
		if len(items) != len(t.tuple) {
			r.fail("%d values for %d names", len(items), len(t.tuple))
		}
		for i := range t.tuple {
			r.assign(&t.tuple[i], items[i])
		}
	case t.attr != "":
		ns, ok := r.lookup(t.id).(*namespace)
		if !ok {
			r.fail("cannot assign attribute on non-namespace object")
		}
		if t.attr[0] == '_' {
			r.fail("attributes of a namespace must not begin with an underscore: '%s'", t.attr)
		}
		ns.attrs.Set(t.attr, v)
	default:
		r.set(t.id, v)
	}
}

func (s *captureStmt) exec(r *run) flow {
	var v any = r.capture(func() { r.scope(r.frame, func() { r.exec(s.body) }) })
	if s.filter != nil {
		v = r.filterText(s.filter, v)
	}
	r.assign(&s.into, v)
	return next
}

// filterText runs a chain of filters, whose innermost has no operand, on a text.
func (r *run) filterText(e expr, v any) any {
	f := e.(*filterExpr)
	if f.of != nil {
		v = r.filterText(f.of, v)
	}
	return r.filter(f, v)
}

func (s *filterStmt) exec(r *run) flow {
	v := r.capture(func() { r.scope(r.frame, func() { r.exec(s.body) }) })
	out := r.filterText(s.filter, v)
	r.write(r.str(out))
	return next
}

func (s *scopeStmt) exec(r *run) (how flow) {
	r.scope(r.frame, func() { how = r.exec(s.body) })
	return how
}

func (s *withStmt) exec(r *run) (how flow) {
	vals := make([]any, len(s.values))
	for i, e := range s.values {
		vals[i] = r.eval(e)
	}
	r.scope(r.frame, func() {
		for i := range s.into {
			r.assign(&s.into[i], vals[i])
		}
		how = r.exec(s.body)
	})
	return how
}

func (s *jumpStmt) exec(*run) flow { return s.how }

func (s *macroStmt) exec(r *run) flow {
	r.set(s.id, &macro{s.decl, r.frame})
	return next
}

func (s *callStmt) exec(r *run) flow {
	caller := &macro{s.decl, r.frame}
	f := r.eval(s.call.of)
	a := r.args(&s.call.args)
	a.names = append(a.names, "caller")
	a.values = append(a.values, caller)
	r.pos = s.at()
	r.write(r.str(r.call(f, a)))
	return next
}
