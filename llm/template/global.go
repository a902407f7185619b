package template

import (
	"strings"
	"time"
)

// global is the value of a name that every template knows, nil if it is none.
func global(name string) any {
	if f, ok := globals[name]; ok {
		return &function{name, f}
	}
	return nil
}

// globals are never changed.
var globals = map[string]func(*run, *args) any{
	"range":           makeRange,
	"dict":            makeDict,
	"namespace":       makeNamespace,
	"raise_exception": raise,
	"strftime_now":    now,
	"cycler":          makeCycler,
	"joiner":          makeJoiner,
}

func raise(r *run, a *args) any {
	o := r.bind(a, "raise_exception", 1, "message")
	panic(&Error{pos: r.pos, Message: r.str(o[0]), Raised: true})
}

func now(r *run, a *args) any {
	o := r.bind(a, "strftime_now", 1, "format")
	clock := r.t.Now
	if clock == nil {
		clock = time.Now
	}
	format := r.string(o[0], "the format of strftime_now")
	r.alloc(8 * len(format))
	return strftime(clock(), format)
}

func makeRange(r *run, a *args) any {
	o := r.bind(a, "range", 1, "start", "stop", "step")
	whole := func(v any) int64 { return int64(r.int(v, "an argument of range")) }
	s := &span{0, whole(o[0]), 1}
	if given(o[1]) {
		s.start, s.stop = s.stop, whole(o[1])
	}
	if given(o[2]) {
		if s.step = whole(o[2]); s.step == 0 {
			r.fail("range() arg 3 must not be zero")
		}
	}
	if s.len() > maxRange {
		r.fail("Range too big. The sandbox blocks ranges larger than MAX_RANGE (%d).", maxRange)
	}
	return s
}

// makeDict is Python's dict().
func makeDict(r *run, a *args) any {
	d := &Dict{}
	if len(a.pos) > 1 {
		r.fail("dict expected at most 1 argument, got %d", len(a.pos))
	}
	set := func(k, v any) {
		r.alloc(64)
		d.set(r.key(k), k, v)
	}
	if len(a.pos) == 1 {
		if from, ok := a.pos[0].(*Dict); ok {
			for i, k := range from.keys {
				set(k, from.values[i])
			}
		} else {
			for next := r.iterate(a.pos[0]); ; {
				item, ok := next()
				if !ok {
					break
				}
				pair := r.collect(item)
				if len(pair) != 2 {
					r.fail("dict() needs pairs of key and value; one has %d items", len(pair))
				}
				set(pair[0], pair[1])
			}
		}
	}
	for i, name := range a.names {
		set(name, a.values[i])
	}
	return d
}

func makeNamespace(r *run, a *args) any {
	d := makeDict(r, a).(*Dict)
	for _, k := range d.keys {
		if s, ok := text(k); ok && strings.HasPrefix(s, "_") {
			r.fail("attributes of a namespace must not begin with an underscore: '%s'", s)
		}
	}
	return &namespace{d}
}

// stepper is a cycler or joiner: a value that changes as it is used.
type stepper struct {
	kind  string
	items []any
	at    int
	sep   string
}

func makeCycler(r *run, a *args) any {
	if len(a.pos) == 0 {
		r.fail("at least one item has to be provided")
	}
	return &stepper{kind: "Cycler", items: a.pos}
}

func makeJoiner(r *run, a *args) any {
	o := r.bind(a, "joiner", 0, "sep")
	return &stepper{kind: "Joiner", sep: r.str(or(o[0], ", "))}
}

// step is a joiner called: the separator, but the first time.
func (s *stepper) step(r *run, _ *args) any {
	if s.kind != "Joiner" {
		r.fail("'%s' object is not callable", s.kind)
	}
	if s.at++; s.at == 1 {
		return ""
	}
	return s.sep
}

// attr is an attribute of a cycler.
func (s *stepper) attr(name string) (any, bool) {
	if s.kind != "Cycler" {
		return nil, false
	}
	switch name {
	case "current":
		return s.items[s.at], true
	case "next":
		return &function{name, func(*run, *args) any {
			v := s.items[s.at]
			s.at = (s.at + 1) % len(s.items)
			return v
		}}, true
	case "reset":
		return &function{name, func(*run, *args) any { s.at = 0; return nil }}, true
	}
	return nil, false
}

// strftime is C's, in the C locale.
func strftime(t time.Time, format string) string {
	var b strings.Builder
	for i := 0; i < len(format); i++ {
		if format[i] != '%' || i+1 == len(format) {
			b.WriteByte(format[i])
			continue
		}
		i++
		bare := false // glibc's %-d
		if format[i] == '-' && i+1 < len(format) {
			bare = true
			i++
		}
		s, ok := directive(t, format[i])
		if !ok {
			s = "%" + string(format[i])
		}
		if bare {
			if s = strings.TrimLeft(s, "0 "); s == "" {
				s = "0"
			}
		}
		b.WriteString(s)
	}
	return b.String()
}
