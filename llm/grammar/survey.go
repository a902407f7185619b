package grammar

// survey finds out which rules can be empty, and which are better put in place of their calls.
func survey(rules []rule) ([]ruleInfo, error) {
	infos := make([]ruleInfo, len(rules))
	for r := range rules {
		infos[r].body = rules[r].body
	}
	s := &surveyor{rules: rules, infos: infos}
	s.nullables()
	s.cycles()
	s.counts()
	// Callees before their callers: sizes are known when they are needed.
	s.size = make([]int, len(rules))
	s.wide, s.wider = make([]bool, len(rules)), make([]bool, len(rules))
	for _, r := range s.post {
		s.size[r] = s.sizeOf(rules[r].body)
		s.wide[r], s.wider[r] = s.wideIn(rules[r].body, false), s.wideIn(rules[r].body, true)
		infos[r].inline = r != 0 && !rules[r].shared && !s.cyclic[r] && s.depth[r] < maxNesting &&
			(s.sites[r] <= 1 || s.size[r] <= smallRule && !s.wide[r])
	}
	return infos, nil
}

// smallRule is how many states a rule may have to stand in place of its calls everywhere.
const smallRule = 24

const endless = 1 << 30

type surveyor struct {
	rules  []rule
	infos  []ruleInfo
	calls  [][]int32
	post   []int32 // callees before callers
	cyclic []bool
	depth  []int
	sites  []int // how often a rule is called, a repeated call as often as it may be
	size   []int
	wide   []bool // it repeats a large set
	wider  []bool // or would, repeated itself
}

// eachCall calls f with each call in e and how often it is laid down.
func eachCall(e *expr, times int, f func(rule, times int)) {
	switch e.op {
	case opCall:
		f(e.rule, times)
	case opRepeat:
		if n := max(e.min, e.max); n > 1 {
			times = min(endless, times*min(n, endless/max(times, 1)))
		}
		eachCall(e.kids[0], times, f)
	case opSeq, opAlt:
		for _, k := range e.kids {
			eachCall(k, times, f)
		}
	}
}

// nullables marks the rules whose language holds the empty text, and those that hold nothing else.
func (s *surveyor) nullables() {
	s.calls = make([][]int32, len(s.rules))
	callers := make([][]int32, len(s.rules))
	for r := range s.rules {
		eachCall(s.rules[r].body, 1, func(to, _ int) {
			s.calls[r] = append(s.calls[r], int32(to))
			callers[to] = append(callers[to], int32(r))
		})
	}
	fix := func(get func(r int) *bool, holds func(e *expr) bool) {
		work := make([]int32, len(s.rules))
		for r := range work {
			work[r] = int32(r)
		}
		for len(work) > 0 {
			r := work[len(work)-1]
			work = work[:len(work)-1]
			if known := get(int(r)); !*known && holds(s.rules[r].body) {
				*known = true
				work = append(work, callers[r]...)
			}
		}
	}
	fix(func(r int) *bool { return &s.infos[r].nullable }, s.nullable)
	full := make([]bool, len(s.rules)) // reads something, perhaps
	fix(func(r int) *bool { return &full[r] }, func(e *expr) bool { return reads(e, full) })
	for r := range full {
		s.infos[r].bare = !full[r]
	}
}

func (s *surveyor) nullable(e *expr) bool {
	switch e.op {
	case opEmpty:
		return true
	case opSeq:
		for _, k := range e.kids {
			if !s.nullable(k) {
				return false
			}
		}
		return true
	case opAlt:
		for _, k := range e.kids {
			if s.nullable(k) {
				return true
			}
		}
	case opRepeat:
		return e.min == 0 || s.nullable(e.kids[0])
	case opCall:
		return s.infos[e.rule].nullable
	case opGraph:
		return e.graph.final[0]
	}
	return false
}

// reads says whether e has a part that reads a byte.
func reads(e *expr, full []bool) bool {
	switch e.op {
	case opText, opClass, opGraph:
		return true
	case opSeq, opAlt, opRepeat:
		for _, k := range e.kids {
			if reads(k, full) {
				return true
			}
		}
	case opCall:
		return full[e.rule]
	}
	return false
}

// cycles orders the rules, callees first, and marks those that may call themselves (Tarjan's components).
func (s *surveyor) cycles() {
	n := len(s.rules)
	s.cyclic, s.depth = make([]bool, n), make([]int, n)
	index, low := make([]int32, n), make([]int32, n)
	onStack := make([]bool, n)
	var stack []int32
	type visit struct {
		rule int32
		next int
	}
	count := int32(0)
	for root := range s.rules {
		if index[root] != 0 {
			continue
		}
		work := []visit{{int32(root), 0}}
		for len(work) > 0 {
			v := &work[len(work)-1]
			r := v.rule
			if v.next == 0 && index[r] == 0 {
				count++
				index[r], low[r] = count, count
				stack = append(stack, r)
				onStack[r] = true
			}
			if v.next < len(s.calls[r]) {
				to := s.calls[r][v.next]
				v.next++
				if index[to] == 0 {
					work = append(work, visit{to, 0})
				} else if onStack[to] {
					low[r] = min(low[r], index[to])
				}
				if to == r {
					s.cyclic[r] = true
				}
				continue
			}
			work = work[:len(work)-1]
			if len(work) > 0 {
				up := work[len(work)-1].rule
				low[up] = min(low[up], low[r])
			}
			s.depth[r] = 0
			for _, to := range s.calls[r] {
				s.depth[r] = max(s.depth[r], s.depth[to]+1)
			}
			s.post = append(s.post, r)
			if low[r] != index[r] {
				s.cyclic[r] = true
				continue
			}
			for {
				top := stack[len(stack)-1]
				stack = stack[:len(stack)-1]
				onStack[top] = false
				if top == r {
					break
				}
				s.cyclic[r] = true
			}
		}
	}
}

func (s *surveyor) counts() {
	s.sites = make([]int, len(s.rules))
	for r := range s.rules {
		eachCall(s.rules[r].body, 1, func(to, times int) { s.sites[to] = min(endless, s.sites[to]+times) })
	}
}

// sizeOf guesses the states of an expr; called rules are those put in its place.
func (s *surveyor) sizeOf(e *expr) int {
	switch e.op {
	case opText:
		return len(e.text)
	case opClass:
		if e.set[len(e.set)-1].hi > 0x7F {
			return 8
		}
		return 1
	case opSeq, opAlt:
		n := 0
		for _, k := range e.kids {
			n = min(endless, n+s.sizeOf(k))
		}
		return n
	case opRepeat:
		n := s.sizeOf(e.kids[0])
		return min(endless, n*min(max(e.min, e.max, 1), endless/max(n, 1)))
	case opCall:
		if s.infos[e.rule].inline {
			return s.size[e.rule]
		}
		return 1
	case opGraph:
		return len(e.graph.edges)
	}
	return 0
}

// wideIn says whether e repeats characters of a large set: free text, whose masks are the costly ones.
func (s *surveyor) wideIn(e *expr, repeated bool) bool {
	switch e.op {
	case opClass:
		return repeated && e.set.size() >= 64
	case opGraph:
		return true
	case opRepeat:
		return s.wideIn(e.kids[0], repeated || e.max < 0 || e.max >= 8)
	case opSeq, opAlt:
		for _, k := range e.kids {
			if s.wideIn(k, repeated) {
				return true
			}
		}
	case opCall:
		r := e.rule
		return s.infos[r].inline && (s.wide[r] || repeated && s.wider[r])
	}
	return false
}
