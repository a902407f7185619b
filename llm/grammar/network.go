package grammar

import (
	"fmt"
	"slices"
	"strings"
)

// The limits on what a grammar may become. They hold memory under about 100 MB and the time of Compile under about a second.
const (
	maxSource  = 1 << 20
	maxRules   = 20_000
	maxStates  = 300_000
	maxClosure = 4 << 20
	maxEdges   = 1 << 20 // of a rule that is not deterministic
	maxNesting = 200     // of groups, schemas, and rules that are put in place of their calls
)

// network is a compiled grammar: the automata of its rules, which call each other. It is not changed once made.
type network struct {
	states []state
	edges  []edge
	calls  []callEdge
	starts []int32 // of each rule
	rank   []int32 // of each rule: it is higher than that of all rules that call it before they read anything
	follow []set256
	names  []string
	root   int32
	empty  bool // the empty text belongs to the language
	class  [256]uint8
	count  int // of classes
}

// state is one of a rule's.
type state struct {
	edge0, edge1 int32
	call0, call1 int32
	rule         int32
	final        bool
}

// set256 is a set of bytes.
type set256 [4]uint64

func (s *set256) add(lo, hi byte) {
	for b := int(lo); b <= int(hi); b++ {
		s[b>>6] |= 1 << (b & 63)
	}
}
func (s *set256) has(b byte) bool { return s[b>>6]>>(b&63)&1 != 0 }
func (s *set256) join(t *set256) (more bool) {
	for i := range s {
		if n := s[i] | t[i]; n != s[i] {
			s[i], more = n, true
		}
	}
	return more
}

func (n *network) edgesOf(q int32) []edge     { s := &n.states[q]; return n.edges[s.edge0:s.edge1] }
func (n *network) callsOf(q int32) []callEdge { s := &n.states[q]; return n.calls[s.call0:s.call1] }

// fault is why a source cannot be compiled, and where.
type fault struct{ place, reason string }

func (f *fault) Error() string {
	if f.place == "" {
		return f.reason
	}
	return f.place + ": " + f.reason
}

func faultf(place, format string, args ...any) *fault {
	return &fault{place, fmt.Sprintf(format, args...)}
}

// assemble compiles rules, of which the first is the root.
func assemble(rules []rule) (*network, error) {
	if len(rules) > maxRules {
		return nil, faultf("", "it has %d rules; at most %d are allowed", len(rules), maxRules)
	}
	infos, err := survey(rules)
	if err != nil {
		return nil, err
	}
	n := &network{root: 0, empty: infos[0].nullable}
	blocks := make([]*block, len(rules))
	left := maxStates
	for r := range rules {
		if infos[r].inline && r != 0 || infos[r].bare {
			continue
		}
		if size := least(rules[r].body, infos); size > left {
			return nil, tooLarge(rules[r].place)
		}
		b := &builder{rules: infos, nfa: nfa{most: left}}
		start, end := b.add(), b.add()
		b.build(rules[r].body, start, end)
		if !b.full {
			blocks[r] = determine(&b.nfa, end)
		}
		if blocks[r] == nil || len(blocks[r].final) > left {
			return nil, tooLarge(rules[r].place)
		}
		left -= len(blocks[r].final)
	}
	for r := range rules {
		n.names = append(n.names, rules[r].name)
	}
	n.lay(blocks)
	if !n.trim(blocks) && !n.empty {
		return nil, faultf(rules[0].place, "no text fits: every way through it needs %s", n.needs(rules))
	}
	if err := n.order(rules); err != nil {
		return nil, err
	}
	n.findFollow()
	n.classify()
	return n, nil
}

func tooLarge(place string) *fault {
	return faultf(place, "it is too large: repetitions count as often as they are allowed, and all together come to more than %d states", maxStates)
}

// least is how many states an expr comes to at least.
func least(e *expr, infos []ruleInfo) int {
	n := 0
	switch e.op {
	case opText:
		n = len(e.text) - 1
	case opSeq:
		n = len(e.kids) - 1
		for _, k := range e.kids {
			n = min(endless, n+least(k, infos))
		}
	case opAlt:
		for _, k := range e.kids {
			n = min(endless, n+least(k, infos))
		}
	case opRepeat:
		times := max(e.min, e.max, 1)
		n = min(endless, (least(e.kids[0], infos)+1)*min(times, endless))
	case opGraph:
		n = len(e.graph.edges)
	}
	return n
}

// lay puts the automata of the rules into one.
func (n *network) lay(blocks []*block) {
	n.starts = make([]int32, len(blocks))
	for r, b := range blocks {
		base := int32(len(n.states))
		n.starts[r] = -1
		if b == nil {
			continue
		}
		n.starts[r] = base
		for q := range b.final {
			s := state{edge0: int32(len(n.edges)), call0: int32(len(n.calls)), rule: int32(r), final: b.final[q]}
			for _, e := range b.edges[q] {
				n.edges = append(n.edges, edge{e.lo, e.hi, e.to + base})
			}
			for _, c := range b.calls[q] {
				n.calls = append(n.calls, callEdge{c.rule, c.to + base})
			}
			s.edge1, s.call1 = int32(len(n.edges)), int32(len(n.calls))
			n.states = append(n.states, s)
		}
	}
}

// trim drops every edge that leads to no text: so whatever is reached can be finished. It says whether the root has a text.
func (n *network) trim(blocks []*block) bool {
	productive := n.productive()
	useful := make([]bool, len(n.states))
	back := make([][]int32, len(n.states))
	var work []int32
	for q := range n.states {
		for _, e := range n.edgesOf(int32(q)) {
			back[e.to] = append(back[e.to], int32(q))
		}
		for _, c := range n.callsOf(int32(q)) {
			if productive[c.rule] {
				back[c.to] = append(back[c.to], int32(q))
			}
		}
		if n.states[q].final {
			useful[q] = true
			work = append(work, int32(q))
		}
	}
	for len(work) > 0 {
		q := work[len(work)-1]
		work = work[:len(work)-1]
		for _, p := range back[q] {
			if !useful[p] {
				useful[p] = true
				work = append(work, p)
			}
		}
	}
	var edges []edge
	var calls []callEdge
	for q := range n.states {
		s := &n.states[q]
		e0, c0 := int32(len(edges)), int32(len(calls))
		for _, e := range n.edgesOf(int32(q)) {
			if useful[e.to] {
				edges = append(edges, e)
			}
		}
		for _, c := range n.callsOf(int32(q)) {
			if productive[c.rule] && useful[c.to] {
				calls = append(calls, c)
			}
		}
		s.edge0, s.edge1, s.call0, s.call1 = e0, int32(len(edges)), c0, int32(len(calls))
	}
	n.edges, n.calls = edges, calls
	return productive[n.root]
}

// productive says which rules have a finite text of at least one byte.
func (n *network) productive() []bool {
	done := make([]bool, len(n.starts))
	reached := make([]bool, len(n.states))
	waiting := make([][]int32, len(n.starts))
	var work []int32
	reach := func(q int32) {
		if !reached[q] {
			reached[q] = true
			work = append(work, q)
		}
	}
	for _, q := range n.starts {
		if q >= 0 {
			reach(q)
		}
	}
	for len(work) > 0 {
		q := work[len(work)-1]
		work = work[:len(work)-1]
		if r := n.states[q].rule; n.states[q].final && !done[r] {
			done[r] = true
			for _, to := range waiting[r] {
				reach(to)
			}
		}
		for _, e := range n.edgesOf(q) {
			reach(e.to)
		}
		for _, c := range n.callsOf(q) {
			if done[c.rule] {
				reach(c.to)
			} else {
				waiting[c.rule] = append(waiting[c.rule], c.to)
			}
		}
	}
	return done
}

// needs names rules that have no finite text, for a message.
func (n *network) needs(rules []rule) string {
	productive := n.productive()
	var names []string
	for r := range rules {
		if n.starts[r] >= 0 && !productive[r] && rules[r].name != "" && len(names) < 3 {
			names = append(names, rules[r].name)
		}
	}
	if len(names) == 0 {
		return "something that cannot be"
	}
	return strings.Join(names, ", ") + ", which never ends or contradicts itself"
}

// order ranks the rules by who calls whom before reading anything, and refuses those that so come back to themselves.
func (n *network) order(rules []rule) error {
	const open, closed = 1, 2
	mark := make([]uint8, len(n.starts))
	var post []int32
	type visit struct {
		rule int32
		next int
	}
	for r := range n.starts {
		if mark[r] != 0 || n.starts[r] < 0 {
			continue
		}
		mark[r] = open
		stack := []visit{{int32(r), 0}}
		for len(stack) > 0 {
			v := &stack[len(stack)-1]
			calls := n.callsOf(n.starts[v.rule])
			if v.next == len(calls) {
				mark[v.rule] = closed
				post = append(post, v.rule)
				stack = stack[:len(stack)-1]
				continue
			}
			to := calls[v.next].rule
			v.next++
			switch mark[to] {
			case open:
				var names []string
				for _, s := range stack[slices.IndexFunc(stack, func(s visit) bool { return s.rule == to }):] {
					names = append(names, n.names[s.rule])
				}
				return faultf(rules[to].place, "left recursion: %s begins with itself (%s -> %s); let it read something first, or repeat with * or +",
					n.names[to], strings.Join(names, " -> "), n.names[to])
			case 0:
				mark[to] = open
				stack = append(stack, visit{to, 0})
			}
		}
	}
	n.rank = make([]int32, len(n.starts))
	for i, r := range post {
		n.rank[r] = int32(len(post) - i)
	}
	return nil
}

// findFollow finds the bytes that may come after each rule's text.
func (n *network) findFollow() {
	first := make([]set256, len(n.states))
	// Rules that are called first have the highest rank: in that order each start is known when it is needed.
	rules := make([]int32, 0, len(n.starts))
	for r := range n.starts {
		if n.starts[r] >= 0 {
			rules = append(rules, int32(r))
		}
	}
	slices.SortFunc(rules, func(a, b int32) int { return int(n.rank[b] - n.rank[a]) })
	fill := func(q int32) {
		for _, e := range n.edgesOf(q) {
			first[q].add(e.lo, e.hi)
		}
		for _, c := range n.callsOf(q) {
			first[q].join(&first[n.starts[c.rule]])
		}
	}
	for _, r := range rules {
		fill(n.starts[r])
	}
	for q := range n.states {
		fill(int32(q))
	}
	n.follow = make([]set256, len(n.starts))
	inside := make([][]int32, len(n.starts)) // rules that a rule may end with
	for q := range n.states {
		for _, c := range n.callsOf(int32(q)) {
			n.follow[c.rule].join(&first[c.to])
			if n.states[c.to].final {
				inside[n.states[q].rule] = append(inside[n.states[q].rule], c.rule)
			}
		}
	}
	work := rules
	for len(work) > 0 {
		r := work[len(work)-1]
		work = work[:len(work)-1]
		for _, s := range inside[r] {
			if n.follow[s].join(&n.follow[r]) {
				work = append(work, s)
			}
		}
	}
}

// classify parts the bytes into classes that no edge tells apart.
func (n *network) classify() {
	var cut [257]bool
	for _, e := range n.edges {
		cut[e.lo], cut[int(e.hi)+1] = true, true
	}
	c := -1
	for b := range 256 {
		if cut[b] || b == 0 {
			c++
		}
		n.class[b] = uint8(c)
	}
	n.count = c + 1
}
