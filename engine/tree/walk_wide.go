package tree

import "unsafe"

// wideWalker walks wide nodes, which are rare.
type wideWalker struct {
	walk
	nodes unsafe.Pointer
}

func wideNode(nodes unsafe.Pointer, at uint64) *wide { return (*wide)(unsafe.Add(nodes, at*16)) }

// wideKey is the key that a node looks at; scale is 1 for one row and 8 for eight side by side, of which lane is 4 × one's
// number.
func wideKey(keys unsafe.Pointer, n *wide, scale, lane uintptr) int32 {
	return *(*int32)(unsafe.Add(keys, uintptr(n.view)*scale+lane))
}

// next is the child of the node at a position.
func (w *wideWalker) next(n *wide, at uint64, key int32) uint64 {
	if n.bound == setBound {
		left := at + uint64(n.reach)
		if w.list[n.set].goesRight(int64(key)) {
			left++
		}
		return left
	}
	return at + uint64(n.reach) + uint64(int64(n.bound)-int64(key))>>63
}

func (w *wideWalker) rows(tree int, keys unsafe.Pointer, stride uintptr, leaf [][8]uint32) {
	root := w.roots[tree]
	for i := range leaf {
		group := unsafe.Add(keys, uintptr(i)*stride)
		w.four([4]uint32{root, root, root, root}, group, 8, 4, (*[4]uint32)(leaf[i][:4]))
		w.four([4]uint32{root, root, root, root}, unsafe.Add(group, 16), 8, 4, (*[4]uint32)(leaf[i][4:]))
	}
}

func (w *wideWalker) one(first int, keys unsafe.Pointer, leaf *[8]uint32) {
	w.four([4]uint32(w.roots[first:]), keys, 1, 0, (*[4]uint32)(leaf[:4]))
	w.four([4]uint32(w.roots[first+4:]), keys, 1, 0, (*[4]uint32)(leaf[4:]))
}

// four walks from four roots side by side; the keys of each stand apart bytes behind those of the one before.
func (w *wideWalker) four(roots [4]uint32, keys unsafe.Pointer, scale, apart uintptr, leaf *[4]uint32) {
	a, b, c, d := uint64(roots[0]), uint64(roots[1]), uint64(roots[2]), uint64(roots[3])
	for {
		na, nb, nc, nd := wideNode(w.nodes, a), wideNode(w.nodes, b), wideNode(w.nodes, c), wideNode(w.nodes, d)
		if na.reach|nb.reach|nc.reach|nd.reach == 0 {
			break
		}
		a = w.next(na, a, wideKey(keys, na, scale, 0))
		b = w.next(nb, b, wideKey(keys, nb, scale, apart))
		c = w.next(nc, c, wideKey(keys, nc, scale, 2*apart))
		d = w.next(nd, d, wideKey(keys, nd, scale, 3*apart))
	}
	*leaf = [4]uint32{uint32(a), uint32(b), uint32(c), uint32(d)}
}
