package tree

import "unsafe"

// level is one question of an oblivious tree: is the key above the bound?
type level struct {
	bound int32
	view  uint32 // 4 × its number
}

// obliviousTree asks levels[first:end], the last one first; its leaves stand from leaf on.
type obliviousTree struct {
	first, end, leaf uint32
}

// obliviousWalker walks oblivious trees: their questions do not depend on each other, so that no step waits for the last.
type obliviousWalker struct {
	trees  []obliviousTree
	levels []level
}

// layOblivious lays out trees whose splits are levels. Leaf 0 stands in for trees that are not there.
func (f *forest) layOblivious(index map[view]int, ids bool) {
	w := &obliviousWalker{}
	width := f.ensemble.width
	values := make([]float64, width)
	at := uint32(1)
	for i := range f.trees {
		t := &f.trees[i]
		o := obliviousTree{first: uint32(len(w.levels)), leaf: at}
		for j := len(t.splits) - 1; j >= 0; j-- {
			s := &t.splits[j]
			w.levels = append(w.levels, level{bound: s.bound(), view: uint32(index[f.view(s)]) * 4})
		}
		o.end = uint32(len(w.levels))
		w.trees = append(w.trees, o)
		values = append(values, t.leaves...)
		at += uint32(len(t.leaves) / width)
	}
	if ids {
		f.ids = make([]int32, at)
		for i := range f.trees {
			for leaf := range int32(1) << len(f.trees[i].splits) {
				f.ids[w.trees[i].leaf+uint32(leaf)] = leaf
			}
		}
	}
	for range group {
		w.trees = append(w.trees, obliviousTree{})
	}
	values = append(values, make([]float64, 1<<perWord)...) // so that as many stand behind the start of every tree's
	f.leaves64 = &leaves[float64]{values: values}
	if width > 1 {
		f.leaves64.slots = make([]uint32, at)
		for i := range f.leaves64.slots {
			f.leaves64.slots[i] = uint32(i)
		}
	}
	f.blocks = []int{len(f.trees)}
	f.bytes += int64(len(w.levels))*8 + int64(len(w.trees))*12 + int64(len(f.ids))*4
	f.walker = w
	if f.bins = newBins(w, len(f.views)); f.bins != nil {
		f.bytes += f.bins.bytes()
	}
}

// above is 1 where the key is above the bound, else 0.
func above(key, bound int32) uint32 { return uint32(uint64(int64(bound)-int64(key)) >> 63) }

func (w *obliviousWalker) rows(tree int, keys unsafe.Pointer, stride uintptr, leaf [][8]uint32) {
	t := &w.trees[tree]
	for i := range leaf {
		w.eight(t, unsafe.Add(keys, uintptr(i)*stride), &leaf[i])
	}
}

func (w *obliviousWalker) eight(t *obliviousTree, keys unsafe.Pointer, leaf *[8]uint32) {
	var a, b, c, d, e, f, g, h uint32
	for i := t.first; i < t.end; i++ {
		l := &w.levels[i]
		row := (*[8]int32)(unsafe.Add(keys, uintptr(l.view)*8))
		a = a<<1 | above(row[0], l.bound)
		b = b<<1 | above(row[1], l.bound)
		c = c<<1 | above(row[2], l.bound)
		d = d<<1 | above(row[3], l.bound)
		e = e<<1 | above(row[4], l.bound)
		f = f<<1 | above(row[5], l.bound)
		g = g<<1 | above(row[6], l.bound)
		h = h<<1 | above(row[7], l.bound)
	}
	*leaf = [8]uint32{t.leaf + a, t.leaf + b, t.leaf + c, t.leaf + d, t.leaf + e, t.leaf + f, t.leaf + g, t.leaf + h}
}

func (w *obliviousWalker) one(first int, keys unsafe.Pointer, leaf *[8]uint32) {
	for i := range leaf {
		t := &w.trees[first+i]
		var a uint32
		for _, l := range w.levels[t.first:t.end] {
			a = a<<1 | above(*(*int32)(unsafe.Add(keys, uintptr(l.view))), l.bound)
		}
		leaf[i] = t.leaf + a
	}
}
