package format

import (
	"strings"

	"serval"
	"serval/internal/jsontensor"
	"serval/stream"
)

// member is a name that means something in a message.
type member struct {
	name   string
	at     place
	wanted bool // it has a place
	pass   bool // the result has it too
	inside bool // fields that mean something lie inside it
	plain  bool // its JSON is the name in quotes
}

// table are the members of messages for a plan, at the top level. It never changes.
type table struct {
	plan    *plan
	members []member
	index   map[string]int32
}

// of is the table for a plan, made anew for another one.
func (f *rows) of(p *plan) *table {
	if t := f.table.Load(); t != nil && t.plan == p {
		return t
	}
	t := &table{plan: p, index: map[string]int32{}}
	see := func(name string) {
		for i := range name {
			if name[i] == '.' {
				t.add(f, name[:i])
			}
		}
		t.add(f, name)
	}
	for name := range p.fields {
		see(name)
	}
	for name := range f.pass {
		see(name)
	}
	f.table.Store(t)
	return t
}

func (t *table) add(f *rows, name string) {
	if _, ok := t.index[name]; ok {
		return
	}
	m := member{name: name, pass: f.pass[name], inside: f.inside(t.plan, name), plain: !strings.ContainsFunc(name, func(c rune) bool { return c < ' ' || c == '"' || c == '\\' })}
	m.at, m.wanted = t.plan.fields[name]
	t.index[name] = int32(len(t.members))
	t.members = append(t.members, m)
}

// inside says whether a field that is wanted lies inside the one of that name.
func (f *rows) inside(p *plan, name string) bool {
	name += "."
	for field := range p.fields {
		if strings.HasPrefix(field, name) {
			return true
		}
	}
	for field := range f.pass {
		if strings.HasPrefix(field, name) {
			return true
		}
	}
	return false
}

// rowReader reads messages one after the other. What it hands out is in pieces of slabs; the rest is its own and used again.
// Not safe for concurrent use.
type rowReader struct {
	f     *rows
	table *table
	scan  jsontensor.Scanner
	row   row
	left  int // messages that are yet to come, about
	// next is, behind each member (at its index + 1; at 0: in front of all), the one that stood there last, or -1: producers
	// write their members in the same order each time.
	next    []int32
	slab    slab
	keep    *carried
	carried []carried
	passed  []passed
}

// decode is stream.Decode.
func (r *rowReader) decode(m *stream.Message, model *serval.ModelInfo, call *stream.Call) error {
	p, err := r.f.in.of(model)
	if err != nil {
		return err
	}
	if r.table == nil || r.table.plan != p {
		r.table = r.f.of(p)
		r.next = make([]int32, len(r.table.members)+1)
		for i := range r.next {
			r.next[i] = -1
		}
	}
	r.left = max(0, r.left-1)
	r.slab.begin(&r.row, p, r.left)
	r.begin()
	r.scan.Reset(m.Value)
	err = r.object("", 0)
	if err == nil {
		err = r.scan.End()
	}
	r.scan.Reset(nil) // it holds no message longer than its call does
	if err != nil {
		return err
	}
	in, err := r.row.done(r.f.in.missing)
	if err != nil {
		return err
	}
	if call.Input = in; r.keep != nil && len(*r.keep) > 0 {
		call.Carry = r.keep
	}
	return nil
}

// begin has room for what is passed on of the next message.
func (r *rowReader) begin() {
	k := len(r.f.pass)
	if k == 0 {
		return
	}
	if len(r.carried) == 0 {
		const each = 40 // bytes of a passed
		n := 1 + min(r.left, slabBytes/(each*(k+1)))
		r.carried, r.passed = make([]carried, n), make([]passed, n*k)
	}
	r.keep, r.carried = &r.carried[0], r.carried[1:]
	*r.keep, r.passed = r.passed[:0:k], r.passed[k:]
}

// top takes the name of the next member of the message; nil: it means nothing. last is the one before it.
func (r *rowReader) top(last int) (*member, int, error) {
	t := r.table
	guess := r.next[last]
	if guess >= 0 && r.scan.Follow(t.members[guess].name) {
		return &t.members[guess], int(guess) + 1, nil
	}
	key, err := r.scan.Key()
	if err != nil {
		return nil, last, err
	}
	i, ok := t.index[string(key)]
	if !ok {
		return nil, last, nil
	}
	m := &t.members[i]
	if m.plain {
		r.next[last] = i
	}
	return m, int(i) + 1, nil
}

// nested is top for an object inside others; it fills in m.
func (r *rowReader) nested(prefix string, m *member) error {
	key, err := r.scan.Key()
	if err != nil {
		return err
	}
	p := r.table.plan
	*m = member{name: prefix + "." + string(key)}
	m.at, m.wanted = p.fields[m.name]
	m.pass = r.f.pass[m.name]
	m.inside = !m.wanted && r.scan.Peek() == '{' && r.f.inside(p, m.name)
	return nil
}
