package tree

import (
	"encoding/binary"
	"math"
	"unsafe"

	"serval"
)

const (
	group  = 8       // rows side by side
	inTurn = 8       // groups that go through a tree one after another
	atOnce = 64      // groups whose keys are made at once, if they are small enough
	most   = 1 << 18 // keys and sums at once
)

// scorer computes a range of a batch's rows. It has memory of its own, and runs on one goroutine at a time.
type scorer interface {
	score(b *batch, lo, hi int)
}

// worker is a scorer in the library's precision.
type worker[V float32 | float64] struct {
	*model
	leaves *leaves[V]
	base   []V
	apply  func(e *ensemble, l link, in, out []V)

	room          int // for the keys of so many groups
	keys          []int32
	stride        int       // keys of a group
	words         []uint64  // the bins of all groups by column, where the forest has any
	doubles       []float64 // the sums, where they are such
	numbers       [atOnce]uint64
	sums          []V // of each row, the margins
	out, averages []V // scratch for links
	leaf          [inTurn][group]uint32
	filled        []byte  // a row whose missing values were made NaN
	hashes        []int32 // of a row's categories
}

// newScorer makes one.
func (m *model) newScorer() scorer {
	if m.single {
		return newWorker(m, m.leaves32, apply32)
	}
	return newWorker(m, m.leaves64, apply64)
}

func newWorker[V float32 | float64](m *model, l *leaves[V], apply func(*ensemble, link, []V, []V)) *worker[V] {
	stride := max(len(m.views), 1) * group
	w := &worker[V]{
		model: m, leaves: l, apply: apply, stride: stride,
		room:   min(max(most/(stride+group*m.ensemble.outputs), 1), atOnce),
		hashes: make([]int32, len(m.categories)), out: make([]V, max(m.ensemble.outputs, 2)),
	}
	for _, v := range m.base {
		w.base = append(w.base, V(v))
	}
	w.sums = make([]V, w.room*group*m.ensemble.outputs)
	w.keys = make([]int32, stride*w.room)
	if m.bins != nil {
		w.words = make([]uint64, m.bins.columns*pitch)
		w.doubles, _ = any(w.sums).([]float64)
	}
	return w
}

// score implements scorer.
func (w *worker[V]) score(b *batch, lo, hi int) {
	c := b.seek(lo)
	for lo < hi {
		if b.ctx.Err() != nil {
			return
		}
		n := min(hi-lo, w.room*group)
		if n >= group {
			n -= n % group
			w.many(b, &c, lo, n)
		} else {
			n = 1
			w.lone(b, &c, lo)
		}
		lo += n
	}
}

// fill makes the keys of the row at the cursor; they start at a place and stand step apart.
func (w *worker[V]) fill(c *cursor, place, step int) {
	row := c.next(w.hashes)
	if w.choices.hasMissing {
		row = w.withMissing(row)
	}
	w.reader.fill(w.keys[place:], step, row, w.hashes)
}

// withMissing copies a row and puts NaN where the value stands that means missing.
func (w *worker[V]) withMissing(row []byte) []byte {
	w.filled = append(w.filled[:0], row...)
	if w.reader.size == 8 {
		for i := 0; i < len(row); i += 8 {
			if math.Float64frombits(binary.LittleEndian.Uint64(row[i:])) == w.choices.missing {
				binary.LittleEndian.PutUint64(w.filled[i:], math.Float64bits(math.NaN()))
			}
		}
		return w.filled
	}
	missing := float32(w.choices.missing)
	for i := 0; i < len(row); i += 4 {
		if math.Float32frombits(binary.LittleEndian.Uint32(row[i:])) == missing {
			binary.LittleEndian.PutUint32(w.filled[i:], math.Float32bits(float32(math.NaN())))
		}
	}
	return w.filled
}

// start sets the sums of n rows to what they start from.
func (w *worker[V]) start(n int) {
	k := len(w.base)
	if k == 1 {
		v := w.base[0]
		for i := range w.sums[:n] {
			w.sums[i] = v
		}
		return
	}
	for i := range n {
		copy(w.sums[i*k:], w.base)
	}
}

// lone computes one row: eight trees side by side.
func (w *worker[V]) lone(b *batch, c *cursor, at int) {
	w.fill(c, 0, 1)
	w.start(1)
	leaf := &w.leaf[0]
	trees := w.count()
	for t := 0; t < trees; t += group {
		w.walker.one(t, unsafe.Pointer(&w.keys[0]), leaf)
		some := leaf[:min(group, trees-t)]
		switch {
		case w.leaves.slots != nil:
			for _, at := range some {
				w.addAll(w.sums, at)
			}
		case len(w.base) == 1:
			sum := w.sums[0]
			for _, at := range some {
				sum += w.leaves.values[at]
			}
			w.sums[0] = sum
		default:
			for i, at := range some {
				w.sums[w.groups[t+i]] += w.leaves.values[at]
			}
		}
		if w.ids != nil {
			for i, leaf := range some {
				b.putLeaf(at, t+i, w.ids[leaf])
			}
		}
	}
	w.answer(b, at, 1)
}

// addAll adds a leaf's values to all sums of a row.
func (w *worker[V]) addAll(sums []V, leaf uint32) {
	k := len(w.base)
	at := int(w.leaves.slots[leaf]) * k
	for i, v := range w.leaves.values[at : at+k] {
		sums[i] += v
	}
}

// many computes n rows, a multiple of eight: eight rows side by side, tree by tree, so that each row adds up its trees in
// their order.
func (w *worker[V]) many(b *batch, c *cursor, at, n int) {
	for i := range n {
		w.fill(c, i/group*w.stride+i%group, group)
	}
	w.start(n)
	groups := n / group
	if w.bins != nil {
		w.binned(b, at, groups)
		w.answer(b, at, n)
		return
	}
	first := 0
	for _, end := range w.blocks {
		for g := 0; g < groups; g += inTurn {
			some := w.leaf[:min(inTurn, groups-g)]
			keys := unsafe.Pointer(&w.keys[g*w.stride])
			for t := first; t < end; t++ {
				w.walker.rows(t, keys, uintptr(w.stride)*4, some)
				w.add(t, g*group, some)
				w.name(b, at+g*group, t, some)
			}
		}
		first = end
	}
	w.answer(b, at, n)
}

// binned is many for oblivious trees: all rows tree by tree, since what a tree takes is read once and in order.
func (w *worker[V]) binned(b *batch, at, groups int) {
	for g := range groups {
		w.bins.fill(w.words, g, w.keys[g*w.stride:(g+1)*w.stride])
	}
	plain := w.doubles != nil && len(w.base) == 1 && w.leaves.slots == nil && w.ids == nil // nothing but a sum a row
	numbers := w.numbers[:groups]
	for t := range w.count() {
		tree := &w.bins.trees[t]
		levels := w.bins.levels[tree.first:tree.end]
		if plain && len(levels) <= perWord {
			answer(levels, unsafe.Pointer(&w.words[0]), numbers)
			addNumbers((*[1 << perWord]float64)(w.leaves64.values[tree.leaf:]), numbers, w.doubles)
			continue
		}
		for g := 0; g < groups; g += inTurn {
			some := w.leaf[:min(inTurn, groups-g)]
			w.bins.rows(t, w.words, g, some)
			w.add(t, g*group, some)
			w.name(b, at+g*group, t, some)
		}
	}
}

// name writes the names of the leaves that groups of rows, the first of which is row at, reached in a tree, if anybody asks.
func (w *worker[V]) name(b *batch, at, tree int, leaf [][group]uint32) {
	if w.ids == nil {
		return
	}
	for i := range leaf {
		for j, leaf := range leaf[i] {
			b.putLeaf(at+i*group+j, tree, w.ids[leaf])
		}
	}
}

// add adds the leaves of one tree to the sums of rows from first on.
func (w *worker[V]) add(t, first int, leaf [][group]uint32) {
	k := len(w.base)
	switch {
	case w.leaves.slots != nil:
		for i := range leaf {
			for j, at := range leaf[i] {
				w.addAll(w.sums[(first+i*group+j)*k:], at)
			}
		}
	case k == 1:
		values := w.leaves.values
		for i := range leaf {
			sums := (*[group]V)(w.sums[first+i*group:])
			for j, at := range leaf[i] {
				sums[j] += values[at]
			}
		}
	default:
		at := first*k + int(w.groups[t])
		for i := range leaf {
			for _, leaf := range leaf[i] {
				w.sums[at] += w.leaves.values[leaf]
				at += k
			}
		}
	}
}

// answer writes the outputs of n rows from their sums.
func (w *worker[V]) answer(b *batch, at, n int) {
	if w.leafOnly {
		return
	}
	k := len(w.base)
	for i := range n {
		sums := w.sums[i*k : (i+1)*k]
		if w.bias != nil {
			for j := range sums {
				sums[j] = V(float64(w.scale*float64(sums[j])) + w.bias[j]) // not fused: CatBoost rounds twice
			}
		}
		for o := range w.outputs {
			if w.outputs[o].what != leafNumber {
				w.write(b, o, at+i, w.linked(&w.outputs[o], sums))
			}
		}
	}
}

// linked applies an output's link; what it returns is good until the next call.
func (w *worker[V]) linked(out *output, sums []V) []V {
	values := w.out[:out.columns]
	if w.mean && out.what != margin {
		w.averages = w.averages[:0]
		for _, v := range sums {
			w.averages = append(w.averages, v/V(len(w.rounds)))
		}
		sums = w.averages
	}
	if out.what == probability && out.columns == 2 && len(sums) == 1 {
		w.apply(w.ensemble, out.link, sums, values[1:])
		values[0] = 1 - values[1]
		return values
	}
	w.apply(w.ensemble, out.link, sums, values)
	return values
}

// write puts a row's values of output o into the answer.
func (w *worker[V]) write(b *batch, o, row int, values []V) {
	out := &w.outputs[o]
	if out.what == prediction && out.link == classLabel {
		w.writeLabel(b, o, row, int(values[0]))
		return
	}
	dst := b.outputs[o].Data[row*out.columns*out.size:]
	if out.info.DType == serval.FP64 {
		for i, v := range values {
			binary.LittleEndian.PutUint64(dst[i*8:], math.Float64bits(float64(v)))
		}
		return
	}
	for i, v := range values {
		binary.LittleEndian.PutUint32(dst[i*4:], math.Float32bits(float32(v)))
	}
}

// writeLabel puts a class's label into the answer; text follows when all rows are done.
func (w *worker[V]) writeLabel(b *batch, o, row, class int) {
	out := &w.outputs[o]
	if out.size == 0 {
		b.classes[row] = int32(class)
		return
	}
	dst := b.outputs[o].Data[row*out.size:]
	switch out.info.DType {
	case serval.Int64:
		binary.LittleEndian.PutUint64(dst, uint64(w.whole[class]))
	case serval.Bool:
		dst[0] = byte(class)
	case serval.FP64:
		binary.LittleEndian.PutUint64(dst, math.Float64bits(w.real[class]))
	default:
		binary.LittleEndian.PutUint32(dst, math.Float32bits(float32(w.real[class])))
	}
}
