package template

import (
	"math"
	"math/big"
	"strconv"
	"strings"
	"unicode"
)

// findFilter gives a filter by its name, nil if there is none.
func findFilter(name string) filter {
	switch name { // those that look others up
	case "map":
		return mapFilter
	case "select":
		return selecting(false, true)
	case "reject":
		return selecting(false, false)
	case "selectattr":
		return selecting(true, true)
	case "rejectattr":
		return selecting(true, false)
	}
	return filters[name]
}

// method makes a filter of a method of str; other values are turned into strings first.
func method(name string) filter {
	m := textMethods[name]
	return func(r *run, v any, a *args) any {
		if _, ok := text(v); !ok {
			v = r.str(v)
		}
		s, _ := text(v)
		return marked(v, m(r, s, v, a))
	}
}

// filters are never changed.
var filters = map[string]filter{
	"upper":      method("upper"),
	"lower":      method("lower"),
	"capitalize": method("capitalize"),
	"trim":       method("strip"),
	"tojson":     dumps,
	"from_json":  fromJSON, // llama.cpp's, which some templates rely on
	"fromjson":   fromJSON,
	"string": func(r *run, v any, _ *args) any {
		if _, ok := text(v); ok {
			return v
		}
		return r.str(v)
	},
	"title":       titleFilter,
	"center":      centerFilter,
	"replace":     replaceFilter,
	"format":      formatFilter,
	"indent":      indentFilter,
	"truncate":    truncateFilter,
	"wordcount":   func(r *run, v any, _ *args) any { return int64(words(r.str(v))) },
	"urlencode":   urlFilter,
	"escape":      func(r *run, v any, _ *args) any { return r.escape(v) },
	"e":           func(r *run, v any, _ *args) any { return r.escape(v) },
	"forceescape": func(r *run, v any, _ *args) any { return r.escape(r.str(v)) },
	"safe":        func(r *run, v any, _ *args) any { return markup(r.str(v)) },
	"default":     defaultFilter,
	"d":           defaultFilter,
	"attr": func(r *run, v any, a *args) any {
		name := r.string(r.bind(a, "attr", 1, "name")[0], "the argument of attr")
		r.used(v)
		if found, ok := r.pythonAttr(v, name); ok {
			return found
		}
		return r.lacks(v, name)
	},
	"int":   intFilter,
	"float": floatFilter,
	"round": roundFilter,
	"abs":   absFilter,

	"length":    lengthFilter,
	"count":     lengthFilter,
	"list":      func(r *run, v any, _ *args) any { return &list{items: r.collect(v)} },
	"join":      joinFilter,
	"first":     firstFilter,
	"last":      lastFilter,
	"reverse":   reverseFilter,
	"items":     itemsFilter,
	"dictsort":  dictSortFilter,
	"sort":      sortFilter,
	"unique":    uniqueFilter,
	"groupby":   groupFilter,
	"min":       extreme(false),
	"max":       extreme(true),
	"sum":       sumFilter,
	"batch":     batchFilter,
	"slice":     sliceFilter,
	"xmlattr":   xmlFilter,
	"striptags": stripTagsFilter,
}

func fromJSON(r *run, v any, a *args) any {
	r.bind(a, "from_json", 0)
	s := r.string(v, "what from_json reads")
	r.alloc(16 * len(s))
	made, err := parseJSON([]byte(s))
	if err != nil {
		r.fail("from_json: %v", err)
	}
	return made
}

func defaultFilter(r *run, v any, a *args) any {
	o := r.bind(a, "default", 0, "default_value", "boolean")
	if isUndefined(v) || given(o[1]) && truth(o[1]) && !truth(v) {
		return or(o[0], "")
	}
	return v
}

func wordRune(c rune) bool { return c == '_' || unicode.IsLetter(c) || unicode.IsNumber(c) }

// titleFilter begins each word with an upper case letter; words begin after white space and - ( { [ <.
func titleFilter(r *run, v any, a *args) any {
	r.bind(a, "title", 0)
	s := r.str(v)
	r.alloc(2 * len(s))
	separates := func(c rune) bool { return isSpace(c) || strings.ContainsRune("-({[<", c) }
	var b strings.Builder
	for s != "" {
		n := strings.IndexFunc(s, separates)
		if n == 0 {
			n = strings.IndexFunc(s, func(c rune) bool { return !separates(c) })
		}
		if n < 0 {
			n = len(s)
		}
		first := runeLen(s)
		b.WriteString(upper(s[:first]))
		b.WriteString(lower(s[first:n]))
		s = s[n:]
	}
	return b.String()
}

func centerFilter(r *run, v any, a *args) any {
	o := r.bind(a, "center", 0, "width")
	return like(v, r.fill(r.str(v), r.int(or(o[0], int64(80)), "width"), " ", 'c'))
}

func replaceFilter(r *run, v any, a *args) any {
	o := r.bind(a, "replace", 2, "old", "new", "count")
	count := -1
	if n := or(o[2], nil); n != nil {
		count = r.int(n, "count")
	}
	return r.replace(r.str(v), r.str(o[0]), r.str(o[1]), count)
}

func formatFilter(r *run, v any, a *args) any {
	if len(a.pos) > 0 && len(a.names) > 0 {
		r.fail("can't handle positional and keyword arguments at the same time")
	}
	var with any = tuple(a.pos...)
	if len(a.names) > 0 {
		d := &Dict{}
		for i, n := range a.names {
			d.Set(n, a.values[i])
		}
		with = d
	}
	return like(v, r.printf(r.str(v), with, v))
}

func indentFilter(r *run, v any, a *args) any {
	o := r.bind(a, "indent", 0, "width", "first", "blank")
	by, ok := text(or(o[0], nil))
	if !ok {
		n := max(0, r.int(or(o[0], int64(4)), "width"))
		r.alloc(n)
		by = strings.Repeat(" ", n)
	}
	s := r.string(v, "what indent is given")
	lines := splitLines(s+"\n", false)
	r.alloc(len(s))
	var b strings.Builder
	for i, line := range lines {
		if i > 0 {
			b.WriteByte('\n')
		}
		if i == 0 && truth(or(o[1], false)) || i > 0 && (line != "" || truth(or(o[2], false))) {
			r.alloc(len(by))
			b.WriteString(by)
		}
		b.WriteString(line)
	}
	return like(v, b.String())
}

func truncateFilter(r *run, v any, a *args) any {
	o := r.bind(a, "truncate", 0, "length", "killwords", "end", "leeway")
	length := r.int(or(o[0], int64(255)), "length")
	end := r.str(or(o[2], "..."))
	leeway := 5
	if n := or(o[3], nil); n != nil {
		leeway = r.int(n, "leeway")
	}
	short := length - runeCount(end)
	if short < 0 || leeway < 0 {
		r.fail("truncate: length and leeway must not be less than %d and 0", runeCount(end))
	}
	s := r.string(v, "what truncate is given")
	r.step(len(s) / 16)
	if runeCount(s) <= length+leeway {
		return v
	}
	s = cut(s, 0, short)
	if !truth(or(o[1], false)) {
		if i := strings.LastIndexByte(s, ' '); i >= 0 {
			s = s[:i]
		}
	}
	return r.binary("+", like(v, s), or(o[2], "..."))
}

// quoteURL is urllib's quote.
func quoteURL(s, safe string, plus bool) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', decimal(c), strings.IndexByte("_.-~"+safe, c) >= 0:
			b.WriteByte(c)
		case c == ' ' && plus:
			b.WriteByte('+')
		default:
			b.WriteByte('%')
			b.WriteByte("0123456789ABCDEF"[c>>4])
			b.WriteByte("0123456789ABCDEF"[c&15])
		}
	}
	return b.String()
}

func urlFilter(r *run, v any, a *args) any {
	r.bind(a, "urlencode", 0)
	if _, ok := text(v); ok || !iterable(v) {
		s := r.str(v)
		r.alloc(3 * len(s))
		return quoteURL(s, "/", false)
	}
	if d, ok := v.(*Dict); ok {
		v = &view{d, 'i'}
	}
	return r.join("&", v, func(_ int, item any) string {
		pair := r.collect(item)
		if len(pair) != 2 {
			r.fail("urlencode needs pairs of key and value")
		}
		key, value := r.str(pair[0]), r.str(pair[1])
		r.alloc(3 * (len(key) + len(value)))
		return quoteURL(key, "", true) + "=" + quoteURL(value, "", true)
	})
}

func intFilter(r *run, v any, a *args) any {
	o := r.bind(a, "int", 0, "default", "base")
	if s, ok := text(v); ok {
		r.step(len(s) / 64)
		if n, ok := parseInt(s, int64(r.int(or(o[1], int64(10)), "base"))); ok {
			return n
		}
		if f, ok := parseFloat(s); ok {
			if n, ok := truncated(f); ok {
				return n
			}
		}
		return or(o[0], int64(0))
	}
	n, ok := number(r.used(v))
	if f, isFloat := n.(float64); isFloat {
		n, ok = truncated(f)
		if !ok && math.IsInf(f, 0) {
			r.fail("cannot convert float infinity to integer")
		}
	}
	if !ok {
		return or(o[0], int64(0))
	}
	return n
}

func floatFilter(r *run, v any, a *args) any {
	o := r.bind(a, "float", 0, "default")
	if s, ok := text(v); ok {
		r.step(len(s) / 64)
		if f, ok := parseFloat(s); ok {
			return f
		}
	} else if n, ok := number(r.used(v)); ok {
		return floatOf(n)
	}
	return or(o[0], 0.0)
}

func absFilter(r *run, v any, a *args) any {
	r.bind(a, "abs", 0)
	n, ok := number(r.used(v))
	if !ok {
		r.fail("bad operand type for abs(): '%s'", typeName(v))
	}
	if f, ok := n.(float64); ok {
		return math.Abs(f)
	}
	return whole(new(big.Int).Abs(bigOf(n)))
}

func roundFilter(r *run, v any, a *args) any {
	o := r.bind(a, "round", 0, "precision", "method")
	digits := r.int(or(o[0], int64(0)), "precision")
	n, ok := number(r.used(v))
	if !ok {
		r.fail("type %s doesn't define __round__ method", typeName(v))
	}
	how := r.str(or(o[1], "common"))
	f := floatOf(n)
	switch {
	case digits > 300 || digits < -300:
		r.fail("the precision of round must be between -300 and 300")
	case how == "common":
		if _, isFloat := n.(float64); !isFloat {
			return r.roundWhole(n, digits)
		}
		if math.IsInf(f, 0) || math.IsNaN(f) || digits > 22 {
			return f
		}
		if digits < 0 {
			scale := math.Pow(10, float64(-digits))
			return math.RoundToEven(f/scale) * scale
		}
		x, _ := strconv.ParseFloat(strconv.FormatFloat(f, 'f', digits, 64), 64)
		return x
	case how == "ceil" || how == "floor":
		if math.IsInf(f, 0) || math.IsNaN(f) {
			r.fail("cannot round %s", floatText(f))
		}
		scale := math.Pow(10, float64(digits))
		if how == "ceil" {
			return math.Ceil(f*scale) / scale
		}
		return math.Floor(f*scale) / scale
	}
	r.fail("method must be common, ceil or floor")
	return nil
}

// roundWhole rounds a whole number to tens, hundreds and so on, halves to even ones.
func (r *run) roundWhole(n any, digits int) any {
	if digits >= 0 {
		return n
	}
	unit := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(-digits)), nil)
	x := bigOf(n)
	q, m := new(big.Int).DivMod(x, unit, new(big.Int))
	twice := new(big.Int).Lsh(m, 1)
	if c := twice.Cmp(unit); c > 0 || c == 0 && q.Bit(0) == 1 {
		q.Add(q, big.NewInt(1))
	}
	return whole(q.Mul(q, unit))
}
