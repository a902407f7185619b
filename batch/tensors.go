package batch

import (
	"bytes"
	"fmt"
	"slices"

	"serval"
	"serval/internal/jsontensor"
)

// tensors is the asker of models that take tensors.
type tensors struct {
	rows int // of one request
	want []string
}

// rowsOf is how many rows one request to a model takes.
func rowsOf(m *serval.ModelInfo, block int) int {
	for i := range m.Signature.Inputs {
		if s := m.Signature.Inputs[i].Shape; s != nil && (len(s) == 0 || s[0] >= 0) {
			return 1
		}
	}
	if n := m.Settings.Batching.Request; n > 0 {
		return min(block, n)
	}
	return block
}

func (t *tensors) most() int { return t.rows }

func (t *tensors) request(f *flight, from, to int) (serval.Input, error) {
	if from == 0 && to == len(f.good) {
		return &serval.Tensors{List: f.inputs, Want: t.want}, nil
	}
	list := make([]serval.Tensor, len(f.inputs))
	for i := range f.inputs {
		list[i] = cut(&f.inputs[i], from, to)
	}
	return &serval.Tensors{List: list, Want: t.want}, nil
}

// cut is rows [from, to) of a tensor, in its memory.
func cut(t *serval.Tensor, from, to int) serval.Tensor {
	row := Vector{DType: t.DType, Shape: []int64{}, Data: t.Data}
	part := *t
	if len(t.Shape) > 0 {
		row.Shape = t.Shape[1:]
		part.Shape = append([]int64{int64(to - from)}, t.Shape[1:]...)
	}
	begin := row.span(0, from)
	part.Data = t.Data[begin : begin+row.span(begin, to-from)]
	return part
}

func (t *tensors) take(p *part, c *serval.Chunk) error {
	out, ok := c.Output.(*serval.Tensors)
	if !ok {
		return ends{serval.Errorf(serval.Unimplemented, "the model does not answer with tensors")}
	}
	for _, o := range out.List {
		if slices.ContainsFunc(p.outputs, func(have serval.Tensor) bool { return have.Name == o.Name }) {
			return ends{serval.Errorf(serval.Unimplemented, "the model answers several times to one request, which batch does not write")}
		}
		o.Data, o.Shape = bytes.Clone(o.Data), slices.Clone(o.Shape) // the chunk is reused once this returned
		p.outputs = append(p.outputs, o)
	}
	return nil
}

// show is what the side file says of a row that the model refused: its inputs as JSON, cut.
func (f *flight) show(row int) []byte {
	const most = 4 << 10
	out := []byte("{")
	for i := range f.inputs {
		t := cut(&f.inputs[i], row, row+1)
		if i > 0 {
			out = append(out, ", "...)
		}
		out = fmt.Appendf(out, "%q: ", t.Name)
		longer, err := jsontensor.AppendFlat(out, &t)
		if err != nil { // a type that JSON has no numbers for
			longer = append(out, "null"...)
		}
		if out = longer; len(out) > most {
			return out[:most]
		}
	}
	for i := range f.texts {
		if len(out) > 1 {
			out = append(out, ", "...)
		}
		out = fmt.Appendf(out, "%q: ", f.texts[i].Name)
		out = jsontensor.AppendString(out, f.texts[i].text(row))
	}
	return append(out[:min(len(out), most-1)], '}')
}

// text is one element of a Bytes vector of single values.
func (v *Vector) text(row int) []byte {
	e, _, _ := serval.NextBytes(v.Data[v.span(0, row):])
	return e
}
