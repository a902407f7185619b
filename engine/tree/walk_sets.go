package tree

import "unsafe"

// asked are the sets of a forest, laid out so that a step asks for one without a branch: bit bound+key says whether the
// category of a key goes right. Keys of code views are 0 for a missing category, 1 for an invalid one, 2 for category 0 and
// so on, and the last one stands for all that are in no set of the feature.
type asked struct {
	bits unsafe.Pointer
	last int64 // nodes whose 4 × view is above it ask for a set; bit 0, which all others read, is 0
}

// next is the child of node n, which may ask for a set.
func (s asked) next(n, at uint64, key int32) uint64 {
	bound := int64(n) >> 32
	bit := uint64(bound+int64(key)) & uint64((s.last-int64(uint16(n)))>>63)
	right := uint64(*(*uint32)(unsafe.Add(s.bits, bit>>5<<2))>>(bit&31)) & 1
	// The bound of a set is above all its keys, so that it is never right by comparison.
	return at + uint64(uint32(n)>>16) + uint64(bound-int64(key))>>63 + right
}

// setWalker walks narrow nodes of which some ask for sets.
type setWalker struct {
	narrowWalker
	sets asked
}

func (w *setWalker) rows(tree int, keys unsafe.Pointer, stride uintptr, leaf [][8]uint32) {
	root := uint64(w.roots[tree])
	for i := range leaf {
		w.eight(root, unsafe.Add(keys, uintptr(i)*stride), &leaf[i])
	}
}

// eight walks eight rows side by side through the tree of a root.
func (w *setWalker) eight(root uint64, keys unsafe.Pointer, leaf *[8]uint32) {
	nodes, sets := w.nodes, w.sets
	a, b, c, d, e, f, g, h := root, root, root, root, root, root, root, root
	for {
		n := node(nodes, a)
		all := n
		a = sets.next(n, a, keys8(keys, n)[0])
		n = node(nodes, b)
		all |= n
		b = sets.next(n, b, keys8(keys, n)[1])
		n = node(nodes, c)
		all |= n
		c = sets.next(n, c, keys8(keys, n)[2])
		n = node(nodes, d)
		all |= n
		d = sets.next(n, d, keys8(keys, n)[3])
		n = node(nodes, e)
		all |= n
		e = sets.next(n, e, keys8(keys, n)[4])
		n = node(nodes, f)
		all |= n
		f = sets.next(n, f, keys8(keys, n)[5])
		n = node(nodes, g)
		all |= n
		g = sets.next(n, g, keys8(keys, n)[6])
		n = node(nodes, h)
		all |= n
		h = sets.next(n, h, keys8(keys, n)[7])
		if areLeaves(all) { // and the step has left them where they were
			break
		}
	}
	*leaf = [8]uint32{uint32(a), uint32(b), uint32(c), uint32(d), uint32(e), uint32(f), uint32(g), uint32(h)}
}

func (w *setWalker) one(first int, keys unsafe.Pointer, leaf *[8]uint32) {
	nodes, sets, roots := w.nodes, w.sets, (*[8]uint32)(w.roots[first:])
	a, b, c, d := uint64(roots[0]), uint64(roots[1]), uint64(roots[2]), uint64(roots[3])
	e, f, g, h := uint64(roots[4]), uint64(roots[5]), uint64(roots[6]), uint64(roots[7])
	for {
		n := node(nodes, a)
		all := n
		a = sets.next(n, a, key1(keys, n))
		n = node(nodes, b)
		all |= n
		b = sets.next(n, b, key1(keys, n))
		n = node(nodes, c)
		all |= n
		c = sets.next(n, c, key1(keys, n))
		n = node(nodes, d)
		all |= n
		d = sets.next(n, d, key1(keys, n))
		n = node(nodes, e)
		all |= n
		e = sets.next(n, e, key1(keys, n))
		n = node(nodes, f)
		all |= n
		f = sets.next(n, f, key1(keys, n))
		n = node(nodes, g)
		all |= n
		g = sets.next(n, g, key1(keys, n))
		n = node(nodes, h)
		all |= n
		h = sets.next(n, h, key1(keys, n))
		if areLeaves(all) { // and the step has left them where they were
			break
		}
	}
	*leaf = [8]uint32{uint32(a), uint32(b), uint32(c), uint32(d), uint32(e), uint32(f), uint32(g), uint32(h)}
}
