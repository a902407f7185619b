package template

import (
	"slices"
	"strings"
	"unicode"
)

// pythonAttr is an attribute that a value's Python type has: a method, or a field of jinja's own objects. What the immutable
// sandbox refuses is undefined.
func (r *run) pythonAttr(v any, name string) (any, bool) {
	if strings.HasPrefix(name, "__") && strings.HasSuffix(name, "__") {
		return unsafe(v, name), true
	}
	switch v := v.(type) {
	case string, markup:
		m, ok := textMethods[name]
		if name == "format" { // which reads attributes in turn
			m, ok = func(r *run, s string, of any, a *args) any { return r.format(s, of, a) }, true
		}
		if !ok {
			return nil, false
		}
		s, _ := text(v)
		return &function{name, func(r *run, a *args) any { return marked(v, m(r, s, v, a)) }}, true
	case *Dict:
		return dictAttr(v, name)
	case *list:
		return listAttr(v, name)
	case *function:
		if v.name == "dict" && name == "fromkeys" {
			return &function{name, fromKeys}, true
		}
	case *loop:
		return v.attr(name)
	case *stepper:
		return v.attr(name)
	case *macro:
		switch name {
		case "name":
			return v.decl.name, true
		case "arguments":
			made := &list{tuple: true}
			for _, p := range v.decl.params {
				made.items = append(made.items, p)
			}
			return made, true
		}
	case *span:
		switch name {
		case "start":
			return v.start, true
		case "stop":
			return v.stop, true
		case "step":
			return v.step, true
		}
	}
	return nil, false
}

func unsafe(v any, name string) any {
	return &undefined{name: name, hint: "access to attribute '" + name + "' of '" + typeName(v) + "' object is unsafe."}
}

// marked marks the strings that a method of a markup gives.
func marked(of, v any) any {
	if _, ok := of.(markup); !ok {
		return v
	}
	switch v := v.(type) {
	case string:
		return markup(v)
	case *list:
		for i := range v.items { // made by the method: nobody else has it
			v.items[i] = marked(of, v.items[i])
		}
	}
	return v
}

func dictAttr(d *Dict, name string) (any, bool) {
	view1 := func(what byte) (any, bool) {
		return &function{name, func(r *run, a *args) any { r.bind(a, name, 0); return &view{d, what} }}, true
	}
	switch name {
	case "keys":
		return view1('k')
	case "values":
		return view1('v')
	case "items":
		return view1('i')
	case "get":
		return &function{name, func(r *run, a *args) any {
			o := r.bind(a, "get", 1, "key", "default")
			if v, ok := d.at(r.key(o[0])); ok {
				return v
			}
			return or(o[1], nil)
		}}, true
	case "copy":
		return &function{name, func(r *run, a *args) any { r.bind(a, name, 0); return d }}, true
	case "clear", "pop", "popitem", "setdefault", "update":
		return unsafe(d, name), true
	case "fromkeys":
		return &function{name, fromKeys}, true
	}
	return nil, false
}

func fromKeys(r *run, a *args) any {
	o := r.bind(a, "fromkeys", 1, "iterable", "value")
	d := &Dict{}
	for _, k := range r.collect(o[0]) {
		r.alloc(64)
		d.set(r.key(k), k, or(o[1], nil))
	}
	return d
}

func listAttr(l *list, name string) (any, bool) {
	switch name {
	case "index":
		return &function{name, func(r *run, a *args) any {
			o := r.bind(a, "index", 1, "value", "start", "stop")
			from, _, n := r.bounds(&sliced{start: or(o[1], nil), stop: or(o[2], nil)}, len(l.items))
			for i := range n {
				if r.equal(l.items[from+i], o[0]) {
					return int64(from + i)
				}
			}
			r.fail("%s is not in list", r.repr(nil, o[0]))
			return nil
		}}, true
	case "count":
		return &function{name, func(r *run, a *args) any {
			o := r.bind(a, "count", 1, "value")
			n := int64(0)
			for _, item := range l.items {
				if r.equal(item, o[0]) {
					n++
				}
			}
			return n
		}}, true
	}
	if l.tuple {
		if l.group && name == "grouper" {
			return l.items[0], true
		}
		if l.group && name == "list" {
			return l.items[1], true
		}
		return nil, false
	}
	switch name {
	case "copy":
		return &function{name, func(r *run, a *args) any { r.bind(a, name, 0); return l }}, true
	case "append", "clear", "extend", "insert", "pop", "remove", "reverse", "sort":
		return unsafe(l, name), true
	}
	return nil, false
}

// textMethod is a method of str: s is the string, of the value that it is a method of.
type textMethod func(r *run, s string, of any, a *args) any

// plain is a method without arguments.
func plain(f func(string) string) textMethod {
	return func(r *run, s string, _ any, a *args) any {
		r.bind(a, "this method", 0)
		r.alloc(2 * len(s))
		return f(s)
	}
}

// every is a method that asks whether all characters, and at least one, are of a kind.
func every(f func(rune) bool) textMethod {
	return func(r *run, s string, _ any, a *args) any {
		r.bind(a, "this method", 0)
		r.step(len(s) / 8)
		return s != "" && strings.IndexFunc(s, func(c rune) bool { return !f(c) }) < 0
	}
}

// textMethods are never changed.
var textMethods = map[string]textMethod{
	"upper":      plain(upper),
	"lower":      plain(lower),
	"casefold":   plain(func(s string) string { return lower(strings.ReplaceAll(s, "ß", "ss")) }),
	"title":      plain(title),
	"capitalize": plain(capitalize),
	"swapcase": plain(func(s string) string {
		return strings.Map(func(c rune) rune {
			if unicode.IsUpper(c) {
				return unicode.ToLower(c)
			}
			return unicode.ToUpper(c)
		}, s)
	}),
	"isupper":   func(r *run, s string, _ any, _ *args) any { return isUpper(s, false) },
	"islower":   func(r *run, s string, _ any, _ *args) any { return isUpper(s, true) },
	"isspace":   every(isSpace),
	"isalpha":   every(unicode.IsLetter),
	"isdigit":   every(unicode.IsDigit),
	"isdecimal": every(unicode.IsDigit),
	"isnumeric": every(unicode.IsNumber),
	"isalnum":   every(func(c rune) bool { return unicode.IsLetter(c) || unicode.IsNumber(c) }),
	"isascii":   func(r *run, s string, _ any, _ *args) any { return ascii(s) },
	"isprintable": func(r *run, s string, _ any, _ *args) any {
		return strings.IndexFunc(s, func(c rune) bool { return !unicode.IsPrint(c) }) < 0
	},
	"strip":        strip(true, true),
	"lstrip":       strip(true, false),
	"rstrip":       strip(false, true),
	"split":        split(false),
	"rsplit":       split(true),
	"splitlines":   linesMethod,
	"partition":    partition(strings.Index, false),
	"rpartition":   partition(strings.LastIndex, true),
	"startswith":   affix(strings.HasPrefix),
	"endswith":     affix(strings.HasSuffix),
	"removeprefix": func(r *run, s string, _ any, a *args) any { return strings.TrimPrefix(s, r.one(a, "removeprefix")) },
	"removesuffix": func(r *run, s string, _ any, a *args) any { return strings.TrimSuffix(s, r.one(a, "removesuffix")) },
	"replace":      replaceMethod,
	"join":         joinMethod,
	"find":         find("find", strings.Index),
	"rfind":        find("rfind", strings.LastIndex),
	"index":        find("index", strings.Index),
	"rindex":       find("rindex", strings.LastIndex),
	"count":        find("count", strings.Count),
	"center":       pad('c'),
	"ljust":        pad('l'),
	"rjust":        pad('r'),
	"zfill":        zfill,
}

// one is the only argument of a method, a string.
func (r *run) one(a *args, what string) string {
	return r.string(r.bind(a, what, 1, "text")[0], "the argument of "+what)
}

func strip(left, right bool) textMethod {
	return func(r *run, s string, _ any, a *args) any {
		o := r.bind(a, "strip", 0, "chars")
		before := len(s)
		cutset := isSpace
		if given(o[0]) && o[0] != nil {
			chars := r.string(o[0], "the argument of strip")
			cutset = func(c rune) bool {
				r.step(1 + len(chars)/64)
				return strings.ContainsRune(chars, c)
			}
		}
		if left {
			s = strings.TrimLeftFunc(s, cutset)
		}
		if right {
			s = strings.TrimRightFunc(s, cutset)
		}
		r.step((before - len(s)) / 8)
		return s
	}
}

// split is str.split and, from the right, str.rsplit.
func split(right bool) textMethod {
	return func(r *run, s string, _ any, a *args) any {
		o := r.bind(a, "split", 0, "sep", "maxsplit")
		most := r.int(or(o[1], int64(-1)), "maxsplit")
		var parts []string
		if given(o[0]) && o[0] != nil {
			sep := r.string(o[0], "sep")
			if sep == "" {
				r.fail("empty separator")
			}
			parts = splitBy(s, sep, most, right)
		} else {
			parts = splitSpace(s, most, right)
		}
		r.alloc(48*len(parts) + len(s)/16)
		made := &list{items: make([]any, len(parts))}
		for i, p := range parts {
			made.items[i] = p
		}
		return made
	}
}

func splitBy(s, sep string, most int, right bool) []string {
	if most < 0 {
		return strings.Split(s, sep)
	}
	if !right {
		return strings.SplitN(s, sep, most+1)
	}
	var parts []string
	for ; most > 0; most-- {
		i := strings.LastIndex(s, sep)
		if i < 0 {
			break
		}
		parts = append(parts, s[i+len(sep):])
		s = s[:i]
	}
	parts = append(parts, s)
	slices.Reverse(parts)
	return parts
}

func splitSpace(s string, most int, right bool) []string {
	if most < 0 {
		return strings.FieldsFunc(s, isSpace)
	}
	var parts []string
	if !right {
		for s = strings.TrimLeftFunc(s, isSpace); s != ""; most-- {
			i := strings.IndexFunc(s, isSpace)
			if most == 0 || i < 0 {
				return append(parts, s)
			}
			parts = append(parts, s[:i])
			s = strings.TrimLeftFunc(s[i:], isSpace)
		}
		return parts
	}
	for s = strings.TrimRightFunc(s, isSpace); s != ""; most-- {
		i := strings.LastIndexFunc(s, isSpace)
		if most == 0 || i < 0 {
			parts = append(parts, s)
			break
		}
		parts = append(parts, s[i+runeLen(s[i:]):])
		s = strings.TrimRightFunc(s[:i], isSpace)
	}
	slices.Reverse(parts)
	return parts
}

func linesMethod(r *run, s string, _ any, a *args) any {
	o := r.bind(a, "splitlines", 0, "keepends")
	lines := splitLines(s, given(o[0]) && truth(o[0]))
	r.alloc(48*len(lines) + len(s)/8)
	made := &list{items: make([]any, len(lines))}
	for i, l := range lines {
		made.items[i] = l
	}
	return made
}

func partition(index func(s, sep string) int, last bool) textMethod {
	return func(r *run, s string, _ any, a *args) any {
		sep := r.one(a, "partition")
		if sep == "" {
			r.fail("empty separator")
		}
		r.step(len(s) / 64)
		i := index(s, sep)
		switch {
		case i >= 0:
			return tuple(s[:i], sep, s[i+len(sep):])
		case last:
			return tuple("", "", s)
		}
		return tuple(s, "", "")
	}
}

func affix(has func(s, part string) bool) textMethod {
	return func(r *run, s string, _ any, a *args) any {
		o := r.bind(a, "startswith or endswith", 1, "text", "start", "stop")
		if given(o[1]) || given(o[2]) {
			n := runeCount(s)
			from, _, count := r.bounds(&sliced{start: or(o[1], nil), stop: or(o[2], nil)}, n)
			r.step(len(s) / 16)
			s = cut(s, from, from+count)
		}
		parts := []any{o[0]}
		if l, ok := o[0].(*list); ok && l.tuple {
			parts = l.items
		}
		for _, p := range parts {
			r.step(1)
			if has(s, r.string(p, "the argument of startswith or endswith")) {
				return true
			}
		}
		return false
	}
}

func replaceMethod(r *run, s string, of any, a *args) any {
	o := r.bind(a, "replace", 2, "old", "new", "count")
	with := o[1]
	if _, ok := of.(markup); ok {
		with = r.escape(with)
	}
	return r.replace(s, r.string(o[0], "old"), r.string(with, "new"), r.int(or(o[2], int64(-1)), "count"))
}

func (r *run) replace(s, old, with string, count int) string {
	n := strings.Count(s, old)
	if count >= 0 {
		n = min(n, count)
	}
	if n == 0 {
		r.step(len(s) / 64)
		return s
	}
	r.alloc(min(len(s)+n*max(len(with)-len(old), -len(s)), maxAlloc+1))
	return strings.Replace(s, old, with, n)
}

func joinMethod(r *run, s string, of any, a *args) any {
	o := r.bind(a, "join", 1, "iterable")
	_, marks := of.(markup)
	return r.join(s, o[0], func(i int, v any) string {
		if marks {
			return string(r.escape(v))
		}
		t, ok := text(v)
		if !ok {
			r.fail("sequence item %d: expected str instance, %s found", i, typeName(v))
		}
		return t
	})
}

// join joins the texts of a value's items.
func (r *run) join(sep string, over any, str func(int, any) string) string {
	var b strings.Builder
	for i, next := 0, r.iterate(over); ; i++ {
		v, ok := next()
		if !ok {
			return b.String()
		}
		t := str(i, v)
		r.alloc(2 * (len(t) + len(sep)))
		if i > 0 {
			b.WriteString(sep)
		}
		b.WriteString(t)
	}
}

// find is a method that looks for a text between two places.
func find(name string, look func(s, sub string) int) textMethod {
	return func(r *run, s string, _ any, a *args) any {
		o := r.bind(a, name, 1, "sub", "start", "stop")
		sub := r.string(o[0], "the argument of "+name)
		r.step(len(s) / 16)
		n := runeCount(s)
		from, _, count := r.bounds(&sliced{start: or(o[1], nil), stop: or(o[2], nil)}, n)
		part := cut(s, from, from+count)
		beyond := given(o[1]) && o[1] != nil && r.int(o[1], "start") > n
		i := look(part, sub)
		switch {
		case name == "count":
			if beyond {
				return int64(0)
			}
			return int64(i)
		case i >= 0 && !beyond:
			return int64(from + runeCount(part[:i]))
		case name == "index" || name == "rindex":
			r.fail("substring not found")
		}
		return int64(-1)
	}
}

// pad fills a string up to a width, on both sides, the right (ljust) or the left (rjust).
func pad(side byte) textMethod {
	return func(r *run, s string, _ any, a *args) any {
		o := r.bind(a, "center, ljust or rjust", 1, "width", "fillchar")
		return r.fill(s, r.int(o[0], "width"), r.string(or(o[1], " "), "fillchar"), side)
	}
}

func (r *run) fill(s string, width int, with string, side byte) string {
	n := width - runeCount(s)
	if runeCount(with) != 1 {
		r.fail("the fill character must be exactly one character long")
	}
	if n <= 0 {
		return s
	}
	r.alloc(n*len(with) + len(s))
	left := 0
	switch side {
	case 'r':
		left = n
	case 'c':
		left = n/2 + n&width&1
	case '^': // as format specifications centre
		left = n / 2
	}
	return strings.Repeat(with, left) + s + strings.Repeat(with, n-left)
}

func zfill(r *run, s string, _ any, a *args) any {
	o := r.bind(a, "zfill", 1, "width")
	n := r.int(o[0], "width") - runeCount(s)
	if n <= 0 {
		return s
	}
	r.alloc(n + len(s))
	if s != "" && (s[0] == '-' || s[0] == '+') {
		return s[:1] + strings.Repeat("0", n) + s[1:]
	}
	return strings.Repeat("0", n) + s
}
