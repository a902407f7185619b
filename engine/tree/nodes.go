package tree

import (
	"fmt"
	"math"
	"unsafe"
)

// Nodes stand in pairs: the two children of a split are neighbours, at an even position, so that a pair never lies across
// two cache lines. A tree starts with an empty position and its root.

// narrow is a node of 8 bytes:
//
//	bits 32…63  bound, of 32 bits
//	bits 16…31  how far behind the node its left child stands; 0: it is a leaf
//	bits 0…15   4 × the number of its view
type narrow uint64

const (
	narrowViews = 1<<14 - 1
	narrowReach = 1<<16 - 1
)

// wide is the same for models that narrow nodes cannot hold: very many features, very large trees or sets of categories.
type wide struct {
	bound int32
	reach uint32
	view  uint32 // 4 × its number
	set   uint32 // the number of the set that it asks for, if bound is setBound
}

// placed is where a node of a tree goes.
type placed struct {
	ref int32 // ≥ 0: a split; else ^leaf
	at  uint32
}

// order places the nodes of a tree from base on, level by level; it returns the first free position. put is called once
// for each node; left is where the first child stands.
func (t *tree) order(base uint32, queue []placed, put func(n placed, left uint32)) (uint32, []placed) {
	root := int32(0)
	if len(t.splits) == 0 {
		root = ^int32(0)
	}
	queue = append(queue[:0], placed{root, base + 1})
	next := base + 2
	for i := 0; i < len(queue); i++ {
		n := queue[i]
		put(n, next)
		if n.ref >= 0 {
			s := &t.splits[n.ref]
			queue = append(queue, placed{s.left, next}, placed{s.right, next + 1})
			next += 2
		}
	}
	return next, queue
}

// maxSplits bounds a tree, and maxNodes a forest, whose positions have 32 bits.
const (
	maxSplits = 1 << 30
	maxNodes  = math.MaxUint32
)

// blockBytes is about how much of the nodes of consecutive trees goes over all rows at hand before the next ones do: it
// stays in a core's own cache meanwhile, beside the rows' keys.
const blockBytes = 256 << 10

// extent is what is known of a forest's nodes before they are laid out.
type extent struct {
	nodes uint64 // positions
	reach uint32 // the farthest from a split to its children
	sets  map[int]setExtent
}

// measure goes over all trees.
func (f *forest) measure(index map[view]int) (extent, error) {
	x := extent{nodes: 2, sets: map[int]setExtent{}} // position 1 is a leaf that stands in for trees that are not there
	var queue []placed
	for i := range f.trees {
		t := &f.trees[i]
		if len(t.splits) > maxSplits {
			return x, fmt.Errorf("tree %d has %d splits; at most %d are served", i, len(t.splits), maxSplits)
		}
		var end uint32
		end, queue = t.order(0, queue, func(n placed, left uint32) {
			if n.ref < 0 {
				return
			}
			x.reach = max(x.reach, left-n.at)
			if s := &t.splits[n.ref]; s.isSet() {
				view := index[f.view(s)]
				e := x.sets[view]
				x.sets[view] = setExtent{count: e.count + 1, categories: max(e.categories, int64(len(s.set))*32)}
			}
		})
		x.nodes += uint64(end)
	}
	if x.nodes > maxNodes {
		return x, fmt.Errorf("the model has %d nodes; at most %d are served", x.nodes, uint64(maxNodes))
	}
	return x, nil
}

// layNodes lays out trees of any shape.
func (f *forest) layNodes(index map[view]int, ids bool) error {
	x, err := f.measure(index)
	if err != nil {
		return err
	}
	w := walk{roots: make([]uint32, 0, len(f.trees)+group), numbers: f.numbers}
	if len(f.views) > narrowViews || x.reach > narrowReach || !w.fitBits(x) {
		w.wide = aligned[wide](int(x.nodes))
	} else {
		w.narrow = aligned[narrow](int(x.nodes))
	}
	if ids {
		f.ids = make([]int32, x.nodes)
	}
	if f.single {
		f.leaves32 = newLeaves[float32](f.ensemble, int(x.nodes))
	} else {
		f.leaves64 = newLeaves[float64](f.ensemble, int(x.nodes))
	}
	w.leaf(1)
	base, from := uint32(2), uint32(0)
	var queue []placed
	for i := range f.trees {
		t := &f.trees[i]
		if base-from > blockBytes/8 {
			f.blocks = append(f.blocks, i)
			from = base
		}
		w.roots = append(w.roots, base+1)
		base, queue = t.order(base, queue, func(n placed, left uint32) {
			if n.ref < 0 {
				w.leaf(n.at)
				f.setLeaf(t, int(^n.ref), n.at)
				return
			}
			s := &t.splits[n.ref]
			view, bound := index[f.view(s)], int32(setBound)
			switch {
			case !s.isSet():
				bound = f.bound(s, view)
			case w.narrow != nil:
				bound = w.ask(s.asSet(), view)
			}
			w.split(n.at, left-n.at, bound, view)
			if bound == setBound {
				w.wide[n.at].set = w.keep(s.asSet())
			}
		})
	}
	f.blocks = append(f.blocks, len(f.trees))
	for range group { // so that as many trees can be walked from any tree on
		w.roots = append(w.roots, 1)
	}
	f.bytes += w.bytes() + int64(len(f.ids))*4
	f.room = w.room
	f.walker = w.walker()
	return nil
}

// newLeaves makes room for leaves at n positions, for values of one where each holds one.
func newLeaves[V float32 | float64](e *ensemble, n int) *leaves[V] {
	if e.width == 1 {
		return &leaves[V]{values: make([]V, n)}
	}
	return &leaves[V]{slots: make([]uint32, n), values: make([]V, e.width)} // the first slot is that of no leaf: zeros
}

// setLeaf puts a leaf's values and name at its position.
func (f *forest) setLeaf(t *tree, leaf int, at uint32) {
	values := t.leaves[leaf*f.ensemble.width : (leaf+1)*f.ensemble.width]
	if f.single {
		f.leaves32.set(values, at)
	} else {
		f.leaves64.set(values, at)
	}
	if f.ids != nil {
		f.ids[at] = int32(leaf)
		if t.ids != nil {
			f.ids[at] = t.ids[leaf]
		}
	}
}

func (l *leaves[V]) set(values []float64, at uint32) {
	if l.slots == nil {
		l.values[at] = V(values[0])
		return
	}
	l.slots[at] = uint32(len(l.values) / len(values))
	for _, v := range values {
		l.values = append(l.values, V(v))
	}
}

// leafBytes is what the leaves take.
func (f *forest) leafBytes() int64 {
	if f.single {
		return f.leaves32.bytes(4)
	}
	return f.leaves64.bytes(8)
}

func (l *leaves[V]) bytes(size int64) int64 { return int64(len(l.values))*size + int64(len(l.slots))*4 }

// walk is what the walkers of nodes share.
type walk struct {
	narrow  []narrow // one of the two is set
	wide    []wide
	roots   []uint32
	numbers int // views below are numbers
	setTable
}

func (w *walk) bytes() int64 {
	return int64(len(w.narrow))*8 + int64(len(w.wide))*16 + int64(len(w.roots))*4 + w.setTable.bytes()
}

// leaf makes the node at a position a leaf.
func (w *walk) leaf(at uint32) {
	if w.narrow != nil {
		w.narrow[at] = leafBound << 32
	} else {
		w.wide[at] = wide{bound: leafBound}
	}
}

// split makes the node at a position a split whose children stand reach behind it.
func (w *walk) split(at, reach uint32, bound int32, view int) {
	if w.narrow != nil {
		w.narrow[at] = narrow(uint32(bound))<<32 | narrow(reach)<<16 | narrow(view)*4
	} else {
		w.wide[at] = wide{bound: bound, reach: reach, view: uint32(view) * 4}
	}
}

// aligned starts at a cache line, so that pairs do not lie across two.
func aligned[T narrow | wide](n int) []T {
	size := unsafe.Sizeof(*new(T))
	nodes := make([]T, n+int(64/size))
	skip := int((64 - uintptr(unsafe.Pointer(&nodes[0]))%64) % 64 / size)
	return nodes[skip : skip+n : skip+n]
}
