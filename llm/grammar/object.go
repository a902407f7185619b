package grammar

import (
	"slices"
	"unicode/utf8"
)

// entry is a property of an object: its name and value as text.
type entry struct {
	expr     *expr
	required bool
}

// objectOf is the language of a conjunction's objects. Properties come in the order of the schema; others after them, where
// additionalProperties says that there may be others, or where the schema names no property at all.
func (s *schemaMaker) objectOf(list []element) (*expr, error) {
	all, required := names(list)
	least, most := limits(list, "minProperties", "maxProperties")
	var entries []entry
	needed := 0
	for _, name := range all {
		holds := property(list, name)
		value := s.value()
		if len(holds) > 0 {
			var err error
			if value, err = s.all(holds); err != nil {
				return nil, err
			}
		}
		if value.op == opNever {
			if required[name] {
				return never, nil
			}
			continue
		}
		if required[name] {
			needed++
		}
		entries = append(entries, entry{seq(text(`"`), jsonText(name), text(`"`), s.colon(), value), required[name]})
	}
	other, err := s.otherEntry(list, all)
	if err != nil {
		return nil, err
	}
	if most >= 0 && (needed > most || least > most) {
		return never, nil
	}
	if len(entries) == 0 {
		switch {
		case other.op == opNever && least > 0:
			return never, nil
		case least > 1:
			return nil, s.fault(list[0].at, "minProperties over 1 is not supported where names are free: a name could come twice")
		case other.op == opNever:
			most = 0
		}
		return s.list("{", "}", other, least, most), nil
	}
	if most >= 0 && (most < len(entries) || other.op != opNever) {
		if most > needed {
			return nil, s.fault(list[0].at, "maxProperties is supported only where it is the number of required properties, or all properties are free")
		}
		entries = slices.DeleteFunc(entries, func(e entry) bool { return !e.required })
		other = never
	}
	switch {
	case least <= needed:
		least = 0
	case least == 1:
	case other.op == opNever && least == len(entries):
		for i := range entries {
			entries[i].required = true
		}
	case other.op == opNever && least > len(entries):
		return never, nil
	default:
		return nil, s.fault(list[0].at, "minProperties is supported only as 1, as the number of required properties, or as that of all properties")
	}
	return s.members(entries, other, least == 1), nil
}

// maxName bounds how deep the tree of names is.
const maxName = 1024

// otherEntry is a property with a name that the schemas do not speak of; never, if there is none.
func (s *schemaMaker) otherEntry(list []element, all []string) (*expr, error) {
	var holds []element
	for _, e := range list {
		if o := others(e); o != nil {
			holds = append(holds, *o)
		}
	}
	if len(holds) == 0 {
		if len(all) > 0 {
			return never, nil
		}
		return seq(s.str(), s.colon(), s.value()), nil
	}
	value, err := s.all(holds)
	if err != nil || value.op == opNever {
		return never, err
	}
	name := s.str()
	if len(all) > 0 {
		for _, n := range all {
			if len(n) > maxName {
				return nil, s.fault(list[0].at, "names of properties over %d bytes are not supported beside additionalProperties", maxName)
			}
		}
		name = s.nameExcept(all)
	}
	return seq(name, s.colon(), value), nil
}

// members joins entries with commas, in order. A rule for what follows each optional entry keeps the grammar small.
func (s *schemaMaker) members(entries []entry, other *expr, some bool) *expr {
	rest := empty
	if other.op != opNever {
		rest = star(seq(s.comma(), other))
	}
	rest = seq(rest, s.space())
	tails := make([]*expr, len(entries)+1)
	tails[len(entries)] = rest
	first := slices.IndexFunc(entries, func(e entry) bool { return e.required })
	for i := len(entries) - 1; i > 0; i-- {
		one := seq(s.comma(), entries[i].expr)
		if !entries[i].required {
			one = maybe(one)
		}
		tails[i] = seq(one, tails[i+1])
		if first != 0 && (first < 0 || i <= first+1) {
			id := s.maker.rule("members", "", false)
			s.maker.rules[id].body = tails[i]
			tails[i] = call(id)
		}
	}
	var starts []*expr
	for i, e := range entries {
		starts = append(starts, seq(e.expr, tails[i+1]))
		if e.required {
			return seq(text("{"), s.space(), alt(starts...), text("}"))
		}
	}
	if other.op != opNever {
		starts = append(starts, seq(other, rest))
	}
	if !some {
		starts = append(starts, empty)
	}
	return seq(text("{"), s.space(), alt(starts...), text("}"))
}

// nameExcept is a string that is none of the names. Each character has one spelling in it, so that no other spelling of a name
// gets through.
func (s *schemaMaker) nameExcept(names []string) *expr {
	id := s.maker.rule("name", "", false)
	s.maker.rules[id].body = star(jsonName(anyRune()))
	sorted := slices.Clone(names)
	slices.Sort(sorted)
	return seq(text(`"`), except(sorted, call(id)), text(`"`))
}

// jsonName is a character of a set in its one spelling.
func jsonName(s set) *expr {
	return alt(class(s.and(unescaped)), jsonChar(s.minus(unescaped)))
}

// except is a text that is none of the sorted names: it leaves their tree somewhere, or ends inside it.
func except(names []string, any *expr) *expr {
	var kids []*expr
	if len(names) == 0 || names[0] != "" {
		kids = append(kids, empty)
	} else {
		names = names[1:]
	}
	var next []span
	for len(names) > 0 {
		r, n := utf8.DecodeRuneInString(names[0])
		end := 0
		var tails []string
		for end < len(names) {
			c, _ := utf8.DecodeRuneInString(names[end])
			if c != r {
				break
			}
			tails = append(tails, names[end][n:])
			end++
		}
		next = append(next, span{r, r})
		kids = append(kids, seq(jsonName(one(r)), except(tails, any)))
		names = names[end:]
	}
	kids = append(kids, seq(jsonName(makeSet(next...).not()), any))
	return alt(kids...)
}
