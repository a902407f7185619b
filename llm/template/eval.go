package template

import (
	"math/big"
	"strings"
)

// eval gives an expression's value.
func (r *run) eval(e expr) any {
	r.pos = e.at()
	r.step(1)
	r.enter()
	v := e.eval(r)
	r.leave()
	return v
}

func (e *constExpr) eval(*run) any { return e.value }

func (e *nameExpr) eval(r *run) any {
	v := r.lookup(e.id)
	if _, ok := v.(missing); ok {
		return &undefined{name: r.t.names[e.id]}
	}
	return v
}

func (e *listExpr) eval(r *run) any {
	r.alloc(64 + 16*len(e.items))
	l := &list{items: make([]any, len(e.items)), tuple: e.tuple}
	for i, item := range e.items {
		l.items[i] = r.eval(item)
	}
	return l
}

func (e *dictExpr) eval(r *run) any {
	r.alloc(64 + 64*len(e.keys))
	d := &Dict{}
	for i := range e.keys {
		k := r.eval(e.keys[i])
		r.pos = e.at()
		h := r.key(k)
		d.set(h, k, r.eval(e.values[i]))
	}
	return d
}

func (e *attrExpr) eval(r *run) any {
	of := r.eval(e.of)
	r.pos = e.at()
	return r.attr(of, e.name)
}

func (e *itemExpr) eval(r *run) any {
	of := r.eval(e.of)
	key := r.eval(e.key)
	r.pos = e.at()
	return r.item(of, key)
}

// sliced is a slice as a key; its parts are nil or numbers.
type sliced struct{ start, stop, step any }

func (e *sliceExpr) eval(r *run) any {
	part := func(e expr) any {
		if e == nil {
			return nil
		}
		return r.eval(e)
	}
	return &sliced{part(e.start), part(e.stop), part(e.step)}
}

func (e *unaryExpr) eval(r *run) any {
	v := r.eval(e.of)
	r.pos = e.at()
	if e.op == '!' {
		return !truth(v)
	}
	n, ok := number(r.used(v))
	if !ok {
		r.fail("bad operand type for unary %c: '%s'", e.op, typeName(v))
	}
	if e.op == '+' {
		return n
	}
	if f, ok := n.(float64); ok {
		return -f
	}
	return r.arithmetic("-", int64(0), n)
}

func (e *logicExpr) eval(r *run) any {
	v := r.eval(e.left)
	if truth(v) == e.or {
		return v
	}
	return r.eval(e.right)
}

func (e *condExpr) eval(r *run) any {
	if truth(r.eval(e.cond)) {
		return r.eval(e.then)
	}
	if e.other == nil {
		return &undefined{hint: "the inline if-expression evaluated to false and no else section was defined."}
	}
	return r.eval(e.other)
}

func (e *concatExpr) eval(r *run) any {
	n := 0
	parts := make([]string, len(e.parts))
	for i, p := range e.parts {
		parts[i] = r.str(r.eval(p))
		n += len(parts[i])
	}
	r.pos = e.at()
	r.alloc(n)
	return strings.Join(parts, "")
}

func (e *compareExpr) eval(r *run) any {
	left := r.eval(e.left)
	for i, op := range e.ops {
		right := r.eval(e.args[i])
		r.pos = e.at()
		if !r.compare(op, left, right) {
			return false
		}
		left = right
	}
	return true
}

func (r *run) compare(op string, a, b any) bool {
	switch op {
	case "==":
		return r.equal(a, b)
	case "!=":
		return !r.equal(a, b)
	case "in":
		return r.contains(b, a)
	case "not in":
		return !r.contains(b, a)
	}
	o, nan := r.order(a, b, op)
	switch {
	case nan:
		return false
	case op == "<":
		return o < 0
	case op == "<=":
		return o <= 0
	case op == ">":
		return o > 0
	}
	return o >= 0
}

func (e *binaryExpr) eval(r *run) any {
	a := r.eval(e.left)
	b := r.eval(e.right)
	r.pos = e.at()
	return r.binary(e.op, a, b)
}

// binary is one of + - * / // % ** on any two values.
func (r *run) binary(op string, a, b any) any {
	n, ok1 := number(a)
	m, ok2 := number(b)
	if ok1 && ok2 {
		return r.arithmetic(op, n, m)
	}
	r.used(a)
	s, isText := text(a)
	switch {
	case op == "%" && isText:
		return like(a, r.printf(s, b, a))
	case op == "+":
		r.used(b)
		if v, ok := r.plus(a, b); ok {
			return v
		}
	case op == "*" && ok2:
		if v, ok := r.repeat(a, m); ok {
			return v
		}
	case op == "*" && ok1:
		if v, ok := r.repeat(r.used(b), n); ok {
			return v
		}
	}
	r.used(b)
	if op == "+" && isText {
		r.fail(`can only concatenate str (not "%s") to str`, typeName(b))
	}
	r.fail("unsupported operand type(s) for %s: '%s' and '%s'", op, typeName(a), typeName(b))
	return nil
}

// like makes a string markup if of is.
func like(of any, s string) any {
	if _, ok := of.(markup); ok {
		return markup(s)
	}
	return s
}

func (r *run) plus(a, b any) (any, bool) {
	switch x := a.(type) {
	case string:
		switch y := b.(type) {
		case string:
			r.alloc(len(x) + len(y))
			return x + y, true
		case markup:
			m := r.escape(x)
			r.alloc(len(m) + len(y))
			return m + y, true
		}
	case markup:
		if _, ok := text(b); ok {
			y := r.escape(b)
			r.alloc(len(x) + len(y))
			return x + y, true
		}
	case *list:
		if y, ok := b.(*list); ok && x.tuple == y.tuple {
			r.alloc(16 * (len(x.items) + len(y.items)))
			items := append(append(make([]any, 0, len(x.items)+len(y.items)), x.items...), y.items...)
			return &list{items: items, tuple: x.tuple}, true
		}
	}
	return nil, false
}

// repeat is a string or list times a whole number.
func (r *run) repeat(v, times any) (any, bool) {
	n, ok := times.(int64)
	if _, big := times.(*big.Int); big {
		r.fail("the number is too large")
	}
	if !ok {
		return nil, false
	}
	n = min(max(n, 0), maxAlloc+1)
	if s, ok := text(v); ok {
		if s == "" {
			return v, true
		}
		r.alloc(int(min(n*int64(len(s)), maxAlloc+1)))
		return like(v, strings.Repeat(s, int(n))), true
	}
	l, ok := v.(*list)
	if !ok {
		return nil, false
	}
	if len(l.items) == 0 {
		return v, true
	}
	r.alloc(int(min(n*int64(len(l.items))*16, maxAlloc+1)))
	made := &list{items: make([]any, 0, int(n)*len(l.items)), tuple: l.tuple}
	for range n {
		made.items = append(made.items, l.items...)
	}
	return made, true
}

// attr is v.name: an attribute, else an item of that name.
func (r *run) attr(v any, name string) any {
	if u, ok := v.(*undefined); ok {
		r.fail("%s", u.message())
	}
	if found, ok := r.pythonAttr(v, name); ok {
		return found
	}
	switch v := v.(type) {
	case *Dict:
		if found, ok := v.get(name); ok {
			return found
		}
	case *namespace:
		if found, ok := v.attrs.get(name); ok {
			return found
		}
	}
	return r.lacks(v, name)
}

func (r *run) lacks(v any, name string) any {
	return &undefined{name: name, hint: "'" + describe(v) + "' has no attribute '" + name + "'"}
}

// item is v[key]: an item, else an attribute of that name.
func (r *run) item(v, key any) any {
	if u, ok := v.(*undefined); ok {
		r.fail("%s", u.message())
	}
	if s, ok := key.(*sliced); ok {
		return r.slice(v, s)
	}
	name, isName := text(key)
	switch v := v.(type) {
	case *Dict:
		if isName {
			if found, ok := v.get(name); ok {
				return found
			}
			break
		}
		if h, ok := hash1(key); ok {
			if found, ok := v.at(h); ok {
				return found
			}
		}
	case *list, string, markup, *span:
		if n, ok := number(key); ok {
			if i, ok := n.(int64); ok {
				if found, ok := r.index(v, i); ok {
					return found
				}
			}
			if _, float := n.(float64); !float {
				return &undefined{hint: describe(v) + " has no element " + r.str(key)}
			}
		}
	}
	if isName {
		if found, ok := r.pythonAttr(v, name); ok {
			return found
		}
		if ns, ok := v.(*namespace); ok {
			if found, ok := ns.attrs.get(name); ok {
				return found
			}
		}
		return r.lacks(v, name)
	}
	return &undefined{hint: describe(v) + " has no element " + string(r.repr(nil, key))}
}

// index is the item at a place of a sequence, from its end if it is negative.
func (r *run) index(v any, i int64) (any, bool) {
	n, _ := r.length(v)
	if i < 0 {
		i += int64(n)
	}
	if i < 0 || i >= int64(n) {
		return nil, false
	}
	switch v := v.(type) {
	case *list:
		return v.items[i], true
	case *span:
		return v.start + i*v.step, true
	}
	s, _ := text(v)
	r.step(len(s) / 16)
	return like(v, cut(s, int(i), int(i)+1)), true
}

// bounds are a slice's first index, step and number of items, as Python reckons them.
func (r *run) bounds(s *sliced, n int) (start, step, count int) {
	whole := func(v any, without int, low, high int) int {
		if v == nil {
			return without
		}
		m, ok := number(r.used(v))
		if b, isBig := m.(*big.Int); isBig {
			m = int64(b.Sign()) << 60
		}
		i, isInt := m.(int64)
		if !ok || !isInt {
			r.fail("slice indices must be integers or None, not %s", typeName(v))
		}
		if i < 0 {
			i += int64(n)
		}
		return int(min(max(i, int64(low)), int64(high)))
	}
	step = 1
	if s.step != nil {
		m, _ := number(r.used(s.step))
		i, ok := m.(int64)
		if !ok {
			r.fail("slice indices must be integers or None, not %s", typeName(s.step))
		}
		if i == 0 {
			r.fail("slice step cannot be zero")
		}
		step = int(min(max(i, -1<<31), 1<<31))
	}
	var stop int
	if step > 0 {
		start, stop = whole(s.start, 0, 0, n), whole(s.stop, n, 0, n)
		if stop > start {
			count = (stop-start-1)/step + 1
		}
		return start, step, count
	}
	start, stop = whole(s.start, n-1, -1, n-1), whole(s.stop, -1, -1, n-1)
	if start > stop {
		count = (start-stop-1)/-step + 1
	}
	return start, step, count
}

func (r *run) slice(v any, s *sliced) any {
	switch v.(type) {
	case *list, string, markup, *span:
	case *Dict:
		r.fail("unhashable type: 'slice'")
	default:
		return &undefined{hint: describe(v) + " cannot be sliced"}
	}
	n, _ := r.length(v)
	start, step, count := r.bounds(s, n)
	switch v := v.(type) {
	case *list:
		r.alloc(16 * count)
		made := &list{items: make([]any, count), tuple: v.tuple}
		for i := range count {
			made.items[i] = v.items[start+i*step]
		}
		return made
	case *span:
		return &span{v.start + int64(start)*v.step, v.start + int64(start+count*step)*v.step, v.step * int64(step)}
	}
	t, _ := text(v)
	r.step(len(t) / 16)
	if step == 1 {
		return like(v, cut(t, start, start+count))
	}
	r.alloc(5 * len(t))
	runes := []rune(t)
	var b strings.Builder
	for i := range count {
		b.WriteRune(runes[start+i*step])
	}
	return like(v, b.String())
}
