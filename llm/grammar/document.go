package grammar

import (
	"bytes"
	"encoding/json"
	"io"
	"math/big"
	"slices"
	"strconv"
	"strings"
)

// document is a JSON value as it was written: members keep their order, numbers their text.
type document struct {
	kind    byte // 'n', 'b', 's', '0' (number), '[', '{'
	yes     bool
	text    string // of a string, decoded; of a number
	list    []*document
	members []member
}

type member struct {
	name  string
	value *document
}

// get returns a member, or nil.
func (d *document) get(name string) *document {
	if d == nil || d.kind != '{' {
		return nil
	}
	for i := range d.members {
		if d.members[i].name == name {
			return d.members[i].value
		}
	}
	return nil
}

// rational is a number's value. Those with an exponent beyond 400 are none.
func (d *document) rational() (*big.Rat, bool) {
	if d.kind != '0' {
		return nil, false
	}
	if i := strings.IndexAny(d.text, "eE"); i >= 0 {
		e, ok := new(big.Int).SetString(strings.TrimPrefix(d.text[i+1:], "+"), 10)
		if !ok || !e.IsInt64() || e.Int64() > 400 || e.Int64() < -400 {
			return nil, false
		}
	}
	return new(big.Rat).SetString(d.text)
}

// key appends what is the same for values that are equal as JSON Schema has it (numbers by value, objects without order), and for no
// others.
func (d *document) key(to []byte) []byte {
	to = append(to, d.kind)
	switch d.kind {
	case 'b':
		to = strconv.AppendBool(to, d.yes)
	case 's':
		to = strconv.AppendQuote(to, d.text)
	case '0':
		if r, ok := d.rational(); ok {
			to = append(to, r.RatString()...)
		} else {
			to = append(append(to, '?'), d.text...)
		}
	case '[':
		for _, e := range d.list {
			to = append(e.key(to), ',')
		}
		to = append(to, ']')
	case '{':
		members := slices.Clone(d.members)
		slices.SortFunc(members, func(a, b member) int { return strings.Compare(a.name, b.name) })
		for _, m := range members {
			to = append(m.value.key(append(strconv.AppendQuote(to, m.name), ':')), ',')
		}
		to = append(to, '}')
	}
	return to
}

// readDocument reads one JSON value.
func readDocument(source []byte) (*document, error) {
	d := json.NewDecoder(bytes.NewReader(source))
	d.UseNumber()
	r := &documentReader{d: d}
	doc, err := r.value(0)
	if err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, faultf("", "there is something after the JSON value, at byte %d", d.InputOffset())
	}
	return doc, nil
}

type documentReader struct{ d *json.Decoder }

func (r *documentReader) value(depth int) (*document, error) {
	if depth > maxNesting {
		return nil, faultf("", "it is nested deeper than %d", maxNesting)
	}
	t, err := r.d.Token()
	if err != nil {
		return nil, faultf("", "it is not JSON: %s, at byte %d", strings.TrimPrefix(err.Error(), "json: "), r.d.InputOffset())
	}
	switch t := t.(type) {
	case nil:
		return &document{kind: 'n'}, nil
	case bool:
		return &document{kind: 'b', yes: t}, nil
	case string:
		return &document{kind: 's', text: t}, nil
	case json.Number:
		return &document{kind: '0', text: t.String()}, nil
	case json.Delim:
		if t == '[' {
			return r.list(depth)
		}
		return r.object(depth)
	}
	return nil, faultf("", "it is not JSON")
}

func (r *documentReader) list(depth int) (*document, error) {
	out := &document{kind: '['}
	for r.d.More() {
		v, err := r.value(depth + 1)
		if err != nil {
			return nil, err
		}
		out.list = append(out.list, v)
	}
	if _, err := r.d.Token(); err != nil {
		return nil, faultf("", "it is not JSON: %s", strings.TrimPrefix(err.Error(), "json: "))
	}
	return out, nil
}

func (r *documentReader) object(depth int) (*document, error) {
	out := &document{kind: '{'}
	seen := map[string]bool{}
	for r.d.More() {
		t, err := r.d.Token()
		if err != nil {
			return nil, faultf("", "it is not JSON: %s, at byte %d", strings.TrimPrefix(err.Error(), "json: "), r.d.InputOffset())
		}
		name, ok := t.(string)
		if !ok {
			return nil, faultf("", "it is not JSON: a name is expected at byte %d", r.d.InputOffset())
		}
		if seen[name] {
			return nil, faultf("", "the name %q stands twice in an object, at byte %d", name, r.d.InputOffset())
		}
		seen[name] = true
		v, err := r.value(depth + 1)
		if err != nil {
			return nil, err
		}
		out.members = append(out.members, member{name, v})
	}
	if _, err := r.d.Token(); err != nil {
		return nil, faultf("", "it is not JSON: %s", strings.TrimPrefix(err.Error(), "json: "))
	}
	return out, nil
}

// constant is a value as a model may write it.
func (m *maker) constant(d *document) *expr {
	switch d.kind {
	case 'n':
		return text("null")
	case 'b':
		if d.yes {
			return text("true")
		}
		return text("false")
	case 's':
		return seq(text(`"`), jsonText(d.text), text(`"`))
	case '0':
		return text(d.text)
	case '[':
		kids := []*expr{text("["), m.space()}
		for i, v := range d.list {
			if i > 0 {
				kids = append(kids, m.comma())
			}
			kids = append(kids, m.constant(v))
		}
		if len(d.list) > 0 {
			kids = append(kids, m.space())
		}
		return seq(append(kids, text("]"))...)
	}
	kids := []*expr{text("{"), m.space()}
	for i, v := range d.members {
		if i > 0 {
			kids = append(kids, m.comma())
		}
		kids = append(kids, text(`"`), jsonText(v.name), text(`"`), m.colon(), m.constant(v.value))
	}
	if len(d.members) > 0 {
		kids = append(kids, m.space())
	}
	return seq(append(kids, text("}"))...)
}
