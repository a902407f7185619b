package tree

import (
	"errors"
	"fmt"
	"math"
)

// The bits of a LightGBM split's decision_type.
const (
	decisionCategorical = 1 << 0
	decisionDefaultLeft = 1 << 1
	decisionMissing     = 2 // bits 2 and 3: what counts as missing
)

// maxLeaves bounds the leaves of one LightGBM tree, whose children are numbered by 32 bits.
const maxLeaves = math.MaxInt32

// lightTree reads one tree's block.
func (b block) lightTree() (tree, error) {
	leaves, err := b.integer("num_leaves", 1, maxLeaves)
	if err != nil {
		return tree{}, err
	}
	if _, ok := b.fields["is_linear"]; ok {
		linear, err := b.integer("is_linear", 0, 1)
		if err != nil {
			return tree{}, err
		}
		if linear == 1 {
			return tree{}, errors.New("it has linear models in its leaves (linear_tree), which are not served; train with linear_tree=false")
		}
	}
	var t tree
	if t.leaves, err = b.float64s("leaf_value", leaves); err != nil || leaves == 1 {
		return t, err
	}
	n := leaves - 1
	left, err := b.int32s("left_child", n)
	if err != nil {
		return t, err
	}
	right, err := b.int32s("right_child", n)
	if err != nil {
		return t, err
	}
	feature, err := b.int32s("split_feature", n)
	if err != nil {
		return t, err
	}
	threshold, err := b.float64s("threshold", n)
	if err != nil {
		return t, err
	}
	decision := make([]int32, n)
	if _, ok := b.fields["decision_type"]; ok {
		if decision, err = b.int32s("decision_type", n); err != nil {
			return t, err
		}
	}
	sets, err := b.lightSets()
	if err != nil {
		return t, err
	}
	t.splits = make([]split, n)
	for i := range t.splits {
		s := split{feature: feature[i], threshold: threshold[i], left: left[i], right: right[i]}
		if err := s.decide(decision[i], sets); err != nil {
			return t, fmt.Errorf("split %d: %w", i, err)
		}
		t.splits[i] = s
	}
	return t, nil
}

// decide sets what the split asks, by its decision_type.
func (s *split) decide(decision int32, sets [][]uint32) error {
	if decision&decisionCategorical != 0 {
		at := s.threshold
		if !(at >= 0 && at < float64(len(sets))) {
			return fmt.Errorf("its threshold is %v, and there are %d sets of categories", at, len(sets))
		}
		s.test, s.absent, s.set, s.threshold = inSet, nanRight, sets[int(at)], 0
		return nil
	}
	s.test = atMost
	left := decision&decisionDefaultLeft != 0
	switch decision >> decisionMissing & 3 {
	case 0:
		s.absent = nanZero
	case 1:
		s.absent = zeroRight
		if left {
			s.absent = zeroLeft
		}
	case 2:
		s.absent = nanRight
		if left {
			s.absent = nanLeft
		}
	default:
		return fmt.Errorf("its decision_type is %d, whose kind of missing values is not known", decision)
	}
	// The library reads values within ±1e-35 as 0; a threshold among them then decides as one at the edge does.
	switch {
	case s.threshold >= 0 && s.threshold < zeroBelow:
		s.threshold = zeroBelow
	case s.threshold < 0 && s.threshold >= -zeroBelow:
		s.threshold = math.Nextafter(-zeroBelow, math.Inf(-1))
	}
	return nil
}

// zeroBelow is the largest number that LightGBM takes for 0: the float32 nearest to 1e-35.
const zeroBelow = float64(float32(1e-35))

// lightSets cuts cat_threshold, whose bits are categories, by cat_boundaries.
func (b block) lightSets() ([][]uint32, error) {
	if _, ok := b.fields["num_cat"]; !ok {
		return nil, nil
	}
	n, err := b.integer("num_cat", 0, maxLeaves)
	if err != nil || n == 0 {
		return nil, err
	}
	bounds, err := b.int32s("cat_boundaries", n+1)
	if err != nil {
		return nil, err
	}
	var words []uint32
	err = b.numbers("cat_threshold", int(max(bounds[n], 0)), func(v float64) bool {
		words = append(words, uint32(v))
		return v == math.Trunc(v) && v >= 0 && v <= math.MaxUint32
	})
	if err != nil {
		return nil, err
	}
	sets := make([][]uint32, n)
	for i := range sets {
		lo, hi := bounds[i], bounds[i+1]
		if lo < 0 || hi < lo || int(hi) > len(words) {
			return nil, fmt.Errorf("cat_boundaries[%d] and the next are %d and %d of %d", i, lo, hi, len(words))
		}
		sets[i] = words[lo:hi:hi]
	}
	return sets, nil
}
