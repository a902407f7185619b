package template

import (
	"strconv"
	"strings"
	"unicode"
)

func lengthFilter(r *run, v any, a *args) any {
	r.bind(a, "length", 0)
	n, ok := r.length(v)
	if !ok {
		r.fail("object of type '%s' has no len()", typeName(v))
	}
	return int64(n)
}

// path is the attribute argument of a filter: names and numbers with dots between them.
func (r *run) path(v any) []any {
	s, ok := text(v)
	if !ok {
		if v == nil || !given(v) {
			return nil
		}
		return []any{v}
	}
	var parts []any
	for _, p := range strings.Split(s, ".") {
		r.step(1)
		if n, err := strconv.ParseInt(p, 10, 64); err == nil && decimal(p[0]) {
			parts = append(parts, n)
		} else {
			parts = append(parts, p)
		}
	}
	return parts
}

// getter gives an item's attribute; without takes the place of what is not there, if it is not nil.
func (r *run) getter(attribute, without any, fold bool) func(any) any {
	parts := r.path(attribute)
	return func(v any) any {
		for _, p := range parts {
			v = r.item(v, p)
			if isUndefined(v) && without != nil && given(without) {
				v = without
			}
		}
		return r.folded(v, fold)
	}
}

// folded is a string in lower case, where case does not matter.
func (r *run) folded(v any, fold bool) any {
	if s, ok := text(v); ok && fold {
		r.alloc(len(s))
		return lower(s)
	}
	return v
}

func joinFilter(r *run, v any, a *args) any {
	o := r.bind(a, "join", 0, "d", "attribute")
	get := r.getter(o[1], nil, false)
	return r.join(r.str(or(o[0], "")), v, func(_ int, item any) string { return r.str(get(item)) })
}

func firstFilter(r *run, v any, a *args) any {
	r.bind(a, "first", 0)
	if item, ok := r.iterate(v)(); ok {
		return item
	}
	return &undefined{hint: "No first item, sequence was empty."}
}

// reversed gives the items of a sequence from its end; ok is false for what is none.
func (r *run) reversed(v any) (at func(i int) any, n int, ok bool) {
	switch v := v.(type) {
	case *list:
		return func(i int) any { return v.items[len(v.items)-1-i] }, len(v.items), true
	case *Dict:
		return func(i int) any { return v.keys[v.Len()-1-i] }, v.Len(), true
	case *view:
		return func(i int) any { return v.get(v.of.Len() - 1 - i) }, v.of.Len(), true
	case *span:
		return func(i int) any { return v.start + (v.len()-1-int64(i))*v.step }, int(v.len()), true
	}
	if s, ok := text(v); ok {
		n := runeCount(s)
		r.alloc(len(s))
		runes := []rune(s)
		return func(i int) any { return like(v, string(runes[n-1-i])) }, n, true
	}
	return nil, 0, false
}

func lastFilter(r *run, v any, a *args) any {
	r.bind(a, "last", 0)
	at, n, ok := r.reversed(r.used(v))
	if !ok {
		r.fail("'%s' object is not reversible", typeName(v))
	}
	if n == 0 {
		return &undefined{hint: "No last item, sequence was empty."}
	}
	return at(0)
}

func reverseFilter(r *run, v any, a *args) any {
	r.bind(a, "reverse", 0)
	at, n, ok := r.reversed(v)
	if !ok {
		items := r.collect(v)
		at, n, _ = r.reversed(&list{items: items})
		made := &list{items: make([]any, n)}
		for i := range n {
			made.items[i] = at(i)
		}
		return made
	}
	if s, ok := text(v); ok {
		var b strings.Builder
		for i := range n {
			t, _ := text(at(i))
			b.WriteString(t)
		}
		r.alloc(len(s))
		return like(v, b.String())
	}
	i := -1
	return &stream{name: "list_reverseiterator", next: func() (any, bool) {
		if i++; i >= n {
			return nil, false
		}
		return at(i), true
	}}
}

func itemsFilter(r *run, v any, a *args) any {
	r.bind(a, "items", 0)
	d, ok := v.(*Dict)
	if !ok && !isUndefined(v) {
		return &stream{name: "generator", next: func() (any, bool) {
			r.fail("Can only get item pairs from a mapping.")
			return nil, false
		}}
	}
	if !ok {
		d = &Dict{}
	}
	return &stream{name: "generator", next: r.iterate(&view{d, 'i'})}
}

func dictSortFilter(r *run, v any, a *args) any {
	o := r.bind(a, "dictsort", 0, "case_sensitive", "by", "reverse")
	d, ok := r.used(v).(*Dict)
	if !ok {
		r.fail("dictsort needs a dict, not %s", typeName(v))
	}
	from := d.keys
	switch by, _ := text(or(o[1], "key")); by {
	case "key":
	case "value":
		from = d.values
	default:
		r.fail(`You can only sort by either "key" or "value"`)
	}
	items, keys := make([]any, d.Len()), make([]any, d.Len())
	r.alloc(64 * d.Len())
	for i := range items {
		items[i] = tuple(d.keys[i], d.values[i])
		keys[i] = r.folded(from[i], !truth(or(o[0], false)))
	}
	return &list{items: r.sorted(items, keys, truth(or(o[2], false)))}
}

func sortFilter(r *run, v any, a *args) any {
	o := r.bind(a, "sort", 0, "reverse", "case_sensitive", "attribute")
	fold := !truth(or(o[1], false))
	attributes := []any{or(o[2], nil)}
	if s, ok := text(attributes[0]); ok {
		attributes = nil
		for _, p := range strings.Split(s, ",") {
			attributes = append(attributes, p)
		}
	}
	var getters []func(any) any
	for _, at := range attributes {
		getters = append(getters, r.getter(at, nil, fold))
	}
	items := r.collect(v)
	keys := make([]any, len(items))
	r.alloc(32 * len(items))
	for i, item := range items {
		key := &list{}
		for _, get := range getters {
			key.items = append(key.items, get(item))
		}
		keys[i] = key
	}
	return &list{items: r.sorted(items, keys, truth(or(o[0], false)))}
}

func uniqueFilter(r *run, v any, a *args) any {
	o := r.bind(a, "unique", 0, "case_sensitive", "attribute")
	get := r.getter(o[1], nil, !truth(or(o[0], false)))
	seen := map[any]bool{}
	next := r.iterate(v)
	return &stream{name: "generator", next: func() (any, bool) {
		for {
			item, ok := next()
			if !ok {
				return nil, false
			}
			if k := r.key(get(item)); !seen[k] {
				r.alloc(32)
				seen[k] = true
				return item, true
			}
		}
	}}
}

func groupFilter(r *run, v any, a *args) any {
	o := r.bind(a, "groupby", 1, "attribute", "default", "case_sensitive")
	fold := !truth(or(o[2], false))
	get, own := r.getter(o[0], o[1], fold), r.getter(o[0], o[1], false)
	items := r.collect(v)
	keys := make([]any, len(items))
	r.alloc(96 * len(items))
	for i, item := range items {
		keys[i] = get(item)
	}
	items, keys = r.sorted(items, keys, false), r.sorted(keys, keys, false)
	made := &list{}
	var group *list
	for i, item := range items {
		if i == 0 || !r.equal(keys[i], keys[i-1]) {
			group = &list{}
			made.items = append(made.items, &list{items: []any{own(item), group}, tuple: true, group: true})
		}
		group.items = append(group.items, item)
	}
	return made
}

// extreme makes the filters min and max.
func extreme(most bool) filter {
	return func(r *run, v any, a *args) any {
		o := r.bind(a, "min or max", 0, "case_sensitive", "attribute")
		get := r.getter(o[1], nil, !truth(or(o[0], false)))
		next := r.iterate(v)
		best, ok := next()
		if !ok {
			return &undefined{hint: "No aggregated item, sequence was empty."}
		}
		bestKey := get(best)
		for {
			item, ok := next()
			if !ok {
				return best
			}
			key := get(item)
			op, x, y := "<", key, bestKey
			if most {
				op = ">"
			}
			if r.compare(op, x, y) {
				best, bestKey = item, key
			}
		}
	}
}

func sumFilter(r *run, v any, a *args) any {
	o := r.bind(a, "sum", 0, "attribute", "start")
	get := r.getter(o[0], nil, false)
	total := or(o[1], int64(0))
	if _, ok := text(total); ok {
		r.fail("sum() can't sum strings [use ''.join(seq) instead]")
	}
	for next := r.iterate(v); ; {
		item, ok := next()
		if !ok {
			return total
		}
		total = r.binary("+", total, get(item))
	}
}

func batchFilter(r *run, v any, a *args) any {
	o := r.bind(a, "batch", 1, "linecount", "fill_with")
	size := r.int(o[0], "linecount")
	next := r.iterate(v)
	done := false
	var held []any // an item that began a batch before its turn
	return &stream{name: "generator", next: func() (any, bool) {
		if done {
			return nil, false
		}
		b := &list{items: held}
		for {
			item, ok := next()
			if !ok {
				done = true
				fill := or(o[1], nil)
				for fill != nil && len(b.items) > 0 && len(b.items) < size {
					r.alloc(48)
					b.items = append(b.items, fill)
				}
				return b, len(b.items) > 0
			}
			r.alloc(48)
			if len(b.items) == size {
				held = []any{item}
				return b, true
			}
			b.items = append(b.items, item)
		}
	}}
}

func sliceFilter(r *run, v any, a *args) any {
	o := r.bind(a, "slice", 1, "slices", "fill_with")
	n := r.int(o[0], "slices")
	items := r.collect(v)
	if n == 0 {
		r.fail("integer division or modulo by zero")
	}
	at, from := -1, 0
	return &stream{name: "generator", next: func() (any, bool) {
		if at++; at >= n {
			return nil, false
		}
		size := len(items) / n
		longer := at < len(items)%n
		if longer {
			size++
		}
		r.alloc(64 + 16*(size+1))
		part := &list{items: append([]any(nil), items[from:from+size]...)}
		from += size
		if fill := or(o[1], nil); fill != nil && !longer {
			part.items = append(part.items, fill)
		}
		return part, true
	}}
}

func mapFilter(r *run, v any, a *args) any {
	if !truth(v) {
		return &stream{name: "generator", next: func() (any, bool) { return nil, false }}
	}
	var do func(any) any
	attribute, ok := a.take("attribute")
	if len(a.pos) == 0 && ok {
		without, _ := a.take("default")
		if len(a.names) > 0 {
			r.fail("Unexpected keyword argument '%s'", a.names[0])
		}
		do = r.getter(attribute, without, false)
	} else {
		if len(a.pos) == 0 {
			r.fail("map requires a filter argument")
		}
		name, _ := text(a.pos[0])
		f := findFilter(name)
		if f == nil {
			r.fail("No filter named '%s'.", name)
		}
		rest := &args{a.pos[1:], a.names, a.values}
		do = func(v any) any { return f(r, v, rest) }
	}
	next := r.iterate(v)
	return &stream{name: "generator", next: func() (any, bool) {
		item, ok := next()
		if !ok {
			return nil, false
		}
		return do(item), true
	}}
}

// selecting makes select, reject, selectattr and rejectattr.
func selecting(attribute, keep bool) filter {
	return func(r *run, v any, a *args) any {
		if !truth(v) {
			return &stream{name: "generator", next: func() (any, bool) { return nil, false }}
		}
		pos := a.pos
		get := func(v any) any { return v }
		if attribute {
			if len(pos) == 0 {
				r.fail("Missing parameter for attribute name")
			}
			get = r.getter(pos[0], nil, false)
			pos = pos[1:]
		}
		test := func(v any) bool { return truth(v) }
		if len(pos) > 0 {
			name, _ := text(pos[0])
			f := findTest(name)
			if f == nil {
				r.fail("No test named '%s'.", name)
			}
			rest := &args{pos[1:], a.names, a.values}
			test = func(v any) bool { return truth(f(r, v, rest)) }
		}
		next := r.iterate(v)
		return &stream{name: "generator", next: func() (any, bool) {
			for {
				item, ok := next()
				if !ok {
					return nil, false
				}
				if test(get(item)) == keep {
					return item, true
				}
			}
		}}
	}
}

func xmlFilter(r *run, v any, a *args) any {
	o := r.bind(a, "xmlattr", 0, "autospace")
	d, ok := r.used(v).(*Dict)
	if !ok {
		r.fail("xmlattr needs a dict, not %s", typeName(v))
	}
	var parts []string
	for i, k := range d.keys {
		if d.values[i] == nil || isUndefined(d.values[i]) {
			continue
		}
		name := r.string(k, "a key of xmlattr")
		if strings.ContainsAny(name, " \t\n\r\f\v/>=") {
			r.fail("Invalid character in attribute name: %s", r.repr(nil, k))
		}
		parts = append(parts, string(r.escape(k))+`="`+string(r.escape(d.values[i]))+`"`)
	}
	s := strings.Join(parts, " ")
	if s != "" && truth(or(o[0], true)) {
		s = " " + s
	}
	return s
}

// stripTagsFilter takes comments and tags out, resolves the entities that escape makes, and leaves one space for white space.
func stripTagsFilter(r *run, v any, a *args) any {
	r.bind(a, "striptags", 0)
	s := r.str(v)
	r.alloc(2 * len(s))
	for _, pair := range [][2]string{{"<!--", "-->"}, {"<", ">"}} {
		var b strings.Builder
		for {
			start := strings.Index(s, pair[0])
			if start < 0 {
				break
			}
			end := strings.Index(s[start:], pair[1])
			if end < 0 {
				break
			}
			b.WriteString(s[:start])
			s = s[start+end+len(pair[1]):]
		}
		s = b.String() + s
	}
	s = strings.Join(strings.FieldsFunc(s, unicode.IsSpace), " ")
	return strings.NewReplacer("&amp;", "&", "&lt;", "<", "&gt;", ">", "&#39;", "'", "&#34;", `"`, "&quot;", `"`).Replace(s)
}
