package tree

import (
	"errors"
	"fmt"
	"math"
)

// ensemble is a model as its file has it, in terms that the three libraries share. It is what the parsers make and what
// layout.go turns into a forest; nothing computes on it.
type ensemble struct {
	format     string   // for messages: "XGBoost 3.2.0 model"
	features   int      // numeric inputs of a row
	names      []string // of the features, where the file has them; else nil
	categories []string // names of the inputs that are text; CatBoost only
	outputs    int      // margins of a row
	classes    []string // labels of the classes, where the file has them
	labels     labelKind

	single  bool      // leaves and sums are float32, as in XGBoost
	double  bool      // inputs of float64 are compared as they are, as in LightGBM; else they are rounded to float32 first
	base    []float64 // what each margin starts from
	scale   float64   // CatBoost: margin = scale × sum + bias
	bias    []float64 // nil: there is no such step
	mean    bool      // LightGBM's random forests: predictions are made of the margins divided by the number of rounds
	rounds  []int     // the number of trees after each round of boosting
	best    int       // the number of rounds that early stopping found best; 0: not known
	predict link      // from margins to the library's prediction
	proba   link      // from margins to probabilities; identity: the model has none
	slope   float64   // of the sigmoid
	border  float64   // CatBoost: the margin above which a row is of the second class

	width  int // values of a leaf: 1, or outputs where a leaf adds to all of them
	trees  []tree
	onehot []category // what splits of CatBoost's categorical features ask
	asked  map[category]int
}

// labelKind is what the labels of classes are.
type labelKind uint8

const (
	noLabels labelKind = iota
	wholeLabels
	realLabels
	boolLabels
	textLabels
)

// category is a question that a split asks of a categorical input: is it the value with this hash?
type category struct {
	input int
	hash  int32
}

// tree is one tree: splits[0] is its root, and a tree without splits is leaf 0.
type tree struct {
	group     int // the margin that it adds to; 0 where leaves hold all
	splits    []split
	leaves    []float64 // width values for each
	ids       []int32   // what the library calls each leaf; nil: their own numbers
	nodes     []int32   // what the library calls each split, for messages; nil: their own numbers
	oblivious bool      // the same question at each level: splits[i] is level i, bit i of the leaf's number
}

// test is what a split asks; where the answer is yes, the row goes left.
type test uint8

const (
	less     test = iota // x < threshold
	atMost               // x ≤ threshold
	inSet                // x, cut to a whole number, is in the set
	notInSet             // … is not
	isHash               // CatBoost: not the category; threshold is its index in onehot
	numTests             //
)

// absent says what is done with a value that is not there.
type absent uint8

const (
	nanZero   absent = iota // NaN is 0
	nanLeft                 // NaN goes left
	nanRight                // NaN goes right
	zeroLeft                // NaN and 0 (within 1e-35) go left
	zeroRight               // NaN and 0 go right
)

// split is one node that has children.
type split struct {
	threshold   float64
	feature     int32
	left, right int32    // ≥ 0: a split; else ^leaf
	set         []uint32 // bits of inSet and notInSet
	test        test
	absent      absent
}

// splitName and leafName are for messages.
func (t *tree) splitName(i int) string {
	if t.nodes != nil {
		return fmt.Sprintf("node %d", t.nodes[i])
	}
	return fmt.Sprintf("split %d", i)
}

func (t *tree) leafName(i int) string {
	if t.nodes != nil && t.ids != nil {
		return fmt.Sprintf("node %d", t.ids[i])
	}
	return fmt.Sprintf("leaf %d", i)
}

// check proves what walking relies on: each split and leaf is in range, and every path ends.
func (t *tree) check(e *ensemble) error {
	leaves := len(t.leaves) / e.width
	if t.group < 0 || t.group >= e.outputs {
		return fmt.Errorf("it adds to output %d; the model has %d", t.group, e.outputs)
	}
	for i, v := range t.leaves {
		if math.IsNaN(v) {
			return fmt.Errorf("%s: the value is NaN", t.leafName(i/e.width))
		}
	}
	if t.oblivious {
		if len(t.splits) > maxLevels || leaves != 1<<len(t.splits) {
			return fmt.Errorf("it has %d levels and %d leaves", len(t.splits), leaves)
		}
	} else if leaves == 0 {
		return errors.New("it has no leaves")
	}
	for i := range t.splits {
		if err := t.splits[i].check(e); err != nil {
			return fmt.Errorf("%s: %w", t.splitName(i), err)
		}
	}
	if t.oblivious || len(t.splits) == 0 {
		return nil
	}
	return t.checkPaths(leaves)
}

// maxLevels bounds oblivious trees, whose leaves double with each level; CatBoost's own limit is 16.
const maxLevels = 20

func (s *split) check(e *ensemble) error {
	switch {
	case s.test == isHash:
		if i := int(s.threshold); i < 0 || i >= len(e.onehot) {
			return fmt.Errorf("it asks for category %v of %d", s.threshold, len(e.onehot))
		}
	case s.feature < 0 || int(s.feature) >= e.features:
		return fmt.Errorf("feature index %d is out of range: the model has %d features", s.feature, e.features)
	case math.IsNaN(s.threshold):
		return errors.New("its threshold is NaN")
	}
	return nil
}

// checkPaths goes down every path from the root, without recursion: a split or a leaf may be reached once only.
func (t *tree) checkPaths(leaves int) error {
	seenSplit, seenLeaf := make([]bool, len(t.splits)), make([]bool, leaves)
	seenSplit[0] = true
	for stack := []int32{0}; len(stack) > 0; {
		at := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		for side, to := range [...]int32{t.splits[at].left, t.splits[at].right} {
			seen, i := seenSplit, int(to)
			if to < 0 {
				seen, i = seenLeaf, int(^to)
			}
			what := [...]string{"left", "right"}[side]
			if i >= len(seen) {
				return fmt.Errorf("%s: its %s child is number %d of %d", t.splitName(int(at)), what, i, len(seen))
			}
			if seen[i] {
				name := t.splitName
				if to < 0 {
					name = t.leafName
				}
				return fmt.Errorf("%s: its %s child is %s, which is reached another way already: a tree has one way to each node", t.splitName(int(at)), what, name(i))
			}
			seen[i] = true
			if to >= 0 {
				stack = append(stack, to)
			}
		}
	}
	return nil
}

// check proves the whole ensemble.
func (e *ensemble) check() error {
	if e.features > maxFeatures {
		return fmt.Errorf("the model takes %d features; more than %d are not served", e.features, maxFeatures)
	}
	if e.outputs < 1 || e.outputs > maxOutputs {
		return fmt.Errorf("the model has %d outputs; 1 to %d are served", e.outputs, maxOutputs)
	}
	for i := range e.trees {
		if err := e.trees[i].check(e); err != nil {
			return fmt.Errorf("tree %d: %w", i, err)
		}
	}
	return nil
}

// What is served at most: enough for every real model, and little enough that a row's buffers cannot overflow anything.
const (
	maxFeatures = 1 << 24
	maxOutputs  = 1 << 16
)

// keep leaves the trees of the first n rounds.
func (e *ensemble) keep(n int) error {
	if n < 1 || n > len(e.rounds) {
		return fmt.Errorf("the model has %d rounds of boosting; %d of them cannot be used", len(e.rounds), n)
	}
	e.rounds = e.rounds[:n]
	e.trees = e.trees[:e.rounds[n-1]]
	return nil
}
