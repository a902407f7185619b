package tree

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"unsafe"
)

// A forest is walked by comparing whole numbers: a row's values become keys whose order is the values' order, and each
// split says "right where key > bound". What stands for a missing value is a key below or above all bounds, so a feature
// may have two keys: one for the splits that send missing values left, one for those that send them right. A leaf is a
// split of itself that is never left: its children start at itself and its bound is above every key. So a step is the
// same few instructions at every node, without a branch, and many rows or trees can take theirs side by side.

// view is one of the keys of a row.
type view struct {
	feature int
	kind    viewKind
	absent  absent   // of numbers
	asked   category // of questions
}

type viewKind uint8

const (
	numberView   viewKind = iota // a number's place in the order of numbers
	codeView                     // a category: its whole number, codeInvalid or codeMissing
	questionView                 // 1 where the answer to a question about a category is yes, else 0
)

// The codes of code views that are no category.
const (
	codeInvalid = -1
	codeMissing = -2
	firstCode   = 2 // the key of category 0 where keys start from 0
)

// Keys of numbers lie from -0x7f800001 to 0x7f800000, the infinities.
const (
	lowestKey  = math.MinInt32     // a missing value that goes left
	highestKey = math.MaxInt32 - 2 // a missing value that goes right
	setBound   = math.MaxInt32 - 1 // of a split that asks for a set, where sets are not laid out as bits
	leafBound  = math.MaxInt32
)

// key is the place of a float32 in the order of its kind; -0 is -1 and +0 is 0.
func key(v float32) int32 {
	b := int32(math.Float32bits(v))
	return b ^ b>>31&math.MaxInt32
}

// bound is the key above which a row goes right, where keys are places of float32.
func (s *split) bound() int32 {
	if s.test == isHash {
		return 0
	}
	t := float32(s.threshold)
	if float64(t) > s.threshold { // the largest float32 that is not above it: the same for every float32
		t = math.Nextafter32(t, float32(math.Inf(-1)))
	}
	switch {
	case t == 0 && s.test == less:
		return -2 // -0 is not less than 0
	case t == 0:
		return 0
	case s.test == less:
		return key(t) - 1
	}
	return key(t)
}

// forest is an ensemble laid out for walking. It is never changed, and shared by the instances of a model.
type forest struct {
	*ensemble             // without its trees
	views     []view      // numbers, then codes, then questions
	numbers   int         // how many of the views are numbers, and
	codes     int         // codes
	ranks     [][]float64 // of number views, where inputs are float64 and compared so: their thresholds, rising; else nil
	asks      []bool      // categorical inputs that are asked about
	groups    []int32     // of each tree, the margin that it adds to
	blocks    []int       // where blocks of trees end that lie in the cache together
	splits    int         // of all trees
	walker    walker
	bins      *bins            // of oblivious trees, for many rows; may be nil
	leaves32  *leaves[float32] // one of the two is set
	leaves64  *leaves[float64]
	room      map[int]int64 // keys of code views, by view, where they start from 0; nil: codes are keys as they are
	ids       []int32       // what the library calls a leaf, by its position; nil: nobody asks
	bytes     int64
}

// trees is how many there are.
func (f *forest) count() int { return len(f.groups) }

// walker finds the leaf of a row, as a position in the layout.
type walker interface {
	// rows walks groups of eight rows through one tree. A group's keys start stride bytes behind those of the one before;
	// key i of row r of a group is number 8i+r of them.
	rows(tree int, keys unsafe.Pointer, stride uintptr, leaf [][8]uint32)
	// one walks a row through eight trees, from the first; behind the last tree it answers anything.
	one(first int, keys unsafe.Pointer, leaf *[8]uint32)
}

// leaves are the values of the leaves, in the library's own precision.
type leaves[V float32 | float64] struct {
	values []V
	slots  []uint32 // where leaves hold several values: which of them, by position; nil: values stand by position
}

// view says what a split looks at.
func (e *ensemble) view(s *split) view {
	switch s.test {
	case isHash:
		return view{kind: questionView, asked: e.onehot[int(s.threshold)]}
	case inSet, notInSet:
		return view{kind: codeView, feature: int(s.feature)}
	}
	return view{kind: numberView, feature: int(s.feature), absent: s.absent}
}

// number finds all views that splits look at, and numbers them by kind and feature.
func (e *ensemble) number() ([]view, map[view]int) {
	index := map[view]int{}
	for i := range e.trees {
		for j := range e.trees[i].splits {
			index[e.view(&e.trees[i].splits[j])] = 0
		}
	}
	for v := range index {
		if v.kind == codeView { // leaves look at view 0, which must not be taken for a set
			index[view{}] = 0
			break
		}
	}
	views := slices.SortedFunc(maps.Keys(index), func(a, b view) int {
		for _, c := range [...]int{int(a.kind) - int(b.kind), a.feature - b.feature, int(a.absent) - int(b.absent), a.asked.input - b.asked.input} {
			if c != 0 {
				return c
			}
		}
		return int(a.asked.hash) - int(b.asked.hash)
	})
	for i, v := range views {
		index[v] = i
	}
	return views, index
}

// rank collects the thresholds of each number view. A key is then how many of them a value is above, and the bound of a
// split the place of its threshold.
func (f *forest) rank(index map[view]int) {
	f.ranks = make([][]float64, f.numbers)
	for i := range f.trees {
		for j := range f.trees[i].splits {
			s := &f.trees[i].splits[j]
			if v := index[f.view(s)]; v < f.numbers {
				f.ranks[v] = append(f.ranks[v], s.threshold)
			}
		}
	}
	for v := range f.ranks {
		slices.Sort(f.ranks[v])
		f.ranks[v] = slices.Compact(f.ranks[v])
	}
}

// bound is a split's, whatever keys are.
func (f *forest) bound(s *split, view int) int32 {
	if f.ranks == nil || view >= f.numbers {
		return s.bound()
	}
	at, _ := slices.BinarySearch(f.ranks[view], s.threshold)
	return int32(at)
}

// layout makes the forest and empties the ensemble of its trees. exact says that inputs are float64 and compared as they
// are; ids, that somebody asks for the names of leaves.
func (e *ensemble) layout(exact, ids bool) (*forest, error) {
	f := &forest{ensemble: e, asks: make([]bool, len(e.categories))}
	var index map[view]int
	f.views, index = e.number()
	for _, v := range f.views {
		switch v.kind {
		case numberView:
			f.numbers++
		case codeView:
			f.codes++
		case questionView:
			f.asks[v.asked.input] = true
		}
	}
	if exact && e.double {
		f.rank(index)
	}
	oblivious := 0
	for i := range e.trees {
		t := &e.trees[i]
		f.groups = append(f.groups, int32(t.group))
		f.splits += len(t.splits)
		if t.oblivious {
			oblivious++
		}
	}
	var err error
	switch {
	case oblivious > 0 && oblivious < len(e.trees):
		err = fmt.Errorf("%d of %d trees are oblivious and the others not; such a mix is not served", oblivious, len(e.trees))
	case oblivious > 0:
		f.layOblivious(index, ids)
	default:
		err = f.layNodes(index, ids)
	}
	if err != nil {
		return nil, err
	}
	f.bytes += f.leafBytes()
	e.trees, e.asked = nil, nil
	return f, nil
}
