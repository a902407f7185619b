package template

// loop is the variable of that name inside a for loop.
type loop struct {
	run     *run
	over    any
	next    func() (any, bool)
	index   int // from 0
	before  any
	current any
	ahead   []any // items that were looked at before their turn
	known   int   // length; -1: not yet known
	depth   int
	last    *list // of changed
	recurse func(over any, depth int) any
}

func (l *loop) peek() (any, bool) {
	if len(l.ahead) == 0 {
		v, ok := l.next()
		if !ok {
			return nil, false
		}
		l.ahead = append(l.ahead, v)
	}
	return l.ahead[0], true
}

// advance goes to the next item.
func (l *loop) advance() bool {
	v, ok := l.peek()
	if !ok {
		return false
	}
	l.ahead = l.ahead[1:]
	l.index++
	l.before, l.current = l.current, v
	return true
}

func (l *loop) length() int {
	if l.known < 0 {
		if n, ok := l.run.length(l.over); ok {
			l.known = n
			return n
		}
		for {
			v, ok := l.next()
			if !ok {
				break
			}
			l.run.alloc(16)
			l.ahead = append(l.ahead, v)
		}
		l.known = l.index + 1 + len(l.ahead)
	}
	return l.known
}

// attr is an attribute of the loop variable.
func (l *loop) attr(name string) (any, bool) {
	switch name {
	case "index":
		return int64(l.index + 1), true
	case "index0":
		return int64(l.index), true
	case "revindex":
		return int64(l.length() - l.index), true
	case "revindex0":
		return int64(l.length() - l.index - 1), true
	case "first":
		return l.index == 0, true
	case "last":
		_, ok := l.peek()
		return !ok, true
	case "length":
		return int64(l.length()), true
	case "depth":
		return int64(l.depth + 1), true
	case "depth0":
		return int64(l.depth), true
	case "previtem":
		if l.index == 0 {
			return &undefined{hint: "there is no previous item"}, true
		}
		return l.before, true
	case "nextitem":
		v, ok := l.peek()
		if !ok {
			return &undefined{hint: "there is no next item"}, true
		}
		return v, true
	case "cycle":
		return &function{"cycle", func(r *run, a *args) any {
			if len(a.pos) == 0 {
				r.fail("no items for cycling given")
			}
			return a.pos[l.index%len(a.pos)]
		}}, true
	case "changed":
		return &function{"changed", func(r *run, a *args) any {
			now := tuple(a.pos...)
			if l.last != nil && r.equal(l.last, now) {
				return false
			}
			l.last = now
			return true
		}}, true
	}
	return nil, false
}

func (s *forStmt) exec(r *run) flow {
	over := r.eval(s.over)
	return s.loop(r, r.frame, over, 0)
}

// loop runs the loop over a value, once for the statement and once for each recursion.
func (s *forStmt) loop(r *run, outer *frame, over any, depth int) flow {
	r.pos = s.at()
	l := &loop{run: r, over: over, next: r.iterate(over), index: -1, known: -1, depth: depth}
	if s.filter != nil {
		all := l.next
		test := &frame{parent: outer}
		l.next = func() (any, bool) {
			for {
				v, ok := all()
				if !ok {
					return nil, false
				}
				before := r.frame
				r.frame = test
				r.assign(&s.into, v)
				keep := truth(r.eval(s.filter))
				r.frame = before
				if keep {
					return v, true
				}
			}
		}
		l.over = &stream{name: "generator"}
	}
	if s.recursive {
		l.recurse = func(over any, depth int) any {
			return r.capture(func() { s.loop(r, outer, over, depth) })
		}
	}
	id, hasLoop := r.t.ids["loop"]
	before := r.frame
	defer func() { r.frame = before }()
	f := &frame{parent: outer}
	for l.advance() {
		f.ids, f.vals = f.ids[:0], f.vals[:0]
		r.frame = f
		r.assign(&s.into, l.current)
		if hasLoop {
			r.set(id, l)
		}
		if r.exec(s.body) == breakLoop {
			return next
		}
	}
	if l.index < 0 && s.otherwise != nil {
		r.frame = &frame{parent: outer}
		return r.exec(s.otherwise)
	}
	return next
}
