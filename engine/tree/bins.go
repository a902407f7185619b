package tree

import (
	"slices"
	"unsafe"
)

// Many rows go through oblivious trees by bytes. A key is only ever compared with the bounds of its view, so how many of
// them it is above says all: that is its bin, and where there are more than 127 bounds, each 127 of them make a column with
// bins of its own. The bins of eight rows in a column are one word; adding 127-j to each byte sets its highest bit where
// the bin is above j, and never carries into the next byte. So eight rows answer a question with one addition, and the
// answers of eight levels, shifted together, are the numbers of eight leaves.

const (
	perColumn  = 127                // bounds
	maxColumns = 512                // above it, keys are compared as they are
	highBits   = 0x8080808080808080 // of each byte
	lowBits    = 0x0101010101010101
	perWord    = 8 // levels whose answers fit into a byte
)

// bins are how a forest of oblivious trees is walked by many rows. They are never changed.
type bins struct {
	columns int
	views   []binView
	levels  []binLevel // of all trees, each tree's first question first
	trees   []obliviousTree
}

// binView says which bounds a view is compared with, rising, and which column is the first of its own.
type binView struct {
	bounds []int32
	first  int
}

// binLevel is a question: plus is added to the column's word, which stands so many bytes behind the first.
type binLevel struct {
	plus   uint64
	column uint64
}

// newBins lays the questions out anew; it returns nil where that takes too many columns.
func newBins(w *obliviousWalker, views int) *bins {
	b := &bins{views: make([]binView, max(views, 1)), trees: w.trees}
	for _, l := range w.levels {
		v := &b.views[l.view/4]
		v.bounds = append(v.bounds, l.bound)
	}
	for i := range b.views {
		v := &b.views[i]
		slices.Sort(v.bounds)
		v.bounds = slices.Clip(slices.Compact(v.bounds))
		v.first = b.columns
		b.columns += (len(v.bounds) + perColumn - 1) / perColumn
	}
	if b.columns > maxColumns {
		return nil
	}
	b.columns = max(b.columns, 1) // so that trees without questions have something to point at
	b.levels = make([]binLevel, len(w.levels))
	for _, t := range w.trees {
		for i := t.first; i < t.end; i++ {
			l := w.levels[t.end-1-(i-t.first)] // the walker's stand the other way round
			v := &b.views[l.view/4]
			at, _ := slices.BinarySearch(v.bounds, l.bound)
			b.levels[i] = binLevel{plus: uint64(perColumn-at%perColumn) * lowBits, column: uint64(v.first+at/perColumn) * 8}
		}
	}
	return b
}

func (b *bins) bytes() int64 {
	n := int64(len(b.levels))*16 + int64(len(b.views))*32
	for i := range b.views {
		n += int64(len(b.views[i].bounds)) * 4
	}
	return n
}

// fill makes the bins of a group of eight rows from their keys; key i of row r is number 8i+r of them.
func (b *bins) fill(dst []uint64, keys []int32) {
	for i := range b.views {
		v := &b.views[i]
		if len(v.bounds) == 0 {
			continue
		}
		eight := (*[group]int32)(keys[i*group:])
		ranks := v.rank(eight)
		rest := len(v.bounds)
		for c := v.first; rest > 0; c, rest = c+1, rest-perColumn {
			var word uint64
			for r := range ranks {
				word |= uint64(min(max(ranks[r], 0), perColumn)) << (8 * r)
				ranks[r] -= perColumn
			}
			dst[c] = word
		}
	}
}

// rank is how many bounds each key is above.
func (v *binView) rank(keys *[group]int32) [group]int {
	var lo [group]int
	for n := len(v.bounds); n > 0; {
		half := (n + 1) / 2
		for r, k := range keys {
			if v.bounds[lo[r]+half-1] < k {
				lo[r] += half
			}
		}
		n -= half
	}
	return lo
}

// answers asks some levels of eight rows whose bins start at a place. Answer i of row r is bit i of byte r, for up to eight
// levels.
func (b *bins) answers(levels []binLevel, word unsafe.Pointer) uint64 {
	var a uint64
	for i := range levels {
		l := &levels[i]
		a = a>>1 | (*(*uint64)(unsafe.Add(word, uintptr(l.column)))+l.plus)&highBits
	}
	return a >> (perWord - len(levels)) // the bits above are shifted out of no byte: none has more than it was given
}

// rows finds the leaves of groups of eight rows in one tree, as walker does; the bins of a group start stride bytes behind
// those of the one before.
func (b *bins) rows(tree int, words unsafe.Pointer, stride uintptr, leaf [][group]uint32) {
	t := &b.trees[tree]
	levels := b.levels[t.first:t.end]
	for g := range leaf {
		at := leaf[g][:]
		for r := range at {
			at[r] = t.leaf
		}
		for first := 0; first < len(levels); first += perWord {
			a := b.answers(levels[first:min(first+perWord, len(levels))], words)
			for r := range at {
				at[r] += uint32(a>>(8*r)&0xff) << first
			}
		}
		words = unsafe.Add(words, stride)
	}
}

// inStep is how many groups ask a question together.
const inStep = 4

// sumTree adds one tree's leaves to the sums of groups of eight rows, a multiple of inStep of them. The tree has up to eight
// levels; its leaves come first among the values, and no row reaches those behind them.
func sumTree[V float32 | float64](levels []binLevel, values *[1 << perWord]V, words unsafe.Pointer, stride uintptr, sums []V) {
	shift := perWord - len(levels)
	for len(sums) >= inStep*group {
		var a, b, c, d uint64
		second, third := unsafe.Add(words, stride), unsafe.Add(words, 2*stride)
		fourth := unsafe.Add(words, 3*stride)
		for i := range levels {
			l := &levels[i]
			at, plus := uintptr(l.column), l.plus
			a = a>>1 | (*(*uint64)(unsafe.Add(words, at))+plus)&highBits
			b = b>>1 | (*(*uint64)(unsafe.Add(second, at))+plus)&highBits
			c = c>>1 | (*(*uint64)(unsafe.Add(third, at))+plus)&highBits
			d = d>>1 | (*(*uint64)(unsafe.Add(fourth, at))+plus)&highBits
		}
		addEight((*[group]V)(sums), values, a>>shift)
		addEight((*[group]V)(sums[group:]), values, b>>shift)
		addEight((*[group]V)(sums[2*group:]), values, c>>shift)
		addEight((*[group]V)(sums[3*group:]), values, d>>shift)
		sums = sums[inStep*group:]
		words = unsafe.Add(words, inStep*stride)
	}
}

// addEight adds the leaves whose numbers are the bytes of a word.
func addEight[V float32 | float64](sums *[group]V, values *[1 << perWord]V, number uint64) {
	sums[0] += values[uint8(number)]
	sums[1] += values[uint8(number>>8)]
	sums[2] += values[uint8(number>>16)]
	sums[3] += values[uint8(number>>24)]
	sums[4] += values[uint8(number>>32)]
	sums[5] += values[uint8(number>>40)]
	sums[6] += values[uint8(number>>48)]
	sums[7] += values[uint8(number>>56)]
}
