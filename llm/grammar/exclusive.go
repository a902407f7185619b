package grammar

import "math/big"

// exclusive refuses a oneOf unless what is generated for each branch is surely invalid for the others.
func (s *schemaMaker) exclusive(e element, rest, branches []element) error {
	d := &disjunction{s: s, v: &validator{s: s}}
	for i, a := range branches {
		for j, b := range branches {
			if i == j {
				continue
			}
			apart, err := d.apart(append(append([]element(nil), rest...), a), []element{b}, 0)
			if err != nil {
				return err
			}
			if !apart {
				return s.fault(e.at+"/oneOf", "the branches %d and %d may both hold, and only one may; use anyOf, or give each branch a required property with another const", min(i, j), max(i, j))
			}
		}
	}
	return nil
}

// disjunction tells schemas apart.
type disjunction struct {
	s *schemaMaker
	v *validator
}

// open returns the parts of a conjunction.
func (d *disjunction) open(list []element) (*flattener, error) {
	f := &flattener{s: d.s, open: map[string]bool{}, seen: map[string]bool{}}
	for _, e := range list {
		if err := f.add(e); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// apart says that nothing generated for the conjunction a is valid for b. When in doubt it says no.
func (d *disjunction) apart(a, b []element, depth int) (bool, error) {
	if d.v.steps++; d.v.steps > maxSteps || depth > 8 {
		return false, nil
	}
	fa, err := d.open(a)
	if err != nil {
		return false, err
	}
	fb, err := d.open(b)
	if err != nil {
		return false, err
	}
	if fa.never || fb.never {
		return true, nil
	}
	// Alternatives on either side: each must be apart.
	for side, f := range []*flattener{fa, fb} {
		for i, e := range f.out {
			if e.part == partOwn {
				continue
			}
			word := "anyOf"
			if e.part == partOneOf {
				word = "oneOf"
			}
			for k, branch := range e.doc.get(word).list {
				list := append(append(append([]element(nil), f.out[:i]...), f.out[i+1:]...), element{branch, e.at + "/" + word + "/" + itoa(k), partAll})
				pair := [2][]element{fa.out, fb.out}
				pair[side] = list
				if ok, err := d.apart(pair[0], pair[1], depth+1); !ok || err != nil {
					return false, err
				}
			}
			return true, nil
		}
	}
	for _, e := range fa.out {
		if values := constants(e.doc); values != nil {
			return d.constantsApart(values, fa.out, fb.out)
		}
	}
	for _, e := range fb.out {
		if values := constants(e.doc); values != nil {
			return d.constantsApart(values, fa.out, fb.out)
		}
	}
	common := allowed(fa.out).both(valid(fb.out))
	for _, t := range []struct {
		t  types
		of func(a, b []element, depth int) (bool, error)
	}{
		{typeNull, d.never}, {typeBoolean, d.never}, {typeString, d.lengthsApart}, {typeNumber | typeInteger, d.numbersApart},
		{typeArray, d.itemsApart}, {typeObject, d.objectsApart},
	} {
		if common&t.t == 0 {
			continue
		}
		if ok, err := t.of(fa.out, fb.out, depth); !ok || err != nil {
			return false, err
		}
	}
	return true, nil
}

// valid are the types that a conjunction holds for.
func valid(list []element) types {
	t := typeAny
	for _, e := range list {
		own, _ := stated(e.doc)
		t = t.both(own)
	}
	return t
}

func (d *disjunction) never([]element, []element, int) (bool, error) { return false, nil }

// constantsApart says that none of the values is valid for both.
func (d *disjunction) constantsApart(values []*document, a, b []element) (bool, error) {
	for _, value := range values {
		all := true
		for _, e := range append(append([]element(nil), a...), b...) {
			ok, err := d.v.valid(value, e, 0)
			if err != nil {
				return false, err
			}
			all = all && ok
		}
		if all {
			return false, nil
		}
	}
	return true, nil
}

func countsApart(a, b []element, least, most string) bool {
	la, ha := limits(a, least, most)
	lb, hb := limits(b, least, most)
	return ha >= 0 && ha < lb || hb >= 0 && hb < la
}

func (d *disjunction) lengthsApart(a, b []element, _ int) (bool, error) {
	if countsApart(a, b, "minLength", "maxLength") {
		return true, nil
	}
	parts := func(list []element) []*expr {
		var out []*expr
		for _, e := range list {
			if p := e.doc.get("pattern"); p != nil {
				if x, err := searched(p.text); err == nil {
					out = append(out, x)
				}
			}
		}
		return out
	}
	pa, pb := parts(a), parts(b)
	if len(pa) == 0 || len(pb) == 0 {
		return false, nil
	}
	g, ok := intersect(append(pa, pb...))
	return ok && g == nil, nil
}

func (d *disjunction) itemsApart(a, b []element, _ int) (bool, error) {
	return countsApart(a, b, "minItems", "maxItems"), nil
}

func (d *disjunction) numbersApart(a, b []element, _ int) (bool, error) {
	edge := func(list []element) (lo, hi *big.Rat, openLo, openHi bool) {
		n := numbers{multiple: 1}
		for _, e := range list {
			for _, word := range []string{"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"} {
				w := e.doc.get(word)
				if w == nil {
					continue
				}
				r, ok := w.rational()
				if !ok {
					continue
				}
				b := bound{r, word[0] == 'e'}
				if word == "minimum" || word == "exclusiveMinimum" {
					n.raise(b)
				} else {
					n.lower(b)
				}
			}
		}
		if n.low != nil {
			lo, openLo = n.low.value, n.low.excluded
		}
		if n.high != nil {
			hi, openHi = n.high.value, n.high.excluded
		}
		return lo, hi, openLo, openHi
	}
	la, ha, ola, oha := edge(a)
	lb, hb, olb, ohb := edge(b)
	below := func(hi, lo *big.Rat, open bool) bool {
		return hi != nil && lo != nil && (hi.Cmp(lo) < 0 || hi.Cmp(lo) == 0 && open)
	}
	return below(ha, lb, oha || olb) || below(hb, la, ohb || ola), nil
}

// objectsApart looks for a property that tells the objects apart.
func (d *disjunction) objectsApart(a, b []element, depth int) (bool, error) {
	if countsApart(a, b, "minProperties", "maxProperties") {
		return true, nil
	}
	namesA, requiredA := names(a)
	_, requiredB := names(b)
	more := len(namesA) == 0 // whether objects of a have properties that a does not speak of
	for _, e := range a {
		if o := others(e); o != nil && !(o.doc.kind == 'b' && !o.doc.yes) {
			more = true
		}
	}
	known := map[string]bool{}
	for _, name := range namesA {
		known[name] = true
	}
	for name := range requiredB {
		if !known[name] && !more {
			return true, nil
		}
	}
	for _, name := range namesA {
		if !requiredA[name] {
			continue
		}
		inA, inB := property(a, name), property(b, name)
		if len(inB) == 0 {
			continue
		}
		if ok, err := d.apart(inA, inB, depth+1); ok || err != nil {
			return ok, err
		}
	}
	return false, nil
}
