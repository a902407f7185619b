package tree

import "unsafe"

// The walkers read nodes and keys without bounds checks: layNodes has proved that every child exists and every view is
// one that a row has, and the caller gives keys for all views.

// walker picks the code for the kind of nodes.
func (w *walk) walker() walker {
	switch {
	case w.narrow != nil && w.setOf == nil:
		return &narrowWalker{*w, unsafe.Pointer(&w.narrow[0])}
	case w.narrow != nil:
		return &narrowSetWalker{narrowWalker{*w, unsafe.Pointer(&w.narrow[0])}}
	case w.setOf == nil:
		return &wideWalker{*w, unsafe.Pointer(&w.wide[0])}
	}
	return &wideSetWalker{wideWalker{*w, unsafe.Pointer(&w.wide[0])}}
}

// narrowWalker walks narrow nodes.
type narrowWalker struct {
	walk
	nodes unsafe.Pointer
}

func (w *narrowWalker) width() int { return 4 }

// node reads a node.
func node(nodes unsafe.Pointer, at uint64) uint64 { return *(*uint64)(unsafe.Add(nodes, at*8)) }

// down is the child of node n, which stands at at, for a key.
func down(n, at uint64, key int32) uint64 {
	return at + uint64(uint32(n)>>16) + uint64(int64(n)>>32-int64(key))>>63
}

// key8 is the key that node n looks at, of one of eight rows side by side; lane is 4 × its number.
func key8(keys unsafe.Pointer, n uint64, lane uintptr) int32 {
	return *(*int32)(unsafe.Add(keys, uintptr(uint16(n))*8+lane))
}

// key1 is the key that node n looks at.
func key1(keys unsafe.Pointer, n uint64) int32 {
	return *(*int32)(unsafe.Add(keys, uintptr(uint16(n))))
}

// isLeaf says that none of the nodes or-ed together has children.
func isLeaf(n uint64) bool { return uint32(n)>>16 == 0 }

func (w *narrowWalker) rows(tree int, keys unsafe.Pointer, stride uintptr, leaf [][8]uint32) {
	root := uint64(w.roots[tree])
	for i := range leaf {
		eight(w.nodes, root, unsafe.Add(keys, uintptr(i)*stride), &leaf[i])
	}
}

// eight walks eight rows side by side through the tree of a root.
func eight(nodes unsafe.Pointer, root uint64, keys unsafe.Pointer, leaf *[8]uint32) {
	a, b, c, d, e, f, g, h := root, root, root, root, root, root, root, root
	for {
		na, nb, nc, nd := node(nodes, a), node(nodes, b), node(nodes, c), node(nodes, d)
		ne, nf, ng, nh := node(nodes, e), node(nodes, f), node(nodes, g), node(nodes, h)
		if isLeaf(na | nb | nc | nd | ne | nf | ng | nh) {
			break
		}
		a = down(na, a, key8(keys, na, 0))
		b = down(nb, b, key8(keys, nb, 4))
		c = down(nc, c, key8(keys, nc, 8))
		d = down(nd, d, key8(keys, nd, 12))
		e = down(ne, e, key8(keys, ne, 16))
		f = down(nf, f, key8(keys, nf, 20))
		g = down(ng, g, key8(keys, ng, 24))
		h = down(nh, h, key8(keys, nh, 28))
	}
	*leaf = [8]uint32{uint32(a), uint32(b), uint32(c), uint32(d), uint32(e), uint32(f), uint32(g), uint32(h)}
}

func (w *narrowWalker) one(first int, keys unsafe.Pointer, leaf *[8]uint32) {
	nodes, roots := w.nodes, (*[8]uint32)(w.roots[first:])
	a, b, c, d := uint64(roots[0]), uint64(roots[1]), uint64(roots[2]), uint64(roots[3])
	e, f, g, h := uint64(roots[4]), uint64(roots[5]), uint64(roots[6]), uint64(roots[7])
	for {
		na, nb, nc, nd := node(nodes, a), node(nodes, b), node(nodes, c), node(nodes, d)
		ne, nf, ng, nh := node(nodes, e), node(nodes, f), node(nodes, g), node(nodes, h)
		if isLeaf(na | nb | nc | nd | ne | nf | ng | nh) {
			break
		}
		a = down(na, a, key1(keys, na))
		b = down(nb, b, key1(keys, nb))
		c = down(nc, c, key1(keys, nc))
		d = down(nd, d, key1(keys, nd))
		e = down(ne, e, key1(keys, ne))
		f = down(nf, f, key1(keys, nf))
		g = down(ng, g, key1(keys, ng))
		h = down(nh, h, key1(keys, nh))
	}
	*leaf = [8]uint32{uint32(a), uint32(b), uint32(c), uint32(d), uint32(e), uint32(f), uint32(g), uint32(h)}
}

// narrowSetWalker walks narrow nodes of which some ask for sets.
type narrowSetWalker struct{ narrowWalker }

// next is down, for nodes that may ask for a set.
func (w *narrowSetWalker) next(n, at uint64, key int32) uint64 {
	if uint32(n>>32) != set32 {
		return down(n, at, key)
	}
	left := at + uint64(uint32(n)>>16)
	if w.sets[w.setOf[at]].goesRight(int64(key)) {
		left++
	}
	return left
}

func (w *narrowSetWalker) rows(tree int, keys unsafe.Pointer, stride uintptr, leaf [][8]uint32) {
	root := uint64(w.roots[tree])
	for i := range leaf {
		w.eight(root, unsafe.Add(keys, uintptr(i)*stride), &leaf[i])
	}
}

func (w *narrowSetWalker) eight(root uint64, keys unsafe.Pointer, leaf *[8]uint32) {
	at := [8]uint64{root, root, root, root, root, root, root, root}
	for live := true; live; {
		live = false
		for i := range at {
			n := node(w.nodes, at[i])
			if !isLeaf(n) {
				live = true
				at[i] = w.next(n, at[i], key8(keys, n, uintptr(i)*4))
			}
		}
	}
	for i := range at {
		leaf[i] = uint32(at[i])
	}
}

func (w *narrowSetWalker) one(first int, keys unsafe.Pointer, leaf *[8]uint32) {
	roots := (*[8]uint32)(w.roots[first:])
	for i := range roots {
		at := uint64(roots[i])
		for {
			n := node(w.nodes, at)
			if isLeaf(n) {
				break
			}
			at = w.next(n, at, key1(keys, n))
		}
		leaf[i] = uint32(at)
	}
}
