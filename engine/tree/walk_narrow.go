package tree

import "unsafe"

// The walkers read nodes and keys without bounds checks: layNodes has proved that every child exists and every view is
// one that a row has, and the caller gives keys for all views.

// walker picks the code for the kind of nodes.
func (w *walk) walker() walker {
	switch {
	case w.narrow == nil:
		return &wideWalker{*w, unsafe.Pointer(&w.wide[0])}
	case w.bits != nil:
		return &setWalker{narrowWalker{*w, unsafe.Pointer(&w.narrow[0])}, asked{unsafe.Pointer(&w.bits[0]), int64(w.numbers)*4 - 1}}
	}
	return &narrowWalker{*w, unsafe.Pointer(&w.narrow[0])}
}

// narrowWalker walks narrow nodes.
type narrowWalker struct {
	walk
	nodes unsafe.Pointer
}

// node reads a node.
func node(nodes unsafe.Pointer, at uint64) uint64 { return *(*uint64)(unsafe.Add(nodes, at*8)) }

// down is the child of node n, which stands at at, for a key.
func down(n, at uint64, key int32) uint64 {
	return at + uint64(uint32(n)>>16) + uint64(int64(n)>>32-int64(key))>>63
}

// keys8 are the keys that node n looks at, of eight rows side by side.
func keys8(keys unsafe.Pointer, n uint64) *[8]int32 {
	return (*[8]int32)(unsafe.Add(keys, uintptr(uint16(n))*8))
}

// key1 is the key that node n looks at, of one row.
func key1(keys unsafe.Pointer, n uint64) int32 {
	return *(*int32)(unsafe.Add(keys, uintptr(uint16(n))))
}

// areLeaves says that none of the nodes or-ed together has children.
func areLeaves(n uint64) bool { return uint32(n)>>16 == 0 }

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
		n := node(nodes, a)
		all := n
		a = down(n, a, keys8(keys, n)[0])
		n = node(nodes, b)
		all |= n
		b = down(n, b, keys8(keys, n)[1])
		n = node(nodes, c)
		all |= n
		c = down(n, c, keys8(keys, n)[2])
		n = node(nodes, d)
		all |= n
		d = down(n, d, keys8(keys, n)[3])
		n = node(nodes, e)
		all |= n
		e = down(n, e, keys8(keys, n)[4])
		n = node(nodes, f)
		all |= n
		f = down(n, f, keys8(keys, n)[5])
		n = node(nodes, g)
		all |= n
		g = down(n, g, keys8(keys, n)[6])
		n = node(nodes, h)
		all |= n
		h = down(n, h, keys8(keys, n)[7])
		if areLeaves(all) { // and the step has left them where they were
			break
		}
	}
	*leaf = [8]uint32{uint32(a), uint32(b), uint32(c), uint32(d), uint32(e), uint32(f), uint32(g), uint32(h)}
}

func (w *narrowWalker) one(first int, keys unsafe.Pointer, leaf *[8]uint32) {
	nodes, roots := w.nodes, (*[8]uint32)(w.roots[first:])
	a, b, c, d := uint64(roots[0]), uint64(roots[1]), uint64(roots[2]), uint64(roots[3])
	e, f, g, h := uint64(roots[4]), uint64(roots[5]), uint64(roots[6]), uint64(roots[7])
	for {
		n := node(nodes, a)
		all := n
		a = down(n, a, key1(keys, n))
		n = node(nodes, b)
		all |= n
		b = down(n, b, key1(keys, n))
		n = node(nodes, c)
		all |= n
		c = down(n, c, key1(keys, n))
		n = node(nodes, d)
		all |= n
		d = down(n, d, key1(keys, n))
		n = node(nodes, e)
		all |= n
		e = down(n, e, key1(keys, n))
		n = node(nodes, f)
		all |= n
		f = down(n, f, key1(keys, n))
		n = node(nodes, g)
		all |= n
		g = down(n, g, key1(keys, n))
		n = node(nodes, h)
		all |= n
		h = down(n, h, key1(keys, n))
		if areLeaves(all) { // and the step has left them where they were
			break
		}
	}
	*leaf = [8]uint32{uint32(a), uint32(b), uint32(c), uint32(d), uint32(e), uint32(f), uint32(g), uint32(h)}
}
