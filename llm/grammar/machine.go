package grammar

import (
	"cmp"
	"encoding/binary"
	"slices"
)

// The limits on one sequence's work. What is beyond them is treated as if the grammar did not allow it: an answer that
// finishes is valid all the same.
const (
	maxItems   = 256     // ways to read the text so far that are kept
	maxConfigs = 8_000   // kept by a machine before it forgets them; twice as many may be made for one mask
	maxWork    = 1 << 20 // new moves for one mask
)

// frame is an unfinished call of a rule: where it goes on afterwards. All calls of a rule that begin at the same byte share
// one, with as many callers, so that an ambiguous text takes no more room than states times bytes (a graph-structured stack,
// Tomita 1986). The nil frame is the bottom: what its end means is told by who asks.
type frame struct {
	callers []caller
	id      uint32
	popped  *config // what its end leads to, once asked for
}

// caller is a state to go on in, inside a frame. State -1: the bottom ends too.
type caller struct {
	state int32
	up    *frame
}

// item is one way to have read the text: in a state that reads a byte next, inside a frame.
type item struct {
	state int32
	frame *frame
}

// config is all ways to have read the text.
type config struct {
	items []item
	pops  bool // the bottom may end here
	next  []*config
}

// dead is the config without any way.
func (c *config) dead() bool { return len(c.items) == 0 && !c.pops }

// machine runs a network on bytes, and remembers the moves that it made. It belongs to one goroutine at a time.
type machine struct {
	net     *network
	configs map[string]*config
	frames  map[string]*frame
	ids     uint32
	work    int // moves left
	none    *config

	raw     []item
	pending []pending
	key     []byte
}

// pending gathers the callers of a rule while a config is made.
type pending struct {
	rule    int32
	callers []caller
}

func newMachine(n *network) *machine {
	m := &machine{net: n, work: maxWork}
	m.forget()
	return m
}

func (m *machine) forget() {
	m.configs, m.frames = map[string]*config{}, map[string]*frame{}
	m.none = &config{}
}

// start is the config before any byte.
func (m *machine) start() *config {
	n := m.net
	m.raw = m.raw[:0]
	if s := n.starts[n.root]; s >= 0 {
		m.raw = append(m.raw, item{s, nil})
	}
	c := m.close()
	if n.empty {
		return m.intern(c.items, true)
	}
	return c
}

// step reads a byte.
func (m *machine) step(c *config, b byte) *config {
	k := m.net.class[b]
	if c.next == nil {
		c.next = make([]*config, m.net.count)
	} else if to := c.next[k]; to != nil {
		return to
	}
	if m.work < 0 || len(m.configs) > 2*maxConfigs {
		return m.none
	}
	m.raw = m.raw[:0]
	for _, it := range c.items {
		edges := m.net.edgesOf(it.state)
		m.work -= len(edges)
		for _, e := range edges {
			if e.lo <= b && b <= e.hi {
				m.raw = append(m.raw, item{e.to, it.frame})
			}
		}
	}
	to := m.none
	if len(m.raw) > 0 {
		to = m.close()
	}
	c.next[k] = to
	return to
}

// pop is what a frame's end leads to.
func (m *machine) pop(f *frame) *config {
	if f.popped == nil {
		m.raw = m.raw[:0]
		pops := false
		for _, c := range f.callers {
			if c.state < 0 {
				pops = true
				continue
			}
			m.raw = append(m.raw, item{c.state, c.up})
		}
		c := m.close()
		if pops && !c.pops {
			c = m.intern(c.items, true)
		}
		f.popped = c
	}
	return f.popped
}

// has says whether the raw items hold one; most lists are short.
func has(list []item, it item) bool { return slices.Contains(list, it) }

// close follows ends and calls from the raw items, and keeps what reads a byte.
func (m *machine) close() *config {
	n := m.net
	pops := false
	if len(m.raw) > maxItems {
		m.raw = m.raw[:maxItems]
	}
	for i := 0; i < len(m.raw); i++ { // ends: the list grows
		m.work -= i / 8 // the search in the list
		it := m.raw[i]
		if !n.states[it.state].final {
			continue
		}
		if it.frame == nil {
			pops = true
			continue
		}
		for _, c := range it.frame.callers {
			if c.state < 0 {
				pops = true
			} else if to := (item{c.state, c.up}); !has(m.raw, to) && len(m.raw) < maxItems {
				m.raw = append(m.raw, to)
			}
		}
	}
	m.pending = m.pending[:0]
	for _, it := range m.raw {
		m.call(it)
	}
	for len(m.pending) > 0 {
		// The lowest rank first: whoever else calls the rule here has then been seen.
		low := 0
		for i := range m.pending {
			if n.rank[m.pending[i].rule] < n.rank[m.pending[low].rule] {
				low = i
			}
		}
		p := m.pending[low]
		m.pending[low] = m.pending[len(m.pending)-1]
		m.pending = m.pending[:len(m.pending)-1]
		it := item{n.starts[p.rule], m.frame(p.callers)}
		if len(m.raw) < maxItems {
			m.raw = append(m.raw, it)
			m.call(it)
		}
	}
	items := m.raw[:0]
	for _, it := range m.raw {
		if s := &n.states[it.state]; s.edge0 < s.edge1 {
			items = append(items, it)
		}
	}
	slices.SortFunc(items, func(a, b item) int {
		return cmp.Or(cmp.Compare(a.state, b.state), cmp.Compare(frameID(a.frame), frameID(b.frame)))
	})
	return m.intern(slices.Compact(items), pops)
}

func frameID(f *frame) uint32 {
	if f == nil {
		return 0
	}
	return f.id
}

// call notes the calls that an item begins.
func (m *machine) call(it item) {
	n := m.net
	for _, c := range n.callsOf(it.state) {
		at := slices.IndexFunc(m.pending, func(p pending) bool { return p.rule == c.rule })
		if at < 0 {
			at = len(m.pending)
			if at < cap(m.pending) {
				m.pending = m.pending[:at+1]
				m.pending[at] = pending{c.rule, nil}
			} else {
				m.pending = append(m.pending, pending{rule: c.rule})
			}
		}
		p := &m.pending[at]
		// A state with nothing but its end is not worth a return: its callers take its place, so that right recursion does
		// not pile up frames.
		if s := &n.states[c.to]; !s.final || s.edge0 < s.edge1 || s.call0 < s.call1 {
			p.callers = append(p.callers, caller{c.to, it.frame})
		} else if it.frame == nil {
			p.callers = append(p.callers, caller{-1, nil})
		} else {
			p.callers = append(p.callers, it.frame.callers...)
		}
	}
}

// frame returns the frame with these callers.
func (m *machine) frame(callers []caller) *frame {
	slices.SortFunc(callers, func(a, b caller) int {
		return cmp.Or(cmp.Compare(a.state, b.state), cmp.Compare(frameID(a.up), frameID(b.up)))
	})
	callers = slices.Compact(callers)
	if len(callers) == 1 && callers[0].state < 0 {
		return nil
	}
	callers = callers[:min(len(callers), maxItems)]
	m.key = m.key[:0]
	for _, c := range callers {
		m.key = binary.LittleEndian.AppendUint32(m.key, uint32(c.state))
		m.key = binary.LittleEndian.AppendUint32(m.key, frameID(c.up))
	}
	if f, ok := m.frames[string(m.key)]; ok {
		return f
	}
	m.ids++
	f := &frame{callers: slices.Clone(callers), id: m.ids}
	m.frames[string(m.key)] = f
	return f
}

// intern returns the config with these items.
func (m *machine) intern(items []item, pops bool) *config {
	m.key = m.key[:0]
	if pops {
		m.key = append(m.key, 1)
	}
	for _, it := range items {
		m.key = binary.LittleEndian.AppendUint32(m.key, uint32(it.state))
		m.key = binary.LittleEndian.AppendUint32(m.key, frameID(it.frame))
	}
	if c, ok := m.configs[string(m.key)]; ok {
		return c
	}
	c := &config{items: slices.Clone(items), pops: pops}
	m.configs[string(m.key)] = c
	return c
}
