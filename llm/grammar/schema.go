package grammar

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// maxSchemas is how many different conjunctions of schemas one source may come to, and maxBranches how many alternatives.
const (
	maxSchemas  = 5_000
	maxBranches = 20_000
)

// schemaMaker turns a JSON Schema into rules. Everything is a conjunction: a list of schemas which all must hold. So $ref with
// neighbours, allOf, and properties that two schemas speak of need no rule of their own.
type schemaMaker struct {
	*maker
	root     *document
	where    string // place of the whole schema in what it is embedded in
	rules    map[string]int
	doing    map[string]bool
	branches int
	conflict string // the first place where nothing fits
}

// part says which keywords of a schema an element stands for: all of them, or all but those that combine schemas, or the
// alternatives alone.
type part byte

const (
	partAll   part = 'a'
	partOwn   part = 'o'
	partAnyOf part = 'y'
	partOneOf part = '1'
)

// element is a schema, or a part of one, in a conjunction.
type element struct {
	doc  *document
	at   string // JSON pointer
	part part
}

func keyOf(list []element) string {
	var b strings.Builder
	for _, e := range list {
		b.WriteString(e.at)
		b.WriteByte(0)
		b.WriteByte(byte(e.part))
	}
	return b.String()
}

// schema returns the language of the JSON texts that are valid, as far as it can be held to; anything else is an error that
// names the place.
func (m *maker) schema(source []byte, place string) (*expr, error) {
	doc, err := readDocument(source)
	if f, ok := err.(*fault); ok && place != "" {
		return nil, faultf(place, "%s", f)
	}
	if err != nil {
		return nil, err
	}
	s := &schemaMaker{maker: m, root: doc, where: place, rules: map[string]int{}, doing: map[string]bool{}}
	e, err := s.all([]element{{doc, "#", partAll}})
	if err != nil {
		return nil, err
	}
	if e.op == opNever {
		if s.conflict == "" {
			s.conflict = "#"
		}
		return nil, s.fault(s.conflict, "no value fits; the schema contradicts itself here")
	}
	return e, nil
}

func (s *schemaMaker) fault(at, format string, args ...any) *fault {
	if s.where != "" {
		at = s.where + ", " + at
	}
	return faultf(at, format, args...)
}

// all is the language of a conjunction. Each has one rule, so schemas may be recursive.
func (s *schemaMaker) all(list []element) (*expr, error) {
	key := keyOf(list)
	if id, ok := s.rules[key]; ok {
		if body := s.maker.rules[id].body; body.op == opNever && !s.doing[key] {
			return never, nil
		}
		return call(id), nil
	}
	if len(s.rules) >= maxSchemas {
		return nil, s.fault(list[0].at, "the schema comes to more than %d combinations of schemas; flatten its allOf and anyOf", maxSchemas)
	}
	id := s.maker.rule(list[0].at, "", false)
	s.rules[key], s.doing[key] = id, true
	body, err := s.body(list)
	if err != nil {
		return nil, err
	}
	delete(s.doing, key)
	s.maker.rules[id].body = body
	if body.op == opNever {
		if s.conflict == "" {
			s.conflict = list[len(list)-1].at
		}
		return never, nil
	}
	return call(id), nil
}

// body takes a conjunction apart: references and allOf are opened, constants are tried, alternatives are distributed.
func (s *schemaMaker) body(list []element) (*expr, error) {
	f := &flattener{s: s, open: map[string]bool{}, seen: map[string]bool{}}
	for _, e := range list {
		if err := f.add(e); err != nil {
			return nil, err
		}
	}
	if f.never {
		return never, nil
	}
	flat := f.out
	for _, e := range flat {
		if e.part != partOwn {
			continue
		}
		if values := constants(e.doc); values != nil {
			return s.enumeration(e, values, flat)
		}
	}
	for i, e := range flat {
		if e.part != partOwn {
			rest := slices.Delete(slices.Clone(flat), i, i+1)
			return s.alternatives(e, rest)
		}
	}
	return s.own(flat)
}

// constants are the values of enum and const, or nil.
func constants(d *document) []*document {
	if c := d.get("const"); c != nil {
		return []*document{c}
	}
	if e := d.get("enum"); e != nil {
		if e.list == nil {
			return []*document{}
		}
		return e.list
	}
	return nil
}

// enumeration is those of the values that all elements allow.
func (s *schemaMaker) enumeration(from element, values []*document, flat []element) (*expr, error) {
	var kids []*expr
	v := &validator{s: s}
	for _, value := range values {
		ok := true
		for _, e := range flat {
			fine, err := v.valid(value, e, 0)
			if err != nil {
				return nil, err
			}
			ok = ok && fine
		}
		if ok {
			kids = append(kids, s.constant(value))
		}
	}
	if len(kids) == 0 && s.conflict == "" {
		s.conflict = from.at
	}
	return alt(kids...), nil
}

// alternatives distributes anyOf or oneOf over the rest of a conjunction.
func (s *schemaMaker) alternatives(e element, rest []element) (*expr, error) {
	word := "anyOf"
	if e.part == partOneOf {
		word = "oneOf"
	}
	branches := e.doc.get(word)
	var elements []element
	for i, b := range branches.list {
		elements = append(elements, element{b, e.at + "/" + word + "/" + strconv.Itoa(i), partAll})
	}
	if s.branches += len(elements); s.branches > maxBranches {
		return nil, s.fault(e.at+"/"+word, "the schema comes to more than %d alternatives; flatten its anyOf and oneOf", maxBranches)
	}
	if e.part == partOneOf {
		if err := s.exclusive(e, rest, elements); err != nil {
			return nil, err
		}
	}
	var kids []*expr
	for _, b := range elements {
		k, err := s.all(append(slices.Clone(rest), b))
		if err != nil {
			return nil, err
		}
		kids = append(kids, k)
	}
	return alt(kids...), nil
}

// flattener opens references and allOf.
type flattener struct {
	s     *schemaMaker
	out   []element
	open  map[string]bool // schemas being opened
	seen  map[string]bool
	never bool
}

func (f *flattener) add(e element) error {
	if e.part != partAll {
		f.put(e)
		return nil
	}
	if f.open[e.at] {
		return f.s.fault(e.at, "this schema refers to itself without anything between")
	}
	switch {
	case e.doc.kind == 'b':
		f.never = f.never || !e.doc.yes
		return nil
	case e.doc.kind != '{':
		return f.s.fault(e.at, "a schema must be an object, true or false")
	}
	if err := f.s.check(e); err != nil {
		return err
	}
	f.open[e.at] = true
	defer delete(f.open, e.at)
	if len(f.open) > maxNesting {
		return f.s.fault(e.at, "references and allOf are nested deeper than %d", maxNesting)
	}
	f.put(element{e.doc, e.at, partOwn})
	if r := e.doc.get("$ref"); r != nil {
		target, at, err := f.s.resolve(r, e.at+"/$ref")
		if err != nil {
			return err
		}
		if err := f.add(element{target, at, partAll}); err != nil {
			return err
		}
	}
	if list := e.doc.get("allOf"); list != nil {
		for i, d := range list.list {
			if err := f.add(element{d, e.at + "/allOf/" + strconv.Itoa(i), partAll}); err != nil {
				return err
			}
		}
	}
	if e.doc.get("anyOf") != nil {
		f.put(element{e.doc, e.at, partAnyOf})
	}
	if e.doc.get("oneOf") != nil {
		f.put(element{e.doc, e.at, partOneOf})
	}
	return nil
}

func (f *flattener) put(e element) {
	if key := e.at + string(e.part); !f.seen[key] {
		f.seen[key] = true
		f.out = append(f.out, e)
	}
}

// resolve finds what a $ref points to.
func (s *schemaMaker) resolve(ref *document, at string) (*document, string, error) {
	if ref.kind != 's' {
		return nil, "", s.fault(at, "$ref must be a string")
	}
	pointer := ref.text
	if id := s.root.get("$id"); id != nil && id.kind == 's' && id.text != "" {
		pointer = "#" + strings.TrimPrefix(strings.TrimPrefix(pointer, strings.TrimSuffix(id.text, "#")), "#")
	}
	if pointer != "#" && !strings.HasPrefix(pointer, "#/") {
		return nil, "", s.fault(at, "the reference %q is not supported; only those inside the schema are: # and #/…", ref.text)
	}
	doc, out := s.root, "#"
	for i, part := range strings.Split(pointer, "/") {
		if i == 0 {
			continue
		}
		name, err := url.PathUnescape(part)
		if err != nil {
			return nil, "", s.fault(at, "the reference %q is not a JSON pointer", ref.text)
		}
		name = strings.ReplaceAll(strings.ReplaceAll(name, "~1", "/"), "~0", "~")
		next := doc.get(name)
		if n, err := strconv.Atoi(name); doc.kind == '[' && err == nil && n >= 0 && n < len(doc.list) {
			next = doc.list[n]
		}
		if next == nil {
			return nil, "", s.fault(at, "the reference %q leads nowhere: there is no %q in %s", ref.text, name, out)
		}
		doc, out = next, child(out, name)
	}
	return doc, out, nil
}

// child is the pointer to a member.
func child(at, name string) string {
	return at + "/" + strings.ReplaceAll(strings.ReplaceAll(name, "~", "~0"), "/", "~1")
}
