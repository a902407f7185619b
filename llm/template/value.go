package template

import (
	"math"
	"math/big"
	"sort"
	"strings"
)

// Values are Python's, as these Go types: nil, bool, int64, *big.Int (only what int64 cannot hold), float64, string, markup,
// *list (lists and tuples), *Dict, *span, *view, *stream, *namespace, *undefined, callables (*function, *macro, *loop,
// *stepper). Lists and dicts are never changed once they are made.
type (
	// markup is a string that the filter safe or escape has marked: what is joined to it is escaped.
	markup string

	list struct {
		items []any
		tuple bool
		group bool // of groupby: a tuple with the attributes grouper and list
	}

	// span is a range.
	span struct{ start, stop, step int64 }

	// view is what keys(), values() and items() of a dict give.
	view struct {
		of   *Dict
		what byte // 'k', 'v' or 'i'
	}

	// stream gives its values once, as Python's generators and iterators do.
	stream struct {
		next func() (any, bool)
		name string // of its type
		// reversible streams are none: only what is a sequence can be reversed
	}

	namespace struct{ attrs *Dict }

	// undefined stands for what is not there. hint is the whole message if it is not "".
	undefined struct {
		name string
		hint string
	}
)

// missing is the value of a variable or argument that was never set; it reaches no template.
type missing struct{}

func tuple(items ...any) *list { return &list{items: items, tuple: true} }

// message says why an undefined value cannot be used.
func (u *undefined) message() string {
	if u.hint != "" {
		return u.hint
	}
	return "'" + u.name + "' is undefined"
}

// text is the string that a value is, if it is one.
func text(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case markup:
		return string(v), true
	}
	return "", false
}

// truth is Python's bool().
func truth(v any) bool {
	switch v := v.(type) {
	case nil, *undefined, missing:
		return false
	case bool:
		return v
	case int64:
		return v != 0
	case float64:
		return v != 0
	case string:
		return v != ""
	case markup:
		return v != ""
	case *list:
		return len(v.items) > 0
	case *Dict:
		return v.Len() > 0
	case *span:
		return v.len() > 0
	case *view:
		return v.of.Len() > 0
	}
	return true
}

func (s *span) len() int64 {
	switch {
	case s.step > 0 && s.start < s.stop:
		return (s.stop-s.start-1)/s.step + 1
	case s.step < 0 && s.start > s.stop:
		return (s.start-s.stop-1)/-s.step + 1
	}
	return 0
}

func (v *view) get(i int) any {
	switch v.what {
	case 'k':
		return v.of.keys[i]
	case 'v':
		return v.of.values[i]
	}
	return tuple(v.of.keys[i], v.of.values[i])
}

// typeName is the name of a value's Python type.
func typeName(v any) string {
	switch v := v.(type) {
	case nil:
		return "NoneType"
	case bool:
		return "bool"
	case int64, *big.Int:
		return "int"
	case float64:
		return "float"
	case string:
		return "str"
	case markup:
		return "Markup"
	case *list:
		if v.tuple {
			return "tuple"
		}
		return "list"
	case *Dict:
		return "dict"
	case *span:
		return "range"
	case *view:
		return map[byte]string{'k': "dict_keys", 'v': "dict_values", 'i': "dict_items"}[v.what]
	case *stream:
		return v.name
	case *namespace:
		return "TemplateNamespace"
	case *undefined:
		return "Undefined"
	case *macro:
		return "Macro"
	case *loop:
		return "LoopContext"
	case *stepper:
		return v.kind
	}
	return "function"
}

// describe names a value in the message about an attribute that it lacks, as jinja does.
func describe(v any) string {
	switch v.(type) {
	case nil:
		return "None"
	}
	return typeName(v) + " object"
}

// used fails for an undefined value.
func (r *run) used(v any) any {
	if u, ok := v.(*undefined); ok {
		r.fail("%s", u.message())
	}
	return v
}

// equal is Python's ==.
func (r *run) equal(a, b any) bool {
	r.step(1)
	if n, ok := number(a); ok {
		m, ok := number(b)
		return ok && compareNumbers(n, m) == 0
	}
	if s, ok := text(a); ok {
		t, ok := text(b)
		r.step(len(s) / 64)
		return ok && s == t
	}
	r.enter()
	defer r.leave()
	switch a := a.(type) {
	case nil:
		return b == nil
	case *undefined:
		_, ok := b.(*undefined)
		return ok
	case *list:
		b, ok := b.(*list)
		if !ok || a.tuple != b.tuple || len(a.items) != len(b.items) {
			return false
		}
		for i := range a.items {
			if !r.equal(a.items[i], b.items[i]) {
				return false
			}
		}
		return true
	case *Dict:
		b, ok := b.(*Dict)
		if !ok || a.Len() != b.Len() {
			return false
		}
		for i, k := range a.keys {
			v, ok := b.at(r.key(k))
			if !ok || !r.equal(a.values[i], v) {
				return false
			}
		}
		return true
	case *span:
		b, ok := b.(*span)
		if !ok || a.len() != b.len() {
			return false
		}
		return a.len() == 0 || a.start == b.start && (a.len() == 1 || a.step == b.step)
	}
	return a == b // the other types are pointers
}

// order is Python's < (-1), == (0), > (1); it fails for what has no order. nan says that a number is none.
func (r *run) order(a, b any, op string) (order int, nan bool) {
	r.step(1)
	n, ok1 := number(a)
	m, ok2 := number(b)
	if ok1 && ok2 {
		return compareNumbers(n, m), isNaN(n) || isNaN(m)
	}
	s, ok1 := text(a)
	t, ok2 := text(b)
	if ok1 && ok2 {
		r.step(min(len(s), len(t)) / 64)
		return strings.Compare(s, t), false
	}
	x, ok1 := a.(*list)
	y, ok2 := b.(*list)
	if ok1 && ok2 && x.tuple == y.tuple {
		r.enter()
		defer r.leave()
		for i := 0; i < len(x.items) && i < len(y.items); i++ {
			if !r.equal(x.items[i], y.items[i]) {
				return r.order(x.items[i], y.items[i], op)
			}
		}
		return len(x.items) - len(y.items), false
	}
	r.used(a)
	r.used(b)
	r.fail("'%s' not supported between instances of '%s' and '%s'", op, typeName(a), typeName(b))
	return 0, false
}

func isNaN(v any) bool {
	f, ok := v.(float64)
	return ok && math.IsNaN(f)
}

// sorted sorts values by keys, stably, as Python's sorted.
func (r *run) sorted(items, keys []any, reverse bool) []any {
	at := make([]int, len(items))
	for i := range at {
		at[i] = i
	}
	r.alloc(len(items) * 32)
	sort.SliceStable(at, func(i, j int) bool {
		a, b := keys[at[i]], keys[at[j]]
		if reverse {
			a, b = b, a
		}
		o, nan := r.order(a, b, "<")
		return o < 0 && !nan
	})
	made := make([]any, len(items))
	for i, j := range at {
		made[i] = items[j]
	}
	return made
}

// contains is Python's in.
func (r *run) contains(in, v any) bool {
	if s, ok := text(in); ok {
		sub, ok := text(r.used(v))
		if !ok {
			r.fail("'in <string>' requires string as left operand, not %s", typeName(v))
		}
		r.step(len(s) / 64)
		return strings.Contains(s, sub)
	}
	switch in := in.(type) {
	case *Dict:
		_, ok := in.at(r.key(v))
		return ok
	case *view:
		if in.what == 'k' {
			_, ok := in.of.at(r.key(v))
			return ok
		}
	}
	for next := r.iterate(in); ; {
		item, ok := next()
		if !ok {
			return false
		}
		if r.equal(item, v) {
			return true
		}
	}
}

// iterate gives a value's items one by one, as a for loop does; it fails for what cannot be iterated over.
func (r *run) iterate(v any) func() (any, bool) {
	items := func(n int, get func(int) any) func() (any, bool) {
		i := -1
		return func() (any, bool) {
			r.step(1)
			if i++; i >= n {
				i = n
				return nil, false
			}
			return get(i), true
		}
	}
	switch v := v.(type) {
	case *undefined:
		return items(0, nil)
	case *list:
		return items(len(v.items), func(i int) any { return v.items[i] })
	case *Dict:
		return items(v.Len(), func(i int) any { return v.keys[i] })
	case *view:
		return items(v.of.Len(), v.get)
	case *span:
		return items(int(v.len()), func(i int) any { return v.start + int64(i)*v.step })
	case string, markup:
		s, _ := text(v)
		_, marked := v.(markup)
		return func() (any, bool) {
			r.step(1)
			if s == "" {
				return nil, false
			}
			n := runeLen(s)
			c := s[:n]
			s = s[n:]
			if marked {
				return markup(c), true
			}
			return c, true
		}
	case *stream:
		return func() (any, bool) {
			r.step(1)
			return v.next()
		}
	case *loop:
		return func() (any, bool) { r.fail("the loop cannot be iterated over inside itself"); return nil, false }
	}
	r.fail("'%s' object is not iterable", typeName(v))
	return nil
}

// iterable says whether iterate would work.
func iterable(v any) bool {
	switch v.(type) {
	case *undefined, *list, *Dict, *view, *span, string, markup, *stream, *loop:
		return true
	}
	return false
}

// collect is Python's list(): the items of a value.
func (r *run) collect(v any) []any {
	if l, ok := v.(*list); ok {
		return l.items
	}
	var items []any
	for next := r.iterate(v); ; {
		item, ok := next()
		if !ok {
			return items
		}
		r.alloc(48)
		items = append(items, item)
	}
}

// length is Python's len(); ok is false for what has none.
func (r *run) length(v any) (int, bool) {
	switch v := v.(type) {
	case *undefined:
		return 0, true
	case string:
		r.step(len(v) / 64)
		return runeCount(v), true
	case markup:
		r.step(len(v) / 64)
		return runeCount(string(v)), true
	case *list:
		return len(v.items), true
	case *Dict:
		return v.Len(), true
	case *view:
		return v.of.Len(), true
	case *span:
		return int(v.len()), true
	case *loop:
		return v.length(), true
	}
	return 0, false
}
