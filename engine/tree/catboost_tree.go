package tree

import (
	"fmt"
	"math"
	"strconv"
)

// formatLabel writes a class's number as CatBoost prints it.
func formatLabel(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }

// catOblivious reads one tree that asks the same at each level.
func (d *document) catOblivious(m *catModel) error {
	t := catTree{oblivious: true}
	err := d.object(func(key string) (err error) {
		switch key {
		case "leaf_values":
			t.leaves, err = d.float64s(nil)
			return err
		case "splits":
			return d.list(func() error {
				t.splits = append(t.splits, split{})
				return d.catSplit(&t, len(t.splits)-1)
			})
		}
		return d.skip()
	})
	if err != nil {
		return err
	}
	if len(t.splits) > maxLevels {
		return d.errorf("has %d levels; at most %d are served", len(t.splits), maxLevels)
	}
	n := len(t.leaves)
	if n == 0 || n%(1<<len(t.splits)) != 0 {
		return d.errorf("has %d leaf values for %d levels", n, len(t.splits))
	}
	return m.add(d, t, n>>len(t.splits))
}

// add takes a tree whose leaves hold dims values.
func (m *catModel) add(d *document, t catTree, dims int) error {
	if m.dims == 0 {
		m.dims = dims
	}
	if m.dims != dims {
		return d.errorf("has %d values in each leaf, trees before have %d", dims, m.dims)
	}
	m.trees = append(m.trees, t)
	return nil
}

// catAsymmetric reads one tree whose nodes are objects in objects.
func (d *document) catAsymmetric(m *catModel) error {
	var t catTree
	dims := 0
	root, err := d.catNode(&t, &dims)
	if err != nil {
		return err
	}
	t.ids = make([]int32, len(t.leaves)/dims)
	t.nameLeaves(root)
	return m.add(d, t, dims)
}

// nameLeaves numbers the leaves as CatBoost does: from left to right, but where a split's right child is a leaf and its
// left one is not, that leaf comes first, since CatBoost keeps it with the split.
func (t *catTree) nameLeaves(root int32) {
	next := int32(0)
	for stack := []int32{root}; len(stack) > 0; {
		at := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if at < 0 {
			t.ids[^at] = next
			next++
			continue
		}
		left, right := t.splits[at].left, t.splits[at].right
		if left >= 0 && right < 0 {
			left, right = right, left
		}
		stack = append(stack, right, left)
	}
}

// catNode reads a node and all below it; it returns its number, as a split's child has it.
func (d *document) catNode(t *catTree, dims *int) (int32, error) {
	at, sides, leaf := -1, 0, false
	err := d.object(func(key string) error {
		if at < 0 && (key == "left" || key == "right" || key == "split") {
			at = len(t.splits)
			t.splits = append(t.splits, split{})
		}
		switch key {
		case "left", "right":
			sides++
			child, err := d.catNode(t, dims)
			if key == "left" {
				t.splits[at].left = child
			} else {
				t.splits[at].right = child
			}
			return err
		case "split":
			sides++
			return d.catSplit(t, at)
		case "value":
			leaf = true
			return d.catLeaf(t, dims)
		}
		return d.skip()
	})
	switch {
	case err != nil:
		return 0, err
	case leaf && at < 0:
		return ^int32(len(t.leaves) / *dims - 1), nil
	case leaf || sides != 3:
		return 0, d.errorf("has a node that is neither a split with left and right nor a leaf with a value")
	}
	return int32(at), nil
}

func (d *document) catLeaf(t *catTree, dims *int) (err error) {
	n := len(t.leaves)
	if d.tok.kind == arrayBegin {
		t.leaves, err = d.float64s(t.leaves)
	} else {
		var v float64
		v, err = d.number()
		t.leaves = append(t.leaves, v)
	}
	if err != nil {
		return err
	}
	if *dims == 0 {
		*dims = len(t.leaves) - n
	}
	if got := len(t.leaves) - n; got == 0 || got != *dims {
		return d.errorf("has a leaf of %d values, leaves before have %d", got, *dims)
	}
	return nil
}

// catSplit reads split i of a tree. Where the answer to its question is yes, CatBoost goes right.
func (d *document) catSplit(t *catTree, i int) error {
	kind, hash := "", category{input: -1}
	s := split{feature: -1, threshold: math.NaN(), left: t.splits[i].left, right: t.splits[i].right}
	err := d.object(func(key string) (err error) {
		var n int64
		switch key {
		case "split_type":
			kind, err = d.text()
		case "float_feature_index":
			n, err = d.integer(0, maxFeatures)
			s.feature = int32(n)
		case "border":
			var v float64
			v, err = d.number()
			s.threshold = float64(float32(v))
		case "cat_feature_index":
			n, err = d.integer(0, maxFeatures)
			hash.input = int(n)
		case "value":
			n, err = d.integer(math.MinInt32, math.MaxUint32)
			hash.hash = int32(uint32(n))
		default:
			err = d.skip()
		}
		return err
	})
	if err != nil {
		return err
	}
	switch kind {
	case "FloatFeature":
		if s.feature < 0 || math.IsNaN(s.threshold) {
			return d.errorf("is a FloatFeature without float_feature_index, or whose border is missing or NaN")
		}
		s.test = atMost
	case "OneHotFeature":
		if hash.input < 0 {
			return d.errorf("is a OneHotFeature without cat_feature_index")
		}
		s.test, s.threshold = isHash, float64(len(t.hashes))
		t.hashes = append(t.hashes, hash)
	case "OnlineCtr":
		return d.errorf("is an OnlineCtr: statistics of the target by category (CTR) are not served; train with one_hot_max_size as large as the categories are many, or without categorical features")
	default:
		return d.errorf("has the split_type %q; FloatFeature and OneHotFeature are served", clip(kind))
	}
	t.splits[i].test, t.splits[i].threshold, t.splits[i].feature = s.test, s.threshold, s.feature
	return nil
}

// setFeatures names the inputs; it returns what NaN means, by the index of a numeric feature.
func (m *catModel) setFeatures(e *ensemble) (map[int]absent, error) {
	treatment := map[int]absent{}
	for i, f := range m.floats {
		if _, twice := treatment[f.index]; f.index < 0 || twice {
			return nil, fmt.Errorf("features_info.float_features[%d] has no feature_index, or one that another has", i)
		}
		switch f.treatment {
		case "AsIs", "AsFalse", "":
			treatment[f.index] = nanLeft // NaN is above no border
		case "AsTrue":
			treatment[f.index] = nanLeft
			if f.nans {
				treatment[f.index] = nanRight
			}
		default:
			return nil, fmt.Errorf("features_info.float_features[%d]: nan_value_treatment is %q; AsIs, AsFalse and AsTrue are known", i, clip(f.treatment))
		}
		e.features = max(e.features, f.index+1)
	}
	inputs := 0
	for _, f := range m.texts {
		inputs = max(inputs, f.index+1)
	}
	if e.features != len(m.floats) || inputs != len(m.texts) {
		return nil, fmt.Errorf("features_info: the feature_index of %d numeric and %d categorical features run to %d and %d: some are missing or stand there twice", len(m.floats), len(m.texts), e.features, inputs)
	}
	e.names, e.categories = make([]string, e.features), make([]string, inputs)
	for _, f := range m.floats {
		e.names[f.index] = f.name
	}
	for _, f := range m.texts {
		e.categories[f.index] = f.name
	}
	return treatment, nil
}

// tree puts in what the features say.
func (t *catTree) tree(e *ensemble, treatment map[int]absent) (tree, error) {
	out := tree{splits: t.splits, leaves: t.leaves, ids: t.ids, oblivious: t.oblivious}
	for i := range out.splits {
		s := &out.splits[i]
		if s.test == isHash {
			h := t.hashes[int(s.threshold)]
			if h.input >= len(e.categories) {
				return out, fmt.Errorf("split %d: cat_feature_index %d is out of range: the model has %d categorical features", i, h.input, len(e.categories))
			}
			s.threshold = float64(e.ask(h))
			continue
		}
		nan, ok := treatment[int(s.feature)]
		if !ok {
			return out, fmt.Errorf("split %d: float_feature_index %d is out of range: the model has %d numeric features", i, s.feature, e.features)
		}
		s.absent = nan
	}
	return out, nil
}

// ask returns the number of a question about a category, the same for the same question.
func (e *ensemble) ask(c category) int {
	if i, ok := e.asked[c]; ok {
		return i
	}
	if e.asked == nil {
		e.asked = map[category]int{}
	}
	i := len(e.onehot)
	e.onehot = append(e.onehot, c)
	e.asked[c] = i
	return i
}
