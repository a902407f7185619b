package tree

import (
	"fmt"
	"math"
	"slices"
)

// XGBoost's models as its own JSON (doc/tutorials/saving_model, model.schema) and the same document as UBJ. Read from the
// sources of the releases 1.0 to 3.4; what differs between them is said where it is read.

// boosted is a document as it was read, in whatever order its keys stood.
type boosted struct {
	version    [3]int64
	features   int
	classes    int // num_class: 0 without classes
	targets    int // num_target: since 1.6
	base       []float32
	objective  string
	booster    string
	names      []string
	attributes map[string]string

	trees    []boostedTree
	groups   []int32   // tree_info
	rounds   []int32   // iteration_indptr: since 1.6
	parallel int       // num_parallel_tree
	weights  []float32 // weight_drop, of dart
}

// readXGBoost reads either form.
func readXGBoost(l lexer) (*ensemble, error) {
	d, err := newDocument(l)
	if err != nil {
		return nil, err
	}
	b := boosted{targets: 1, parallel: 1, attributes: map[string]string{}}
	err = d.object(func(key string) error {
		switch key {
		case "version":
			return d.versions(&b.version)
		case "learner":
			return d.learner(&b)
		}
		return d.skip()
	})
	if err != nil {
		return nil, err
	}
	if err := d.expect(endKind); err != nil {
		return nil, err
	}
	return b.ensemble()
}

func (d *document) versions(v *[3]int64) error {
	return d.array(func(i int) (err error) {
		n, err := d.integer(0, 1<<20)
		if i < len(v) {
			v[i] = n
		}
		return err
	})
}

func (d *document) learner(b *boosted) error {
	return d.object(func(key string) (err error) {
		switch key {
		case "learner_model_param":
			return d.learnerParam(b)
		case "objective":
			return d.object(func(key string) (err error) {
				if key == "name" {
					b.objective, err = d.text()
					return err
				}
				return d.skip()
			})
		case "gradient_booster":
			return d.booster(b)
		case "feature_names":
			return d.array(func(int) error {
				name, err := d.text()
				b.names = append(b.names, name)
				return err
			})
		case "attributes":
			return d.object(func(key string) (err error) {
				b.attributes[key], err = d.text()
				return err
			})
		}
		return d.skip()
	})
}

func (d *document) learnerParam(b *boosted) error {
	return d.object(func(key string) (err error) {
		var n int64
		switch key {
		case "num_feature":
			n, err = d.integer(0, math.MaxUint32)
			b.features = int(n)
		case "num_class":
			n, err = d.integer(0, math.MaxInt32)
			b.classes = int(n)
		case "num_target":
			n, err = d.integer(0, math.MaxInt32)
			b.targets = int(n)
		case "base_score":
			b.base, err = d.baseScore()
		default:
			err = d.skip()
		}
		return err
	})
}

// baseScore reads a number, text with a number ("5E-1", up to 3.0) or with a list ("[5E-1,2E-1]", since 3.1), or a list.
func (d *document) baseScore() ([]float32, error) {
	if d.tok.kind == arrayBegin {
		return d.float32s(nil)
	}
	if d.tok.kind != textKind || len(d.tok.text) == 0 || d.tok.text[0] != '[' {
		v, err := d.number()
		return []float32{float32(v)}, err
	}
	inner, err := newDocument(newJSON(d.tok.text))
	if err != nil {
		return nil, d.errorf("%q: %w", clip(d.tok.text), err)
	}
	base, err := inner.float32s(nil)
	if err != nil {
		return nil, d.errorf("%q: %w", clip(d.tok.text), err)
	}
	return base, d.advance()
}

// booster reads a gradient_booster; the one of dart holds another.
func (d *document) booster(b *boosted) error {
	return d.object(func(key string) (err error) {
		switch key {
		case "name":
			name, err := d.text()
			if b.booster != "dart" {
				b.booster = name
			}
			return err
		case "gbtree":
			return d.booster(b)
		case "weight_drop":
			b.weights, err = d.float32s(b.weights[:0])
			return err
		case "model":
			return d.treeModel(b)
		}
		return d.skip()
	})
}

func (d *document) treeModel(b *boosted) error {
	return d.object(func(key string) (err error) {
		switch key {
		case "gbtree_model_param":
			return d.object(func(key string) error {
				if key == "num_parallel_tree" {
					n, err := d.integer(0, math.MaxInt32)
					b.parallel = max(int(n), 1)
					return err
				}
				return d.skip()
			})
		case "trees":
			return d.array(func(int) error {
				t, err := d.boostedTree()
				b.trees = append(b.trees, t)
				return err
			})
		case "tree_info":
			b.groups, err = d.int32s(b.groups[:0])
			return err
		case "iteration_indptr":
			b.rounds, err = d.int32s(b.rounds[:0])
			return err
		case "weight_drop": // since 3.3 dart's weights stand here
			b.weights, err = d.float32s(b.weights[:0])
			return err
		}
		return d.skip()
	})
}

// ensemble checks that the parts fit together.
func (b *boosted) ensemble() (*ensemble, error) {
	name := fmt.Sprintf("XGBoost %d.%d.%d model", b.version[0], b.version[1], b.version[2])
	switch b.booster {
	case "gbtree", "dart":
	case "":
		return nil, fmt.Errorf("the document has no learner.gradient_booster.name: it is not a model of XGBoost, or one without its trees")
	default:
		return nil, fmt.Errorf("the booster is %q, which is not made of trees; gbtree and dart are served", b.booster)
	}
	o, ok := xgbObjectives[b.objective]
	if !ok {
		return nil, fmt.Errorf("learner.objective.name is %q, which is not known here; known are %s", clip(b.objective), known(xgbObjectives))
	}
	e := &ensemble{
		format: name, features: b.features, single: true, width: 1, scale: 1, slope: 1, predict: o.predict, proba: o.proba,
		outputs: max(b.classes, b.targets, 1),
	}
	if b.features == 0 {
		return nil, fmt.Errorf("learner.learner_model_param.num_feature is 0 or missing")
	}
	if len(b.names) == b.features {
		e.names = b.names
	}
	if e.outputs > maxOutputs {
		return nil, fmt.Errorf("num_class and num_target are %d and %d; at most %d are served", b.classes, b.targets, maxOutputs)
	}
	if o.classes && b.classes < 2 {
		return nil, fmt.Errorf("the objective %s needs num_class of 2 or more; it is %d", b.objective, b.classes)
	}
	if err := b.setBase(e, o); err != nil {
		return nil, err
	}
	if err := b.setTrees(e); err != nil {
		return nil, err
	}
	if s, ok := b.attributes["best_iteration"]; ok {
		if v, n := parseNumber([]byte(s)); n == len(s) && v >= 0 && v < float64(len(e.rounds)) {
			e.best = int(v) + 1
		}
	}
	return e, e.check()
}

// setBase turns base_score into margins.
func (b *boosted) setBase(e *ensemble, o xgbObjective) error {
	base := b.base
	if len(base) == 0 {
		return fmt.Errorf("learner.learner_model_param.base_score is missing")
	}
	if len(base) != 1 && len(base) != e.outputs {
		return fmt.Errorf("learner.learner_model_param.base_score has %d values; the model has %d outputs", len(base), e.outputs)
	}
	e.base = make([]float64, e.outputs)
	for i := range e.base {
		v := o.margin(base[min(i, len(base)-1)])
		if v != v {
			return fmt.Errorf("learner.learner_model_param.base_score %v has no margin under the objective %s", base, b.objective)
		}
		e.base[i] = float64(v)
	}
	return nil
}

// setTrees moves the trees over, with their groups, weights and rounds.
func (b *boosted) setTrees(e *ensemble) error {
	if len(b.groups) != len(b.trees) {
		return fmt.Errorf("tree_info has %d entries for %d trees", len(b.groups), len(b.trees))
	}
	if len(b.weights) > len(b.trees) {
		return fmt.Errorf("weight_drop has %d entries for %d trees", len(b.weights), len(b.trees))
	}
	for i := range b.trees {
		if vector := b.trees[i].vector; vector > 1 {
			e.width = vector
		}
	}
	if e.width > 1 && e.width != e.outputs {
		return fmt.Errorf("leaves hold %d values, the model has %d outputs", e.width, e.outputs)
	}
	e.trees = make([]tree, len(b.trees))
	words := maxSetWords
	for i := range b.trees {
		t, err := b.trees[i].tree(e.width, &words)
		if err != nil {
			return fmt.Errorf("tree %d: %w", i, err)
		}
		if t.group = int(b.groups[i]); e.width > 1 && t.group != 0 {
			return fmt.Errorf("tree_info[%d] is %d, and its leaves hold all outputs", i, t.group)
		}
		if i < len(b.weights) {
			for j, v := range t.leaves {
				t.leaves[j] = float64(float32(v) * b.weights[i])
			}
		}
		e.trees[i] = t
		b.trees[i] = boostedTree{}
	}
	return b.setRounds(e)
}

// setRounds counts the trees after each round of boosting.
func (b *boosted) setRounds(e *ensemble) error {
	if len(b.rounds) > 0 {
		if b.rounds[0] != 0 || int(b.rounds[len(b.rounds)-1]) != len(e.trees) || !slices.IsSorted(b.rounds) {
			return fmt.Errorf("iteration_indptr does not rise from 0 to the %d trees", len(e.trees))
		}
		for _, n := range b.rounds[1:] {
			e.rounds = append(e.rounds, int(n))
		}
		return nil
	}
	groups := 1 // before 1.6
	for _, g := range b.groups {
		groups = max(groups, int(g)+1)
	}
	for n := groups * b.parallel; n <= len(e.trees); n += groups * b.parallel {
		e.rounds = append(e.rounds, n)
	}
	return nil
}
