package grammar

import (
	"encoding/binary"
	"slices"
)

// block is the automaton of one rule without empty moves. State 0 is the start; it is not final, since calls of a rule that
// can be empty have a way around them.
type block struct {
	edges [][]edge
	calls [][]callEdge
	final []bool
}

// fewer bounds how many more states an automaton may get by being made deterministic.
const fewer = 4

// determine makes the automaton deterministic over bytes and calls (subset construction); one that grows too much by it is
// left as it is, without its empty moves.
//
// The start is state 0. It returns nil if the automaton has more than maxClosure empty moves, or maxEdges others.
func determine(n *nfa, end int32) *block {
	closures := closures(n)
	if closures == nil {
		return nil
	}
	d := &subsets{nfa: n, closures: closures, end: end, ids: map[string]int32{}}
	if d.run(closures[0], fewer*len(n.states)+256) {
		return detach(&d.block)
	}
	var b block
	total := 0
	for q := range n.states {
		if total > maxEdges {
			return nil
		}
		var edges []edge
		var calls []callEdge
		final := false
		for _, p := range closures[q] {
			edges = append(edges, n.states[p].edges...)
			calls = append(calls, n.states[p].calls...)
			final = final || p == end
		}
		total += len(edges) + len(calls)
		b.edges, b.calls, b.final = append(b.edges, edges), append(b.calls, calls), append(b.final, final)
	}
	return detach(&b)
}

// detach makes the start a state that is not final, and that no loop comes back to if it was.
func detach(b *block) *block {
	if !b.final[0] {
		return b
	}
	again := int32(len(b.edges))
	move := func(to int32) int32 {
		if to == 0 {
			return again
		}
		return to
	}
	for q := range b.edges {
		for i := range b.edges[q] {
			b.edges[q][i].to = move(b.edges[q][i].to)
		}
		for i := range b.calls[q] {
			b.calls[q][i].to = move(b.calls[q][i].to)
		}
	}
	b.edges = append(b.edges, slices.Clone(b.edges[0]))
	b.calls = append(b.calls, slices.Clone(b.calls[0]))
	b.final = append(b.final, true)
	b.final[0] = false
	return b
}

// closures are the states that each reaches without reading, itself among them, in order. Only states that read or end count.
func closures(n *nfa) [][]int32 {
	out := make([][]int32, len(n.states))
	mark := make([]int32, len(n.states))
	var stack []int32
	total := 0
	for q := range n.states {
		if total > maxClosure {
			return nil
		}
		stack = append(stack[:0], int32(q))
		mark[q] = int32(q) + 1
		var list []int32
		for len(stack) > 0 {
			p := stack[len(stack)-1]
			stack = stack[:len(stack)-1]
			s := &n.states[p]
			if len(s.edges)+len(s.calls) > 0 || len(s.empty) == 0 {
				list = append(list, p)
			}
			for _, to := range s.empty {
				if mark[to] != int32(q)+1 {
					mark[to] = int32(q) + 1
					stack = append(stack, to)
				}
			}
		}
		slices.Sort(list)
		total += len(list)
		out[q] = list
	}
	return out
}

// subsets runs the subset construction.
type subsets struct {
	nfa      *nfa
	closures [][]int32
	end      int32
	block    block
	sets     [][]int32
	ids      map[string]int32
	key      []byte
	work     int // bounded, as the states are
}

func (d *subsets) id(states []int32) int32 {
	d.key = d.key[:0]
	for _, q := range states {
		d.key = binary.LittleEndian.AppendUint32(d.key, uint32(q))
	}
	if id, ok := d.ids[string(d.key)]; ok {
		return id
	}
	id := int32(len(d.sets))
	d.ids[string(d.key)] = id
	d.sets = append(d.sets, states)
	d.block.edges = append(d.block.edges, nil)
	d.block.calls = append(d.block.calls, nil)
	d.block.final = append(d.block.final, slices.Contains(states, d.end))
	return id
}

// join is the closure of a set.
func (d *subsets) join(to []int32) []int32 {
	if len(to) == 1 {
		return d.closures[to[0]]
	}
	var out []int32
	for _, q := range to {
		out = append(out, d.closures[q]...)
	}
	d.work += len(out)
	slices.Sort(out)
	return slices.Compact(out)
}

func (d *subsets) run(start []int32, most int) bool {
	d.id(start)
	for q := 0; q < len(d.sets); q++ {
		if len(d.sets) > most || d.work > 64*most {
			return false
		}
		var edges []edge
		calls := map[int32][]int32{}
		var order []int32
		for _, p := range d.sets[q] {
			edges = append(edges, d.nfa.states[p].edges...)
			for _, c := range d.nfa.states[p].calls {
				if calls[c.rule] == nil {
					order = append(order, c.rule)
				}
				calls[c.rule] = append(calls[c.rule], c.to)
			}
		}
		d.work += len(edges) + 1
		d.block.edges[q] = d.bytes(edges)
		for _, r := range order {
			d.block.calls[q] = append(d.block.calls[q], callEdge{r, d.id(d.join(calls[r]))})
		}
	}
	return true
}

// bytes parts the edges of a set into ranges that do not overlap.
func (d *subsets) bytes(edges []edge) []edge {
	if len(edges) == 0 {
		return nil
	}
	if len(edges) == 1 {
		return []edge{{edges[0].lo, edges[0].hi, d.id(d.join([]int32{edges[0].to}))}}
	}
	cuts := make([]int, 0, 2*len(edges))
	for _, e := range edges {
		cuts = append(cuts, int(e.lo), int(e.hi)+1)
	}
	slices.Sort(cuts)
	cuts = slices.Compact(cuts)
	slices.SortFunc(edges, func(a, b edge) int { return int(a.lo) - int(b.lo) })
	var out []edge
	var live []edge
	next := 0
	for i := 0; i+1 < len(cuts); i++ {
		lo, hi := cuts[i], cuts[i+1]-1
		live = slices.DeleteFunc(live, func(e edge) bool { return int(e.hi) < lo })
		for next < len(edges) && int(edges[next].lo) <= lo {
			live = append(live, edges[next])
			next++
		}
		if len(live) == 0 {
			continue
		}
		to := make([]int32, len(live))
		for j, e := range live {
			to[j] = e.to
		}
		slices.Sort(to)
		id := d.id(d.join(slices.Compact(to)))
		if n := len(out); n > 0 && out[n-1].to == id && int(out[n-1].hi)+1 == lo {
			out[n-1].hi = byte(hi)
			continue
		}
		out = append(out, edge{byte(lo), byte(hi), id})
	}
	return out
}
