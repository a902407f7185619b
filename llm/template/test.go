package template

import (
	"math/big"
	"strings"
)

// findTest gives a test by its name, nil if there is none.
func findTest(name string) filter {
	switch name {
	case "filter":
		return func(_ *run, v any, _ *args) any { s, _ := text(v); return findFilter(s) != nil }
	case "test":
		return func(_ *run, v any, _ *args) any { s, _ := text(v); return findTest(s) != nil }
	}
	return tests[name]
}

// is makes a test without arguments.
func is(f func(any) bool) filter {
	return func(r *run, v any, a *args) any {
		r.bind(a, "this test", 0)
		return f(v)
	}
}

// compares makes a test of an operator.
func compares(op string) filter {
	return func(r *run, v any, a *args) any {
		return r.compare(op, v, r.bind(a, "this test", 1, "other")[0])
	}
}

func isUndefined(v any) bool {
	_, ok := v.(*undefined)
	return ok
}

// modulo makes a test of a remainder.
func modulo(by int64, want int64) filter {
	return func(r *run, v any, a *args) any {
		r.bind(a, "this test", 0)
		return r.equal(r.binary("%", v, by), want)
	}
}

// tests are never changed.
var tests = map[string]filter{
	"defined":   is(func(v any) bool { return !isUndefined(v) }),
	"undefined": is(isUndefined),
	"none":      is(func(v any) bool { return v == nil }),
	"boolean":   is(func(v any) bool { _, ok := v.(bool); return ok }),
	"true":      is(func(v any) bool { return v == true }),
	"false":     is(func(v any) bool { return v == false }),
	"integer": is(func(v any) bool {
		switch v.(type) {
		case int64, *big.Int:
			return true
		}
		return false
	}),
	"float":   is(func(v any) bool { _, ok := v.(float64); return ok }),
	"number":  is(func(v any) bool { _, ok := number(v); return ok }),
	"string":  is(func(v any) bool { _, ok := text(v); return ok }),
	"mapping": is(func(v any) bool { _, ok := v.(*Dict); return ok }),
	"sequence": is(func(v any) bool {
		switch v.(type) {
		case string, markup, *list, *Dict, *span, *undefined:
			return true
		}
		return false
	}),
	"iterable": is(iterable),
	"callable": is(func(v any) bool {
		switch v := v.(type) {
		case *function, *macro, *undefined, *loop:
			return true
		case *stepper:
			return v.kind == "Joiner"
		}
		return false
	}),
	"escaped": is(func(v any) bool { _, ok := v.(markup); return ok }),
	"lower":   func(r *run, v any, _ *args) any { return isUpper(r.str(v), true) },
	"upper":   func(r *run, v any, _ *args) any { return isUpper(r.str(v), false) },
	"odd":     modulo(2, 1),
	"even":    modulo(2, 0),
	"divisibleby": func(r *run, v any, a *args) any {
		return r.equal(r.binary("%", v, r.bind(a, "divisibleby", 1, "num")[0]), int64(0))
	},
	"sameas": func(r *run, v any, a *args) any { return same(v, r.bind(a, "sameas", 1, "other")[0]) },
	"in":     compares("in"),
	"==":     compares("=="), "eq": compares("=="), "equalto": compares("=="),
	"!=": compares("!="), "ne": compares("!="),
	">": compares(">"), "gt": compares(">"), "greaterthan": compares(">"),
	">=": compares(">="), "ge": compares(">="),
	"<": compares("<"), "lt": compares("<"), "lessthan": compares("<"),
	"<=": compares("<="), "le": compares("<="),
}

// same is Python's is. Numbers and strings have no identity here: equal ones of one type are the same.
func same(a, b any) bool {
	if typeName(a) != typeName(b) {
		return false
	}
	if x, ok := a.(*big.Int); ok {
		y, ok := b.(*big.Int)
		return ok && x.Cmp(y) == 0
	}
	return a == b
}

// words counts runs of word characters.
func words(s string) int {
	return len(strings.FieldsFunc(s, func(c rune) bool { return !wordRune(c) }))
}
