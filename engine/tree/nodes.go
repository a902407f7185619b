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

// wide is the same in 16 bytes, for keys of 64 bits, many features, and very large trees.
type wide struct {
	bound int64
	reach uint32
	view  uint32 // 8 × its number
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

// layNodes lays out trees of any shape.
func (f *forest) layNodes(index map[view]int, ids bool) error {
	nodes, reach, sets := uint64(2), uint32(0), false // position 1 is a leaf that stands in for trees that are not there
	var queue []placed
	for i := range f.trees {
		t := &f.trees[i]
		if len(t.splits) > maxSplits {
			return fmt.Errorf("tree %d has %d splits; at most %d are served", i, len(t.splits), maxSplits)
		}
		var end uint32
		end, queue = t.order(0, queue, func(n placed, left uint32) {
			if n.ref >= 0 {
				reach = max(reach, left-n.at)
				sets = sets || t.splits[n.ref].test == inSet || t.splits[n.ref].test == notInSet
			}
		})
		nodes += uint64(end)
	}
	if nodes > maxNodes {
		return fmt.Errorf("the model has %d nodes; at most %d are served", nodes, uint64(maxNodes))
	}
	w := walk{roots: make([]uint32, 0, len(f.trees)+8)}
	if f.exact || len(f.views) > narrowViews || reach > narrowReach {
		w.wide = alignedWide(int(nodes))
	} else {
		w.narrow = alignedNarrow(int(nodes))
	}
	if sets {
		w.setOf = make([]uint32, nodes)
	}
	if ids {
		f.ids = make([]int32, nodes)
	}
	if f.single {
		f.leaves32 = newLeaves[float32](f.ensemble, int(nodes))
	} else {
		f.leaves64 = newLeaves[float64](f.ensemble, int(nodes))
	}
	w.leaf(1)
	base, from := uint32(2), uint32(0)
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
			w.split(s, n.at, left-n.at, index[f.view(s)], f.exact)
		})
	}
	f.blocks = append(f.blocks, len(f.trees))
	for range 8 { // so that eight trees can be walked from any tree on
		w.roots = append(w.roots, 1)
	}
	f.bytes = int64(len(w.narrow))*8 + int64(len(w.wide))*16 + int64(len(w.setOf)+len(f.ids)+len(w.roots))*4
	for i := range w.sets {
		f.bytes += int64(len(w.sets[i].bits)) * 4
	}
	if f.single {
		f.bytes += f.leaves32.bytes(4)
	} else {
		f.bytes += f.leaves64.bytes(8)
	}
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

func (l *leaves[V]) bytes(size int64) int64 { return int64(len(l.values))*size + int64(len(l.slots))*4 }

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

// walk is what the walkers of nodes share.
type walk struct {
	narrow []narrow // one of the two is set
	wide   []wide
	roots  []uint32
	sets   []set
	setOf  []uint32 // by position; nil: no split asks for a set
}

// leaf makes the node at a position a leaf.
func (w *walk) leaf(at uint32) {
	if w.narrow != nil {
		w.narrow[at] = narrow(uint64(leaf32) << 32)
		return
	}
	w.wide[at] = wide{bound: leaf64}
}

// split makes the node at a position a split whose children stand reach behind it.
func (w *walk) split(s *split, at, reach uint32, view int, exact bool) {
	isSet := s.test == inSet || s.test == notInSet
	if isSet {
		w.setOf[at] = uint32(len(w.sets))
		w.sets = append(w.sets, set{bits: s.set, in: s.test == inSet, right: s.absent == nanRight})
	}
	if w.narrow != nil {
		bound := int64(set32)
		if !isSet {
			bound = s.bound(false)
		}
		w.narrow[at] = narrow(uint64(uint32(bound))<<32 | uint64(reach)<<16 | uint64(view)*4)
		return
	}
	n := wide{bound: set64, reach: reach, view: uint32(view) * 8}
	if !isSet {
		n.bound = s.bound(exact)
	}
	w.wide[at] = n
}

// alignedNarrow and alignedWide start at a cache line, so that pairs do not lie across two.
func alignedNarrow(n int) []narrow {
	const line = 64 / unsafe.Sizeof(narrow(0))
	nodes := make([]narrow, n+int(line))
	skip := (64 - uintptr(unsafe.Pointer(&nodes[0]))%64) % 64 / unsafe.Sizeof(narrow(0))
	return nodes[skip : int(skip)+n : int(skip)+n]
}

func alignedWide(n int) []wide {
	const line = 64 / unsafe.Sizeof(wide{})
	nodes := make([]wide, n+int(line))
	skip := (64 - uintptr(unsafe.Pointer(&nodes[0]))%64) % 64 / unsafe.Sizeof(wide{})
	return nodes[skip : int(skip)+n : int(skip)+n]
}
