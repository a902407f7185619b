package tree

import "unsafe"

// wideWalker walks wide nodes, which are rare: float64 inputs, and models beyond what narrow ones can hold.
type wideWalker struct {
	walk
	nodes unsafe.Pointer
}

func (w *wideWalker) width() int { return 8 }

func wideNode(nodes unsafe.Pointer, at uint64) *wide { return (*wide)(unsafe.Add(nodes, at*16)) }

// wideKey is the key that a node looks at; scale is 1 for one row and 8 for eight side by side.
func wideKey(keys unsafe.Pointer, n *wide, scale, lane uintptr) int64 {
	return *(*int64)(unsafe.Add(keys, uintptr(n.view)*scale+lane))
}

// wideDown is the child of a node for a key.
func wideDown(n *wide, at uint64, key int64) uint64 {
	at += uint64(n.reach)
	next := at + 1
	if key > n.bound {
		at = next
	}
	return at
}

func (w *wideWalker) rows(tree int, keys unsafe.Pointer, stride uintptr, leaf [][8]uint32) {
	for i := range leaf {
		group := unsafe.Add(keys, uintptr(i)*stride)
		w.half(w.roots[tree], group, (*[4]uint32)(leaf[i][:4]))
		w.half(w.roots[tree], unsafe.Add(group, 32), (*[4]uint32)(leaf[i][4:]))
	}
}

// half walks four of eight rows through a tree.
func (w *wideWalker) half(root uint32, keys unsafe.Pointer, leaf *[4]uint32) {
	a, b, c, d := uint64(root), uint64(root), uint64(root), uint64(root)
	for {
		na, nb, nc, nd := wideNode(w.nodes, a), wideNode(w.nodes, b), wideNode(w.nodes, c), wideNode(w.nodes, d)
		if na.reach|nb.reach|nc.reach|nd.reach == 0 {
			break
		}
		a = wideDown(na, a, wideKey(keys, na, 8, 0))
		b = wideDown(nb, b, wideKey(keys, nb, 8, 8))
		c = wideDown(nc, c, wideKey(keys, nc, 8, 16))
		d = wideDown(nd, d, wideKey(keys, nd, 8, 24))
	}
	*leaf = [4]uint32{uint32(a), uint32(b), uint32(c), uint32(d)}
}

func (w *wideWalker) one(first int, keys unsafe.Pointer, leaf *[8]uint32) {
	for i := 0; i < 8; i += 4 {
		roots := (*[4]uint32)(w.roots[first+i:])
		a, b, c, d := uint64(roots[0]), uint64(roots[1]), uint64(roots[2]), uint64(roots[3])
		for {
			na, nb, nc, nd := wideNode(w.nodes, a), wideNode(w.nodes, b), wideNode(w.nodes, c), wideNode(w.nodes, d)
			if na.reach|nb.reach|nc.reach|nd.reach == 0 {
				break
			}
			a = wideDown(na, a, wideKey(keys, na, 1, 0))
			b = wideDown(nb, b, wideKey(keys, nb, 1, 0))
			c = wideDown(nc, c, wideKey(keys, nc, 1, 0))
			d = wideDown(nd, d, wideKey(keys, nd, 1, 0))
		}
		*(*[4]uint32)(leaf[i:]) = [4]uint32{uint32(a), uint32(b), uint32(c), uint32(d)}
	}
}

// wideSetWalker walks wide nodes of which some ask for sets.
type wideSetWalker struct{ wideWalker }

func (w *wideSetWalker) next(n *wide, at uint64, key int64) uint64 {
	if n.bound != set64 {
		return wideDown(n, at, key)
	}
	left := at + uint64(n.reach)
	if w.sets[w.setOf[at]].goesRight(key) {
		left++
	}
	return left
}

func (w *wideSetWalker) rows(tree int, keys unsafe.Pointer, stride uintptr, leaf [][8]uint32) {
	for i := range leaf {
		group := unsafe.Add(keys, uintptr(i)*stride)
		for j := range leaf[i] {
			at := uint64(w.roots[tree])
			for n := wideNode(w.nodes, at); n.reach != 0; n = wideNode(w.nodes, at) {
				at = w.next(n, at, wideKey(group, n, 8, uintptr(j)*8))
			}
			leaf[i][j] = uint32(at)
		}
	}
}

func (w *wideSetWalker) one(first int, keys unsafe.Pointer, leaf *[8]uint32) {
	for i := range leaf {
		at := uint64(w.roots[first+i])
		for n := wideNode(w.nodes, at); n.reach != 0; n = wideNode(w.nodes, at) {
			at = w.next(n, at, wideKey(keys, n, 1, 0))
		}
		leaf[i] = uint32(at)
	}
}
