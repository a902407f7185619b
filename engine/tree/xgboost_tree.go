package tree

import (
	"errors"
	"fmt"
	"math"
	"slices"
)

// boostedTree is one tree of XGBoost as its columns stand in the document.
type boostedTree struct {
	vector      int // size_leaf_vector
	count       int // num_nodes
	left, right []int32
	feature     []int32
	value       []float32 // split_conditions: the threshold, or a leaf's value
	defaultLeft []int32
	base        []float32 // base_weights: leaves of trees with vectors, up to 3.1
	leaf        []float32 // leaf_weights: the same since 3.2

	// Categorical splits, since 1.3: split_type says which nodes, categories_nodes the same as a list; categories holds
	// their sets one after another.
	kinds, catNodes, catStart, catSize, cats []int32
}

func (d *document) boostedTree() (boostedTree, error) {
	t := boostedTree{count: -1}
	columns := map[string]*[]int32{
		"left_children": &t.left, "right_children": &t.right, "split_indices": &t.feature, "default_left": &t.defaultLeft,
		"split_type": &t.kinds, "categories_nodes": &t.catNodes, "categories_segments": &t.catStart,
		"categories_sizes": &t.catSize, "categories": &t.cats,
	}
	err := d.object(func(key string) (err error) {
		switch key {
		case "tree_param":
			return d.treeParam(&t)
		case "split_conditions":
			t.value, err = d.float32s(make([]float32, 0, cap(t.left)))
			return err
		case "base_weights": // of use to trees with vectors only, and they may come before we know
			t.base, err = d.float32s(nil)
			return err
		case "leaf_weights":
			t.leaf, err = d.float32s(nil)
			return err
		}
		column, ok := columns[key]
		if !ok {
			return d.skip()
		}
		*column, err = d.int32s(nil)
		return err
	})
	if t.vector <= 1 {
		t.base, t.leaf = nil, nil
	}
	return t, err
}

func (d *document) treeParam(t *boostedTree) error {
	return d.object(func(key string) error {
		switch key {
		case "num_nodes":
			n, err := d.integer(1, math.MaxInt32)
			t.count = int(n)
			return err
		case "size_leaf_vector":
			n, err := d.integer(0, maxOutputs)
			t.vector = int(n)
			return err
		}
		return d.skip()
	})
}

// tree turns the columns into splits and leaves of width values. words is how much the sets of categories may still take.
func (t *boostedTree) tree(width int, words *int) (tree, error) {
	n := len(t.left)
	if n == 0 {
		return tree{}, errors.New("left_children is missing or empty")
	}
	if t.count >= 0 && t.count != n {
		return tree{}, fmt.Errorf("tree_param.num_nodes is %d, left_children has %d entries", t.count, n)
	}
	for name, size := range map[string]int{"right_children": len(t.right), "split_indices": len(t.feature), "split_conditions": len(t.value), "default_left": len(t.defaultLeft)} {
		if size != n {
			return tree{}, fmt.Errorf("%s has %d entries, left_children %d", name, size, n)
		}
	}
	sets, err := t.sets(words)
	if err != nil {
		return tree{}, err
	}
	var out tree
	number := make([]int32, n) // of each node: its split, or ^leaf
	for i, left := range t.left {
		if left < 0 {
			number[i] = ^int32(len(out.ids))
			out.ids = append(out.ids, int32(i))
		} else {
			number[i] = int32(len(out.nodes))
			out.nodes = append(out.nodes, int32(i))
		}
	}
	if len(out.nodes) > 0 && number[0] != 0 { // what is left of a pruned tree: its root is a leaf
		out.nodes = nil
		out.ids = out.ids[:1]
	}
	if out.leaves, err = t.leafValues(out.ids, width); err != nil {
		return tree{}, err
	}
	out.splits = make([]split, len(out.nodes))
	for i, node := range out.nodes {
		left, right := t.left[node], t.right[node]
		for _, c := range [...]int32{left, right} {
			if c < 0 || int(c) >= n {
				return tree{}, fmt.Errorf("node %d: its child is node %d of %d", node, c, n)
			}
		}
		s := split{feature: t.feature[node], threshold: float64(t.value[node]), left: number[left], right: number[right], absent: nanRight}
		if t.defaultLeft[node] != 0 {
			s.absent = nanLeft
		}
		if set := sets[node]; set != nil {
			s.test, s.set, s.threshold = notInSet, set, 0
		}
		out.splits[i] = s
	}
	return out, nil
}

// leafValues collects the values of the leaves, which stand in three places in three ages.
func (t *boostedTree) leafValues(nodes []int32, width int) ([]float64, error) {
	values := make([]float64, 0, len(nodes)*width)
	for _, node := range nodes {
		if width == 1 {
			values = append(values, float64(t.value[node]))
			continue
		}
		from, at := t.base, int(node)
		if t.leaf != nil {
			from, at = t.leaf, int(t.right[node]) // the number of the leaf
		}
		if t.vector != width || at < 0 || (at+1)*width > len(from) {
			return nil, fmt.Errorf("node %d: there are no %d values for its leaf", node, width)
		}
		for _, v := range from[at*width : (at+1)*width] {
			values = append(values, float64(v))
		}
	}
	return values, nil
}

const (
	// maxCategory is where XGBoost stops: float32 holds no odd number above it.
	maxCategory = 1 << 24
	// maxSetWords bounds the sets of a model, 32 categories a word: a few bytes in a file can ask for a set of 2 MB.
	maxSetWords = 64 << 20
)

// sets makes the bits of each categorical node; the categories of a set go right.
func (t *boostedTree) sets(words *int) (map[int32][]uint32, error) {
	if len(t.kinds) != 0 && len(t.kinds) != len(t.left) {
		return nil, fmt.Errorf("split_type has %d entries, left_children %d", len(t.kinds), len(t.left))
	}
	if len(t.catStart) != len(t.catNodes) || len(t.catSize) != len(t.catNodes) {
		return nil, fmt.Errorf("categories_nodes, categories_segments and categories_sizes have %d, %d and %d entries", len(t.catNodes), len(t.catStart), len(t.catSize))
	}
	sets := make(map[int32][]uint32, len(t.catNodes))
	for i, node := range t.catNodes {
		start, size := int64(t.catStart[i]), int64(t.catSize[i])
		if start < 0 || size <= 0 || start+size > int64(len(t.cats)) {
			return nil, fmt.Errorf("node %d: its categories are %d to %d of %d", node, start, start+size, len(t.cats))
		}
		if node < 0 || int(node) >= len(t.left) || sets[node] != nil {
			return nil, fmt.Errorf("categories_nodes[%d] is %d, which is no node or stands there twice", i, node)
		}
		cats := t.cats[start : start+size]
		top := slices.Max(cats)
		if low := slices.Min(cats); low < 0 || top >= maxCategory {
			return nil, fmt.Errorf("node %d: its categories %d to %d are out of range", node, low, top)
		}
		if *words -= int(top/32) + 1; *words < 0 {
			return nil, fmt.Errorf("node %d: the sets of categories take more than %d MB", node, maxSetWords*4>>20)
		}
		set := make([]uint32, top/32+1)
		for _, c := range cats {
			set[c/32] |= 1 << (c % 32)
		}
		sets[node] = set
	}
	for node, k := range t.kinds {
		if k != 0 && t.left[node] >= 0 && sets[int32(node)] == nil {
			return nil, fmt.Errorf("node %d: split_type is %d, and it has no categories", node, k)
		}
	}
	return sets, nil
}
