package tree

import (
	"fmt"
	"strconv"

	"serval"
)

// The names that users of Triton's FIL backend know.
const (
	inputName      = "input__0"
	categoriesName = "categories__0"
	outputName     = "output__0"
)

// output is one output of a model and how it is made.
type output struct {
	info    serval.TensorInfo
	what    what
	link    link
	columns int
	size    int // of a value in bytes; 0: text
}

// model is what the instances share.
type model struct {
	*forest
	reader    *reader
	signature serval.Signature
	outputs   []output
	choices   choices
	whole     []int64 // the classes' labels, where they are whole numbers
	real      []float64
	longest   int // bytes of the longest label
	leafOnly  bool
}

// newModel lays an ensemble out by a model's options.
func newModel(e *ensemble, c choices) (*model, error) {
	if err := c.cut(e); err != nil {
		return nil, err
	}
	m := &model{choices: c, leafOnly: true}
	ids := false
	for i, w := range c.outputs {
		o, err := m.output(e, w)
		if err != nil {
			return nil, err
		}
		if i == 0 {
			o.info.Name = outputName
		}
		ids = ids || w == leafNumber
		m.leafOnly = m.leafOnly && w == leafNumber
		m.outputs = append(m.outputs, o)
		m.signature.Outputs = append(m.signature.Outputs, o.info)
	}
	symbols := []string{"batch", ""}
	in := serval.TensorInfo{Name: inputName, DType: serval.FP32, Shape: []int64{-1, int64(e.features)}, Symbols: symbols, Labels: e.names}
	if c.double {
		in.DType = serval.FP64
	}
	if e.features > 0 {
		m.signature.Inputs = append(m.signature.Inputs, in)
	}
	if n := len(e.categories); n > 0 {
		m.signature.Inputs = append(m.signature.Inputs, serval.TensorInfo{Name: categoriesName, DType: serval.Bytes, Shape: []int64{-1, int64(n)}, Symbols: symbols, Labels: e.categories})
	}
	if len(m.signature.Inputs) == 0 {
		return nil, fmt.Errorf("the model has no features")
	}
	var err error
	if m.forest, err = e.layout(c.double, ids); err != nil {
		return nil, err
	}
	m.reader = newReader(m.forest, c.double)
	return m, nil
}

// output describes one output.
func (m *model) output(e *ensemble, w what) (output, error) {
	o := output{what: w, size: 4, columns: e.outputs}
	o.info = serval.TensorInfo{Name: whatNames[w], DType: serval.FP32, Symbols: []string{"batch", ""}}
	if m.choices.doubleOut {
		o.info.DType, o.size = serval.FP64, 8
	}
	switch w {
	case prediction:
		o.link = e.predict
		o.columns = o.link.columns(e.outputs)
		switch o.link {
		case softmax:
			o.info.Labels = e.classes
		case classLabel:
			if err := m.label(e, &o); err != nil {
				return o, err
			}
		}
	case probability:
		if e.proba == identity {
			return o, fmt.Errorf("options.%s asks for probability, and the model's objective has none", optionOutput)
		}
		o.link = e.proba
		if o.link == sigmoid && e.outputs == 1 {
			o.columns = 2
		}
		if len(e.classes) == o.columns {
			o.info.Labels = e.classes
		}
	case leafNumber:
		o.columns, o.size, o.info.DType = len(e.trees), 4, serval.Int32
	}
	o.info.Shape = []int64{-1, int64(o.columns)}
	return o, nil
}

// label makes an output of classes' labels.
func (m *model) label(e *ensemble, o *output) error {
	for _, name := range e.classes {
		m.longest = max(m.longest, len(name))
		switch e.labels {
		case wholeLabels:
			v, err := strconv.ParseInt(name, 10, 64)
			if err != nil {
				return fmt.Errorf("class %q is not a whole number", clip(name))
			}
			m.whole = append(m.whole, v)
		case realLabels:
			v, n := parseNumber([]byte(name))
			if n == 0 || n != len(name) {
				return fmt.Errorf("class %q is not a number", clip(name))
			}
			m.real = append(m.real, v)
		}
	}
	switch e.labels {
	case wholeLabels:
		o.info.DType, o.size = serval.Int64, 8
	case boolLabels:
		o.info.DType, o.size = serval.Bool, 1
	case textLabels:
		o.info.DType, o.size = serval.Bytes, 0
	}
	return nil
}
