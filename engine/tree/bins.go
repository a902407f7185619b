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
	perWord    = 8          // levels whose answers fit into a byte
	pitch      = atOnce + 8 // words from a column to the next; no power of two, or columns would share lines of the cache
	inStep     = 4          // groups that are asked together
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

// binLevel is a question: plus is added to the words of the column, which starts so many bytes behind the first.
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
			b.levels[i] = binLevel{plus: uint64(perColumn-at%perColumn) * lowBits, column: uint64(v.first+at/perColumn) * pitch * 8}
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

// fill makes the bins of group number g from its keys; key i of row r is number 8i+r of them.
func (b *bins) fill(words []uint64, g int, keys []int32) {
	for i := range b.views {
		v := &b.views[i]
		if len(v.bounds) == 0 {
			continue
		}
		eight := (*[group]int32)(keys[i*group:])
		var ranks [group]int
		rankFour(v.bounds, (*[4]int32)(eight[:]), (*[4]int)(ranks[:]))
		rankFour(v.bounds, (*[4]int32)(eight[4:]), (*[4]int)(ranks[4:]))
		at := v.first*pitch + g
		for rest := len(v.bounds); rest > 0; rest -= perColumn {
			var word uint64
			for r := range ranks {
				word |= uint64(min(max(ranks[r], 0), perColumn)) << (8 * r)
				ranks[r] -= perColumn
			}
			words[at] = word
			at += pitch
		}
	}
}

// rankFour finds how many of the rising bounds each key is above: four searches side by side, without a branch.
func rankFour(bounds []int32, keys *[4]int32, ranks *[4]int) {
	k0, k1, k2, k3 := int64(keys[0]), int64(keys[1]), int64(keys[2]), int64(keys[3])
	var a, b, c, d int64
	start := unsafe.Pointer(unsafe.SliceData(bounds))
	for n := int64(len(bounds)); n > 0; {
		half := (n + 1) >> 1
		middle := unsafe.Add(start, (half-1)*4) // a to d are at most len(bounds)-n
		a += half & ((int64(*(*int32)(unsafe.Add(middle, a*4))) - k0) >> 63)
		b += half & ((int64(*(*int32)(unsafe.Add(middle, b*4))) - k1) >> 63)
		c += half & ((int64(*(*int32)(unsafe.Add(middle, c*4))) - k2) >> 63)
		d += half & ((int64(*(*int32)(unsafe.Add(middle, d*4))) - k3) >> 63)
		n -= half
	}
	*ranks = [4]int{int(a), int(b), int(c), int(d)}
}

// answer asks up to eight levels of as many groups as numbers has room for; answer i of row r of a group is bit i of byte r
// of its number. The first group's words start at a place.
func answer(levels []binLevel, words unsafe.Pointer, numbers []uint64) {
	shift := perWord - len(levels) // what it shifts out of a byte is 0: no byte has more answers than levels
	for len(numbers) >= inStep {
		four := (*[inStep]uint64)(numbers)
		answerFour(levels, words, shift, four)
		numbers = numbers[inStep:]
		words = unsafe.Add(words, inStep*8)
	}
	for g := range numbers {
		var a uint64
		for i := range levels {
			l := &levels[i]
			a = a>>1 | (*(*uint64)(unsafe.Add(words, l.column))+l.plus)&highBits
		}
		numbers[g] = a >> (shift & 63)
		words = unsafe.Add(words, 8)
	}
}

// answerFour is answer for four groups. It is a function of its own so that all it counts stays in registers.
//
//go:noinline
func answerFour(levels []binLevel, words unsafe.Pointer, shift int, numbers *[inStep]uint64) {
	var a, b, c, d uint64
	for i := range levels {
		w := (*[inStep]uint64)(unsafe.Add(words, levels[i].column))
		plus := levels[i].plus
		a = a>>1 | (w[0]+plus)&highBits
		b = b>>1 | (w[1]+plus)&highBits
		c = c>>1 | (w[2]+plus)&highBits
		d = d>>1 | (w[3]+plus)&highBits
	}
	numbers[0], numbers[1], numbers[2], numbers[3] = a>>(shift&63), b>>(shift&63), c>>(shift&63), d>>(shift&63)
}

// rows finds the leaves of groups of eight rows, from group number first on, in one tree, as walker does.
func (b *bins) rows(tree int, words []uint64, first int, leaf [][group]uint32) {
	t := &b.trees[tree]
	levels := b.levels[t.first:t.end]
	for g := range leaf {
		leaf[g] = [group]uint32{t.leaf, t.leaf, t.leaf, t.leaf, t.leaf, t.leaf, t.leaf, t.leaf}
	}
	var numbers [inTurn]uint64
	for done := 0; done < len(levels); done += perWord {
		answer(levels[done:min(done+perWord, len(levels))], unsafe.Pointer(&words[first]), numbers[:len(leaf)])
		for g := range leaf {
			for r := range leaf[g] {
				leaf[g][r] += uint32(numbers[g]>>(8*r)&0xff) << done
			}
		}
	}
}

// addNumbers adds to the sums of rows the leaves whose numbers are the bytes of a tree's numbers, eight rows a number.
// The tree's values come first; no row reaches those behind them.
func addNumbers(values *[1 << perWord]float64, numbers []uint64, sums []float64) {
	for _, n := range numbers {
		eight := (*[group]float64)(sums)
		eight[0] += values[uint8(n)]
		eight[1] += values[uint8(n>>8)]
		eight[2] += values[uint8(n>>16)]
		eight[3] += values[uint8(n>>24)]
		eight[4] += values[uint8(n>>32)]
		eight[5] += values[uint8(n>>40)]
		eight[6] += values[uint8(n>>48)]
		eight[7] += values[uint8(n>>56)]
		sums = sums[group:]
	}
}
