package grammar

import (
	"math/big"
	"strconv"
)

// validator tells whether constants are valid: those of enum and const, against what stands beside them.
type validator struct {
	s     *schemaMaker
	steps int
	known map[*document]map[string]bool // the keys of a schema's constants
}

// maxSteps bounds the work on constants.
const maxSteps = 1_000_000

func (v *validator) valid(d *document, e element, depth int) (bool, error) {
	if v.steps++; v.steps > maxSteps || depth > maxNesting {
		return false, v.s.fault(e.at, "the constants of the schema are too much to compare with it")
	}
	if e.doc.kind == 'b' {
		return e.doc.yes, nil
	}
	if e.part == partAll {
		if e.doc.kind != '{' {
			return false, v.s.fault(e.at, "a schema must be an object, true or false")
		}
		if err := v.s.check(e); err != nil {
			return false, err
		}
	}
	if e.part == partAll || e.part == partOwn {
		if ok, err := v.own(d, e, depth); !ok || err != nil {
			return false, err
		}
	}
	if e.part == partAll {
		if r := e.doc.get("$ref"); r != nil {
			target, at, err := v.s.resolve(r, e.at+"/$ref")
			if err != nil {
				return false, err
			}
			if ok, err := v.valid(d, element{target, at, partAll}, depth+1); !ok || err != nil {
				return false, err
			}
		}
		if n, all, err := v.count(d, e, "allOf", depth); err != nil || n < all {
			return false, err
		}
	}
	if e.part == partAll || e.part == partAnyOf {
		if n, all, err := v.count(d, e, "anyOf", depth); err != nil || all > 0 && n == 0 {
			return false, err
		}
	}
	if e.part == partAll || e.part == partOneOf {
		if n, all, err := v.count(d, e, "oneOf", depth); err != nil || all > 0 && n != 1 {
			return false, err
		}
	}
	return true, nil
}

// count is how many of a list of schemas hold.
func (v *validator) count(d *document, e element, word string, depth int) (n, all int, err error) {
	list := e.doc.get(word)
	if list == nil {
		return 0, 0, nil
	}
	for i, b := range list.list {
		ok, err := v.valid(d, element{b, e.at + "/" + word + "/" + strconv.Itoa(i), partAll}, depth+1)
		if err != nil {
			return 0, 0, err
		}
		if ok {
			n++
		}
	}
	return n, len(list.list), nil
}

// own looks at a schema's own keywords.
func (v *validator) own(d *document, e element, depth int) (bool, error) {
	t, _ := stated(e.doc)
	var is types
	switch d.kind {
	case 'n':
		is = typeNull
	case 'b':
		is = typeBoolean
	case 's':
		is = typeString
	case '[':
		is = typeArray
	case '{':
		is = typeObject
	case '0':
		is = typeNumber
		if r, ok := d.rational(); ok && r.IsInt() {
			is = typeInteger
		}
	}
	if t.both(is) == 0 {
		return false, nil
	}
	if values := constants(e.doc); values != nil {
		if !v.among(values, e.doc, d) {
			return false, nil
		}
	}
	switch d.kind {
	case 's':
		return v.text(d, e)
	case '0':
		return v.number(d, e)
	case '[':
		return v.list(d, e, depth)
	case '{':
		return v.object(d, e, depth)
	}
	return true, nil
}

// among says whether a value is one of a schema's constants, in a time that does not grow with these: they are tried against
// themselves.
func (v *validator) among(values []*document, schema, d *document) bool {
	keys := v.known[schema]
	if keys == nil {
		keys = make(map[string]bool, len(values))
		for _, c := range values {
			keys[string(c.key(nil))] = true
		}
		if v.known == nil {
			v.known = map[*document]map[string]bool{}
		}
		v.known[schema] = keys
	}
	return keys[string(d.key(nil))]
}

func (v *validator) text(d *document, e element) (bool, error) {
	least, most := limits([]element{e}, "minLength", "maxLength")
	if n := runes(d.text); n < least || most >= 0 && n > most {
		return false, nil
	}
	for _, word := range []string{"pattern", "format"} {
		w := e.doc.get(word)
		if w == nil || word == "format" && formats[w.text] == "" {
			continue
		}
		var x *expr
		var err error
		if word == "pattern" {
			x, err = searched(w.text)
		} else {
			x, err = parseRegex(formats[w.text])
		}
		if f, ok := err.(*fault); ok {
			return false, v.s.fault(child(e.at, word), "%s", f)
		}
		g, ok := toGraph(x)
		if v.steps += len(d.text); !ok {
			return false, v.s.fault(child(e.at, word), "it is too large to compare constants with")
		}
		if v.steps += len(g.edges); !g.matches(d.text) {
			return false, nil
		}
	}
	return true, nil
}

func (v *validator) number(d *document, e element) (bool, error) {
	r, ok := d.rational()
	if !ok {
		return false, v.s.fault(e.at, "the constant %.40s has an exponent beyond 400", d.text)
	}
	for word, sign := range map[string]int{"minimum": -1, "exclusiveMinimum": -1, "maximum": 1, "exclusiveMaximum": 1} {
		w := e.doc.get(word)
		if w == nil || w.kind == 'b' {
			continue
		}
		limit, ok := w.rational()
		if !ok {
			return false, v.s.fault(child(e.at, word), "%s must be a number, with an exponent up to 400", word)
		}
		excluded := word[0] == 'e'
		if flag := e.doc.get("exclusiveM" + word[1:]); flag != nil && flag.kind == 'b' {
			excluded = flag.yes
		}
		if c := r.Cmp(limit); c == sign || c == 0 && excluded {
			return false, nil
		}
	}
	m, err := v.s.multiple(e)
	if err != nil {
		return false, err
	}
	return m == 1 && e.doc.get("multipleOf") == nil || new(big.Rat).Quo(r, new(big.Rat).SetInt64(m)).IsInt(), nil
}

func (v *validator) list(d *document, e element, depth int) (bool, error) {
	least, most := limits([]element{e}, "minItems", "maxItems")
	if n := len(d.list); n < least || most >= 0 && n > most {
		return false, nil
	}
	if u := e.doc.get("uniqueItems"); u != nil && u.yes {
		seen := make(map[string]bool, len(d.list))
		for _, item := range d.list {
			key := string(item.key(nil))
			if seen[key] {
				return false, nil
			}
			seen[key] = true
		}
	}
	t := tupleOf(e)
	for i, item := range d.list {
		for _, holds := range t.at(i) {
			if ok, err := v.valid(item, holds, depth+1); !ok || err != nil {
				return false, err
			}
		}
	}
	return true, nil
}

func (v *validator) object(d *document, e element, depth int) (bool, error) {
	least, most := limits([]element{e}, "minProperties", "maxProperties")
	if n := len(d.members); n < least || most >= 0 && n > most {
		return false, nil
	}
	if r := e.doc.get("required"); r != nil {
		for _, name := range r.list {
			if d.get(name.text) == nil {
				return false, nil
			}
		}
	}
	for _, m := range d.members {
		for _, holds := range property([]element{e}, m.name) {
			if ok, err := v.valid(m.value, holds, depth+1); !ok || err != nil {
				return false, err
			}
		}
	}
	return true, nil
}
