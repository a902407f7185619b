package grammar

import (
	"math/big"
	"slices"
	"strconv"
)

// own is the language of a conjunction of schemas' own keywords.
func (s *schemaMaker) own(list []element) (*expr, error) {
	t := allowed(list)
	if t == typeAny && plain(list) {
		return s.value(), nil
	}
	var kids []*expr
	for _, make := range []struct {
		t    types
		make func([]element) (*expr, error)
	}{
		{typeObject, s.objectOf}, {typeArray, s.arrayOf}, {typeString, s.stringOf},
		{typeInteger, func(l []element) (*expr, error) { return s.numberOf(l, true) }},
		{typeNumber, func(l []element) (*expr, error) { return s.numberOf(l, false) }},
		{typeBoolean, func([]element) (*expr, error) { return alt(text("true"), text("false")), nil }},
		{typeNull, func([]element) (*expr, error) { return text("null"), nil }},
	} {
		if t&make.t == 0 {
			continue
		}
		k, err := make.make(list)
		if err != nil {
			return nil, err
		}
		kids = append(kids, k)
	}
	return alt(kids...), nil
}

// allowed are the types that a conjunction is generated in. Where no schema states a type, those are meant that its keywords
// speak of, which is less than what would be valid.
func allowed(list []element) types {
	t, typed, meant := typeAny, false, types(0)
	for _, e := range list {
		own, has := stated(e.doc)
		t, typed = t.both(own), typed || has
		for _, m := range e.doc.members {
			meant |= keywords[m.name].of
			if m.name == "format" && formats[m.value.text] != "" {
				meant |= typeString
			}
		}
	}
	if !typed && meant != 0 {
		return meant
	}
	return t
}

// plain says that nothing but annotations is there.
func plain(list []element) bool {
	for _, e := range list {
		for _, m := range e.doc.members {
			if keywords[m.name].of != 0 || m.name == "format" && formats[m.value.text] != "" {
				return false
			}
		}
	}
	return true
}

// limits are the least and the most of a count; most -1: any.
func limits(list []element, least, most string) (lo, hi int) {
	hi = -1
	for _, e := range list {
		if d := e.doc.get(least); d != nil {
			n, _ := count(d)
			lo = max(lo, n)
		}
		if d := e.doc.get(most); d != nil {
			if n, _ := count(d); hi < 0 || n < hi {
				hi = n
			}
		}
	}
	return lo, hi
}

// tuple is what the schemas of a conjunction say of an array: the items at its beginning, and the others.
type tuple struct {
	prefix []element
	items  *element
}

func tupleOf(e element) tuple {
	var t tuple
	list := func(word string, d *document) {
		for i, v := range d.list {
			t.prefix = append(t.prefix, element{v, e.at + "/" + word + "/" + strconv.Itoa(i), partAll})
		}
	}
	rest := "items"
	if d := e.doc.get("items"); d != nil && d.kind == '[' { // before the draft of 2020
		list("items", d)
		rest = "additionalItems"
	} else if d := e.doc.get("prefixItems"); d != nil {
		list("prefixItems", d)
	}
	if d := e.doc.get(rest); d != nil {
		t.items = &element{d, child(e.at, rest), partAll}
	}
	return t
}

// at is what holds of the item at a place.
func (t *tuple) at(i int) []element {
	if i < len(t.prefix) {
		return []element{t.prefix[i]}
	}
	if t.items != nil {
		return []element{*t.items}
	}
	return nil
}

// arrayOf is the language of a conjunction's arrays.
func (s *schemaMaker) arrayOf(list []element) (*expr, error) {
	least, most := limits(list, "minItems", "maxItems")
	var tuples []tuple
	width, open := 0, true
	for _, e := range list {
		if u := e.doc.get("uniqueItems"); u != nil && u.yes && (most < 0 || most > 1) {
			return nil, s.fault(child(e.at, "uniqueItems"), "the keyword uniqueItems is not supported; %s", hints["uniqueItems"])
		}
		t := tupleOf(e)
		width = max(width, len(t.prefix))
		if len(t.prefix) > 0 && t.items == nil {
			open = false // what is not spoken of is generated only where it must be
		}
		tuples = append(tuples, t)
	}
	if most >= 0 {
		width = min(width, most)
	}
	item := func(i int) (*expr, error) {
		var all []element
		for _, t := range tuples {
			all = append(all, t.at(i)...)
		}
		if len(all) == 0 {
			return s.value(), nil
		}
		return s.all(all)
	}
	if !open && least <= width {
		most = width
	}
	items := make([]*expr, 0, width)
	for i := range width {
		x, err := item(i)
		if err != nil {
			return nil, err
		}
		if x.op == opNever {
			if most = i; least > i {
				return never, nil
			}
			break
		}
		items = append(items, x)
	}
	var rest *expr
	if most < 0 || most > len(items) {
		x, err := item(width)
		if err != nil {
			return nil, err
		}
		if rest = x; x.op == opNever {
			most = len(items)
		}
	}
	if most >= 0 && least > most {
		return never, nil
	}
	return s.listOf(items, rest, least, most), nil
}

// listOf is an array of certain items, then others.
func (s *schemaMaker) listOf(items []*expr, rest *expr, least, most int) *expr {
	n := len(items)
	if n == 0 {
		if rest == nil {
			most = 0
		}
		return s.list("[", "]", rest, least, most)
	}
	tail := s.space()
	if most < 0 || most > n {
		up := -1
		if most >= 0 {
			up = most - n
		}
		tail = seq(repeat(seq(s.comma(), rest), max(0, least-n), up), tail)
	}
	for i := n - 1; i > 0; i-- {
		if i < least {
			tail = seq(s.comma(), items[i], tail)
		} else {
			tail = alt(s.space(), seq(s.comma(), items[i], tail))
		}
	}
	body := seq(items[0], tail)
	if least == 0 {
		body = maybe(body)
	}
	return seq(text("["), s.space(), body, text("]"))
}

// multiple is a schema's multipleOf as a whole number; 1 if it has none.
func (s *schemaMaker) multiple(e element) (int64, error) {
	d := e.doc.get("multipleOf")
	if d == nil {
		return 1, nil
	}
	r, _ := d.rational()
	if r == nil || !r.IsInt() || r.Sign() <= 0 || r.Num().Cmp(big.NewInt(maxMultiple)) > 0 {
		return 0, s.fault(child(e.at, "multipleOf"), "multipleOf is supported for whole numbers from 1 to %d", maxMultiple)
	}
	return r.Num().Int64(), nil
}

// numberOf is the language of a conjunction's numbers.
func (s *schemaMaker) numberOf(list []element, integer bool) (*expr, error) {
	n := numbers{whole: integer, multiple: 1}
	for _, e := range list {
		for _, word := range []string{"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"} {
			d := e.doc.get(word)
			if d == nil {
				continue
			}
			if d.kind == 'b' { // the draft of OpenAPI 3.0: a flag beside the limit
				continue
			}
			r, ok := d.rational()
			if !ok {
				return nil, s.fault(child(e.at, word), "%s must be a number, with an exponent up to 400", word)
			}
			excluded := word[0] == 'e'
			if !excluded {
				flag := e.doc.get(map[string]string{"minimum": "exclusiveMinimum", "maximum": "exclusiveMaximum"}[word])
				excluded = flag != nil && flag.kind == 'b' && flag.yes
			}
			if excluded && !integer && !short(r) {
				return nil, s.fault(child(e.at, word), "an exclusive limit is supported with up to %d digits", maxDigits)
			}
			if word == "minimum" || word == "exclusiveMinimum" {
				n.raise(bound{r, excluded})
			} else {
				n.lower(bound{r, excluded})
			}
		}
		if f := e.doc.get("format"); f != nil && integer {
			if r, ok := intFormats[f.text]; ok {
				n.raise(bound{new(big.Rat).SetInt64(r[0]), false})
				n.lower(bound{new(big.Rat).SetInt64(r[1]), false})
			}
		}
		m, err := s.multiple(e)
		if err != nil {
			return nil, err
		}
		if n.multiple = lcm(n.multiple, m); n.multiple > maxMultiple {
			return nil, s.fault(child(e.at, "multipleOf"), "all that the number must be a multiple of comes to more than %d", maxMultiple)
		}
		n.whole = n.whole || e.doc.get("multipleOf") != nil
	}
	if n.multiple == 1 && n.low == nil && n.high == nil {
		if n.whole {
			return s.integer(), nil
		}
		return s.number(), nil
	}
	x, ok := n.expr()
	if !ok {
		return nil, s.fault(list[0].at, "numbers of more than %d digits are not supported", mostDigits)
	}
	return x, nil
}

func lcm(a, b int64) int64 {
	x, y := a, b
	for y != 0 {
		x, y = y, x%y
	}
	return a / x * b
}

// intFormats are OpenAPI's; of 64 bits are all integers that are generated.
var intFormats = map[string][2]int64{
	"int32": {-1 << 31, 1<<31 - 1}, "uint32": {0, 1<<32 - 1}, "uint64": {0, 1<<63 - 1},
}

// names are all properties that a conjunction speaks of, in the order of the schemas, those only required last.
func names(list []element) (all []string, required map[string]bool) {
	required = map[string]bool{}
	seen := map[string]bool{}
	add := func(name string) {
		if !seen[name] {
			seen[name] = true
			all = append(all, name)
		}
	}
	for _, e := range list {
		if p := e.doc.get("properties"); p != nil {
			for _, m := range p.members {
				add(m.name)
			}
		}
	}
	for _, e := range list {
		if r := e.doc.get("required"); r != nil {
			for _, v := range r.list {
				required[v.text] = true
				add(v.text)
			}
		}
	}
	return slices.Clip(all), required
}

// others is what a schema says of properties that it does not name; nil: nothing.
func others(e element) *element {
	for _, word := range []string{"additionalProperties", "unevaluatedProperties"} {
		if d := e.doc.get(word); d != nil {
			return &element{d, child(e.at, word), partAll}
		}
	}
	return nil
}

// property is what holds of a property.
func property(list []element, name string) []element {
	var out []element
	for _, e := range list {
		if d := e.doc.get("properties").get(name); d != nil {
			out = append(out, element{d, child(child(e.at, "properties"), name), partAll})
		} else if o := others(e); o != nil {
			out = append(out, *o)
		}
	}
	return out
}
