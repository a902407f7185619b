package template

import (
	"math/big"
)

// args are what a function is called with.
type args struct {
	pos    []any
	names  []string
	values []any // of names
}

// args evaluates what stands between the parentheses of a call.
func (r *run) args(c *callArgs) *args {
	a := &args{names: c.names[:len(c.names):len(c.names)]}
	if n := len(c.pos); n > 0 {
		a.pos = make([]any, n)
		for i, e := range c.pos {
			a.pos[i] = r.eval(e)
		}
	}
	for _, e := range c.values {
		a.values = append(a.values, r.eval(e))
	}
	if c.list != nil {
		a.pos = append(a.pos, r.collect(r.eval(c.list))...)
	}
	if c.table != nil {
		d, ok := r.eval(c.table).(*Dict)
		if !ok {
			r.fail("argument after ** must be a dict")
		}
		for i, k := range d.keys {
			name, ok := text(k)
			if !ok {
				r.fail("keywords must be strings")
			}
			a.names = append(a.names, name)
			a.values = append(a.values, d.values[i])
		}
	}
	return a
}

// take removes a keyword argument.
func (a *args) take(name string) (any, bool) {
	for i, n := range a.names {
		if n == name {
			v := a.values[i]
			a.names = append(append([]string(nil), a.names[:i]...), a.names[i+1:]...)
			a.values = append(append([]any(nil), a.values[:i]...), a.values[i+1:]...)
			return v, true
		}
	}
	return nil, false
}

// bind gives the arguments in the order of the parameters; missing{} stands for those that were not given, which only those after
// the first `required` may be.
func (r *run) bind(a *args, what string, required int, params ...string) []any {
	made := make([]any, len(params))
	if len(a.pos) > len(params) {
		r.fail("%s takes at most %d arguments, and was given %d", what, len(params), len(a.pos))
	}
	for i := range made {
		made[i] = missing{}
	}
	copy(made, a.pos)
names:
	for i, name := range a.names {
		for j, p := range params {
			if p != name {
				continue
			}
			if given(made[j]) {
				r.fail("%s was given two values for '%s'", what, name)
			}
			made[j] = a.values[i]
			continue names
		}
		r.fail("%s has no parameter '%s'", what, name)
	}
	for i := range required {
		if !given(made[i]) {
			r.fail("%s needs the argument '%s'", what, params[i])
		}
	}
	return made
}

// given says whether an argument is there.
func given(v any) bool {
	_, ok := v.(missing)
	return !ok
}

// or is an argument, or what it is without.
func or(v, without any) any {
	if given(v) {
		return v
	}
	return without
}

// int is an argument as a number that fits an int.
func (r *run) int(v any, what string) int {
	n, _ := number(r.used(v))
	switch n := n.(type) {
	case int64:
		return int(min(max(n, -1<<40), 1<<40))
	case *big.Int:
		return n.Sign() << 40
	}
	r.fail("%s must be a whole number, not %s", what, typeName(v))
	return 0
}

// string is an argument that must be a string.
func (r *run) string(v any, what string) string {
	s, ok := text(r.used(v))
	if !ok {
		r.fail("%s must be a string, not %s", what, typeName(v))
	}
	return s
}

// function is what Go code can do for a template: a global, or a method with its object.
type function struct {
	name string
	call func(*run, *args) any
}

// macro is a macro, or a call block's body, with the scope that it was made in.
type macro struct {
	decl *macroDecl
	home *frame
}

func (e *callExpr) eval(r *run) any {
	f := r.eval(e.of)
	a := r.args(&e.args)
	r.pos = e.at()
	return r.call(f, a)
}

// call calls a value.
func (r *run) call(f any, a *args) any {
	switch f := f.(type) {
	case *function:
		return f.call(r, a)
	case *macro:
		return r.macro(f, a)
	case *loop:
		if f.recurse == nil {
			r.fail("The loop must have the 'recursive' marker to be called recursively.")
		}
		o := r.bind(a, "loop", 1, "iterable")
		r.nested()
		out := f.recurse(o[0], f.depth+1)
		r.macros--
		return out
	case *stepper:
		return f.step(r, a)
	}
	r.used(f)
	r.fail("'%s' object is not callable", typeName(f))
	return nil
}

func (r *run) nested() {
	if r.macros++; r.macros > maxMacros {
		r.fail("more than %d macros inside each other", maxMacros)
	}
}

// macro runs a macro's body in a scope of its own.
func (r *run) macro(m *macro, a *args) any {
	d := m.decl
	r.nested()
	pos := r.pos
	before := r.frame
	f := &frame{parent: m.home}
	r.frame = f
	rest := args{names: a.names, values: a.values}
	for i, id := range d.ids {
		v, ok := any(nil), false
		if i < len(a.pos) {
			v, ok = a.pos[i], true
		} else {
			v, ok = rest.take(d.params[i])
		}
		if !ok {
			v = &undefined{name: d.params[i], hint: "parameter '" + d.params[i] + "' was not provided"}
			if at := i - (len(d.ids) - len(d.defaults)); at >= 0 {
				v = r.eval(d.defaults[at])
			}
		}
		r.set(id, v)
	}
	r.pos = pos
	r.extras(d, a, &rest)
	if len(rest.names) > 0 {
		r.fail("macro '%s' takes no keyword argument '%s'", d.name, rest.names[0])
	}
	out := r.capture(func() { r.exec(d.body) })
	r.frame = before
	r.macros--
	return out
}

// extras sets caller, kwargs and varargs where the body asks for them.
func (r *run) extras(d *macroDecl, a, rest *args) {
	if d.caller >= 0 {
		v, ok := rest.take("caller")
		if !ok {
			v = &undefined{name: "caller", hint: "No caller defined"}
		}
		r.set(d.caller, v)
	}
	if d.kwargs >= 0 {
		kw := &Dict{}
		for i, name := range rest.names {
			kw.Set(name, rest.values[i])
		}
		r.set(d.kwargs, kw)
		rest.names = nil
	}
	more := a.pos[min(len(a.pos), len(d.ids)):]
	if d.varargs >= 0 {
		r.set(d.varargs, tuple(more...))
	} else if len(more) > 0 {
		r.fail("macro '%s' takes not more than %d argument(s)", d.name, len(d.params))
	}
}

// filter is a filter or a test: what it does with a value.
type filter func(*run, any, *args) any

func (e *filterExpr) eval(r *run) any { return r.filter(e, r.eval(e.of)) }

func (r *run) filter(e *filterExpr, v any) any {
	a := r.args(&e.args)
	r.pos = e.at()
	if e.fn == nil {
		r.fail("there is no filter '%s'", e.name)
	}
	return e.fn(r, v, a)
}

func (e *testExpr) eval(r *run) any {
	v := r.eval(e.of)
	a := r.args(&e.args)
	r.pos = e.at()
	if e.fn == nil {
		r.fail("there is no test '%s'", e.name)
	}
	return truth(e.fn(r, v, a))
}
