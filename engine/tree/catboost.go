package tree

import (
	"errors"
	"fmt"
	"math"
)

// CatBoost's JSON export (save_model(format="json")), as catboost/libs/model/model_export/json_model_helpers.cpp writes it.

// catModel is a document as it was read, in whatever order its keys stood.
type catModel struct {
	floats  []catFloat
	texts   []catText // the categorical features
	refused string    // what the model has that is not served
	loss    string
	kind    string // class_label_type
	classes []string
	limit   float64 // binclass_probability_threshold; 0: not given
	scale   float64
	bias    []float64
	trees   []catTree
	dims    int // values of a leaf; 0: no tree was read
}

// catFloat is a numeric feature.
type catFloat struct {
	index, flat int
	name        string
	nans        bool
	treatment   string // AsIs, AsFalse, AsTrue
}

// catText is a categorical feature.
type catText struct {
	index, flat int
	name        string
}

// catTree is a tree before its features are known; splits[i].feature is an index of its kind of feature.
type catTree struct {
	oblivious bool
	splits    []split
	hashes    []category // of the splits that ask for a category, whose threshold is an index into this
	leaves    []float64
	ids       []int32 // names of the leaves; nil: their own numbers
}

// readCatBoost reads a model file.
func readCatBoost(data []byte) (*ensemble, error) {
	d, err := newDocument(newJSON(data))
	if err != nil {
		return nil, err
	}
	m := catModel{scale: 1}
	err = d.object(func(key string) error {
		switch key {
		case "features_info":
			return d.catFeatures(&m)
		case "model_info":
			return d.catInfo(&m)
		case "oblivious_trees":
			return d.array(func(int) error { return d.catOblivious(&m) })
		case "trees":
			return d.array(func(int) error { return d.catAsymmetric(&m) })
		case "scale_and_bias":
			return d.catScale(&m)
		}
		return d.skip()
	})
	if err != nil {
		return nil, err
	}
	if err := d.expect(endKind); err != nil {
		return nil, err
	}
	return m.ensemble()
}

func (d *document) catFeatures(m *catModel) error {
	return d.object(func(key string) error {
		switch key {
		case "float_features":
			return d.list(func() error {
				f := catFloat{index: -1}
				err := d.catFeature(&f.index, &f.flat, &f.name, func(key string) (err error) {
					switch key {
					case "has_nans":
						f.nans = d.tok.kind == boolKind && d.tok.num == 1
						return d.skip()
					case "nan_value_treatment":
						f.treatment, err = d.text()
						return err
					}
					return d.skip()
				})
				m.floats = append(m.floats, f)
				return err
			})
		case "categorical_features":
			return d.list(func() error {
				f := catText{index: -1}
				err := d.catFeature(&f.index, &f.flat, &f.name, func(string) error { return d.skip() })
				m.texts = append(m.texts, f)
				return err
			})
		case "text_features", "embedding_features":
			return d.list(func() error {
				m.refused = "text or embedding features"
				return d.skip()
			})
		}
		return d.skip()
	})
}

// list is array, or nothing for null, which CatBoost writes for empty lists.
func (d *document) list(element func() error) error {
	if d.tok.kind == nullKind {
		return d.advance()
	}
	return d.array(func(int) error { return element() })
}

// catFeature reads what all kinds of features have, and hands the rest to other.
func (d *document) catFeature(index, flat *int, name *string, other func(key string) error) error {
	return d.object(func(key string) error {
		switch key {
		case "feature_index", "flat_feature_index":
			n, err := d.integer(0, maxFeatures)
			if key == "feature_index" {
				*index = int(n)
			} else {
				*flat = int(n)
			}
			return err
		case "feature_name", "feature_id":
			s, err := d.text()
			if s != "" {
				*name = s
			}
			return err
		}
		return other(key)
	})
}

func (d *document) catInfo(m *catModel) error {
	return d.object(func(key string) (err error) {
		switch key {
		case "params":
			return d.embedded(func(d *document) error {
				return d.object(func(key string) error {
					if key == "loss_function" {
						return d.catLoss(m)
					}
					return d.skip()
				})
			})
		case "class_params", "multiclass_params":
			return d.embedded(func(d *document) error { return d.catClasses(m) })
		case "binclass_probability_threshold":
			m.limit, err = d.number()
			return err
		}
		return d.skip()
	})
}

// embedded reads a value that stands there as it is, or written out as text, as older releases do.
func (d *document) embedded(read func(d *document) error) error {
	if d.tok.kind != textKind {
		return read(d)
	}
	inner, err := newDocument(newJSON(d.tok.text))
	if err == nil {
		err = read(inner)
	}
	if err != nil {
		return d.errorf("%w", err)
	}
	return d.advance()
}

func (d *document) catLoss(m *catModel) error {
	if d.tok.kind != objectBegin {
		return d.skip()
	}
	return d.object(func(key string) (err error) {
		if key == "type" {
			m.loss, err = d.text()
			return err
		}
		return d.skip()
	})
}

func (d *document) catClasses(m *catModel) error {
	return d.object(func(key string) (err error) {
		switch key {
		case "class_label_type":
			m.kind, err = d.text()
			return err
		case "class_names":
			m.classes = m.classes[:0]
			return d.list(func() error {
				var label string
				switch d.tok.kind {
				case textKind:
					label = string(d.tok.text)
				case boolKind:
					label = map[float64]string{0: "false", 1: "true"}[d.tok.num]
				case numberKind:
					label = formatLabel(d.tok.num)
				default:
					return d.errorf("is %s; a class's name is text or a number", d.tok.kind)
				}
				m.classes = append(m.classes, label)
				return d.advance()
			})
		}
		return d.skip()
	})
}

// catScale reads [scale, [bias, …]], or [scale, bias] of older releases.
func (d *document) catScale(m *catModel) error {
	return d.array(func(i int) (err error) {
		switch {
		case i == 0:
			m.scale, err = d.number()
		case i > 1:
			err = d.skip()
		case d.tok.kind == arrayBegin:
			m.bias, err = d.float64s(m.bias[:0])
		default:
			var v float64
			v, err = d.number()
			m.bias = append(m.bias[:0], v)
		}
		return err
	})
}

// catLosses are the losses whose default prediction is not the margin. All others predict their margins, as CatBoost
// does for regression and ranking.
var catLosses = map[string]struct{ predict, proba link }{
	"Logloss":             {classLabel, sigmoid},
	"CrossEntropy":        {classLabel, sigmoid},
	"Focal":               {classLabel, sigmoid},
	"MultiClass":          {classLabel, softmax},
	"MultiClassOneVsAll":  {classLabel, sigmoid},
	"MultiLogloss":        {hinge, sigmoid},
	"MultiCrossEntropy":   {hinge, sigmoid},
	"Poisson":             {exponent, identity},
	"Tweedie":             {exponent, identity},
	"RMSEWithUncertainty": {variance, identity},
}

// ensemble checks that the parts fit together.
func (m *catModel) ensemble() (*ensemble, error) {
	if m.refused != "" {
		return nil, fmt.Errorf("the model uses %s, which are not served", m.refused)
	}
	if len(m.trees) == 0 {
		return nil, errors.New("the document has neither oblivious_trees nor trees: it is no CatBoost model")
	}
	l := catLosses[m.loss]
	e := &ensemble{
		format: "CatBoost model", width: m.dims, outputs: m.dims, base: make([]float64, m.dims), scale: m.scale,
		predict: l.predict, proba: l.proba, slope: 1, bias: make([]float64, m.dims),
	}
	switch len(m.bias) {
	case 0:
	case 1, m.dims:
		for i := range e.bias {
			e.bias[i] = m.bias[min(i, len(m.bias)-1)]
		}
	default:
		return nil, fmt.Errorf("scale_and_bias has %d biases; the leaves hold %d values", len(m.bias), m.dims)
	}
	if err := m.setClasses(e); err != nil {
		return nil, err
	}
	floats, err := m.setFeatures(e)
	if err != nil {
		return nil, err
	}
	for i := range m.trees {
		t, err := m.trees[i].tree(e, floats)
		if err != nil {
			return nil, fmt.Errorf("tree %d: %w", i, err)
		}
		e.trees = append(e.trees, t)
		e.rounds = append(e.rounds, i+1)
		m.trees[i] = catTree{}
	}
	return e, e.check()
}

func (m *catModel) setClasses(e *ensemble) error {
	if e.predict == variance && m.dims != 2 {
		return fmt.Errorf("the loss %s needs leaves of 2 values; they hold %d", m.loss, m.dims)
	}
	if e.predict != classLabel {
		return nil
	}
	want := max(m.dims, 2)
	if len(m.classes) == 0 {
		for i := range want {
			m.classes = append(m.classes, formatLabel(float64(i)))
		}
		m.kind = "Integer"
	}
	if len(m.classes) != want {
		return fmt.Errorf("model_info.class_params.class_names has %d classes; the leaves hold %d values", len(m.classes), m.dims)
	}
	kinds := map[string]labelKind{"Integer": wholeLabels, "Float": realLabels, "Boolean": boolLabels, "String": textLabels, "": textLabels}
	kind, ok := kinds[m.kind]
	if !ok {
		return fmt.Errorf("model_info.class_params.class_label_type is %q; Integer, Float, Boolean and String are known", clip(m.kind))
	}
	e.classes, e.labels = m.classes, kind
	if m.limit != 0 && m.dims == 1 {
		if !(m.limit > 0 && m.limit < 1) {
			return fmt.Errorf("model_info.binclass_probability_threshold is %v; it must lie between 0 and 1", m.limit)
		}
		e.border = -math.Log(1/m.limit - 1)
	}
	return nil
}
