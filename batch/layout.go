package batch

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strconv"

	"serval"
	"serval/client/element"
	"serval/internal/jsontensor"
)

// layout turns the answers of flights into columns to write. The writer's goroutine owns it; the columns that it gives are good
// until it is asked again.
type layout struct {
	flat   bool // lists become columns, or JSON
	recipe *serval.Recipe
	sig    *serval.Signature
	embeds bool
	texts  bool
	out    []Vector
	names  map[string]bool // of the columns that are passed through
}

// maxSpread is the number of values of a list that become columns of their own.
const maxSpread = 16

// Flat is what a Format may be: one whose values are single.
type Flat interface{ Flat() bool }

// lay gives the columns for a flight's rows that were answered, and their number.
func (l *layout) lay(f *flight) ([]Vector, int, error) {
	rows := len(f.good) - len(f.refused)
	l.out = l.out[:0]
	for i := range f.pass {
		if v := &f.pass[i]; len(f.refused) > 0 {
			v.drop(f.gone())
		}
		l.out = append(l.out, f.pass[i])
	}
	if l.names == nil {
		l.names = map[string]bool{}
		for i := range f.pass {
			l.names[f.pass[i].Name] = true
		}
	}
	if rows == 0 {
		return nil, 0, nil
	}
	if l.texts {
		return l.out, rows, l.answers(f, rows)
	}
	outputs, err := join(f.parts)
	if err != nil {
		return nil, 0, err
	}
	return l.out, rows, l.tensors(outputs, rows)
}

// gone says which of a flight's rows the model refused.
func (f *flight) gone() []bool {
	gone := make([]bool, len(f.good))
	for _, row := range f.refused {
		gone[row] = true
	}
	return gone
}

// join puts the outputs of a flight's parts together.
func join(parts []part) ([]serval.Tensor, error) {
	whole := parts[0].outputs
	for _, p := range parts[1:] {
		if len(p.outputs) != len(whole) {
			return nil, serval.Errorf(serval.Internal, "%d outputs after %d", len(p.outputs), len(whole))
		}
		for i := range p.outputs {
			w, o := &whole[i], &p.outputs[i]
			if o.Name != w.Name || o.DType != w.DType || !slices.Equal(o.Shape[1:], w.Shape[1:]) {
				return nil, uneven(o, w.Shape)
			}
			w.Shape[0] += o.Shape[0]
			w.Data = append(w.Data, o.Data...)
		}
	}
	return whole, nil
}

func uneven(o *serval.Tensor, before []int64) error {
	return serval.Errorf(serval.Unimplemented, "output '%s' has shape %s after shape %s: rows of different sizes do not make a column; leave the output out with --want",
		o.Name, serval.ShapeString(o.Shape), serval.ShapeString(before)).At(o.Name)
}

func (l *layout) tensors(outputs []serval.Tensor, rows int) error {
	if l.recipe != nil {
		switch o := l.recipe.Output; {
		case o.Labels != nil:
			t, err := find(outputs, o.Labels.Output)
			if err != nil {
				return err
			}
			return l.labels(t, o.Labels, rows)
		case o.Table != nil:
			chosen := make([]serval.Tensor, len(o.Table.Outputs))
			for i, name := range o.Table.Outputs {
				t, err := find(outputs, name)
				if err != nil {
					return err
				}
				chosen[i] = *t
			}
			outputs = chosen
		}
	}
	for i := range outputs {
		if err := l.output(&outputs[i], rows); err != nil {
			return err
		}
	}
	return nil
}

func find(outputs []serval.Tensor, name string) (*serval.Tensor, error) {
	for i := range outputs {
		if outputs[i].Name == name {
			return &outputs[i], nil
		}
	}
	return nil, serval.Errorf(serval.InvalidArgument, "the recipe reads the output '%s', which the answer does not have", name).At(name)
}

// add adds a column; one whose name is passed through already has "predicted_" before it, and one whose name another output has
// taken a number behind it.
func (l *layout) add(v Vector) {
	if l.names[v.Name] {
		v.Name = "predicted_" + v.Name
	}
	name := v.Name
	for n := 2; slices.ContainsFunc(l.out, func(have Vector) bool { return have.Name == v.Name }); n++ {
		v.Name = name + "_" + strconv.Itoa(n)
	}
	l.out = append(l.out, v)
}

func (l *layout) output(t *serval.Tensor, rows int) error {
	each, ok := serval.Elements(t.Shape[1:])
	if !ok {
		return uneven(t, nil)
	}
	switch {
	case each == 1 && len(t.Shape) <= 2:
		l.add(Vector{Name: t.Name, DType: t.DType, Data: t.Data})
	case !l.flat:
		l.add(Vector{Name: t.Name, DType: t.DType, Shape: t.Shape[1:], Data: t.Data})
	case len(t.Shape) == 2 && each > 0 && each <= maxSpread:
		for c, data := range spread(t, rows, int(each)) {
			name := t.Name + "_" + strconv.Itoa(c)
			if labels := l.classes(t); len(labels) == int(each) {
				name = labels[c]
			}
			l.add(Vector{Name: name, DType: t.DType, Data: data})
		}
	default:
		list, err := jsontensor.NewRows(t)
		if err != nil {
			return serval.AsError(err)
		}
		v := Vector{Name: t.Name, DType: serval.Bytes}
		var text []byte
		for range rows {
			if text, err = list.Append(text[:0]); err != nil {
				return serval.AsError(err)
			}
			v.Data = serval.AppendBytes(v.Data, text)
		}
		l.add(v)
	}
	return nil
}

// classes are the names of an output's columns, where they are known.
func (l *layout) classes(t *serval.Tensor) []string {
	if at := l.sig.Output(t.Name); t.Labels == nil && at >= 0 {
		return l.sig.Outputs[at].Labels
	}
	return t.Labels
}

// spread takes a matrix apart into its columns.
func spread(t *serval.Tensor, rows, columns int) [][]byte {
	out := make([][]byte, columns)
	size := t.DType.Size()
	if size == 0 {
		rest := t.Data
		for i := range rows * columns {
			var e []byte
			e, rest, _ = serval.NextBytes(rest)
			out[i%columns] = serval.AppendBytes(out[i%columns], e)
		}
		return out
	}
	for c := range out {
		data := make([]byte, rows*size)
		for r := range rows {
			copy(data[r*size:(r+1)*size], t.Data[(r*columns+c)*size:])
		}
		out[c] = data
	}
	return out
}

// labels gives the classes with the highest scores, ties in the classes' order: label, score, label_2, score_2, …
func (l *layout) labels(t *serval.Tensor, r *serval.LabelsOutput, rows int) error {
	scores, err := element.Floats(t)
	if err != nil {
		return serval.Errorf(serval.InvalidArgument, "output '%s': %w", t.Name, err).At(t.Name)
	}
	names := r.Labels
	if names == nil {
		names = l.classes(t)
	}
	classes := len(scores) / rows
	if names != nil && len(names) != classes {
		return serval.Errorf(serval.InvalidArgument, "output '%s': %d classes, but %d labels", t.Name, classes, len(names)).At(t.Name)
	}
	top := min(max(1, r.Top), classes)
	columns := make([]Vector, 2*top)
	for k := range top {
		suffix := ""
		if k > 0 {
			suffix = "_" + strconv.Itoa(k+1)
		}
		columns[2*k] = Vector{Name: "label" + suffix, DType: serval.Bytes}
		columns[2*k+1] = Vector{Name: "score" + suffix, DType: serval.FP32}
	}
	order := make([]int, classes)
	for row := range rows {
		own := scores[row*classes : (row+1)*classes]
		if r.Softmax {
			softmax(own)
		}
		for k, c := range best(own, order, top) {
			label := strconv.Itoa(c)
			if names != nil {
				label = names[c]
			}
			columns[2*k].Data = serval.AppendString(columns[2*k].Data, label)
			columns[2*k+1].Data = binary.LittleEndian.AppendUint32(columns[2*k+1].Data, math.Float32bits(float32(own[c])))
		}
	}
	for _, v := range columns {
		l.add(v)
	}
	return nil
}

// best are the n classes with the highest scores; order is room for all of them. NaN goes last.
func best(scores []float64, order []int, n int) []int {
	for i := range order {
		order[i] = i
	}
	above := func(a, b int) bool { x, y := scores[a], scores[b]; return x > y || x == x && y != y }
	for k := range n { // a selection that keeps the others in order, as n is small
		top := k
		for i := k + 1; i < len(order); i++ {
			if above(order[i], order[top]) {
				top = i
			}
		}
		c := order[top]
		copy(order[k+1:top+1], order[k:top])
		order[k] = c
	}
	return order[:n]
}

func softmax(x []float64) {
	top, sum := math.Inf(-1), 0.0
	for _, v := range x {
		top = max(top, v)
	}
	for i, v := range x {
		x[i] = math.Exp(v - top)
		sum += x[i]
	}
	for i := range x {
		x[i] /= sum
	}
}

// answers are those of a model of text.
func (l *layout) answers(f *flight, rows int) error {
	le := binary.LittleEndian
	if l.embeds {
		v := Vector{Name: "embedding", DType: serval.FP32}
		for i := range f.parts {
			p := &f.parts[i]
			if len(p.answer.embeddings) != p.to-p.from {
				return serval.Errorf(serval.Internal, "%d vectors for %d texts", len(p.answer.embeddings), p.to-p.from)
			}
			for _, e := range p.answer.embeddings {
				if v.Shape == nil {
					v.Shape = []int64{int64(len(e))}
				} else if v.Shape[0] != int64(len(e)) {
					return serval.Errorf(serval.Internal, "a vector of %d numbers after one of %d", len(e), v.Shape[0])
				}
				for _, x := range e {
					v.Data = le.AppendUint32(v.Data, math.Float32bits(x))
				}
			}
		}
		t := serval.Tensor{Name: v.Name, DType: v.DType, Shape: append([]int64{int64(rows)}, v.Shape...), Data: v.Data}
		return l.output(&t, rows)
	}
	columns := []Vector{{Name: "answer", DType: serval.Bytes}, {Name: "finish", DType: serval.Bytes},
		{Name: "prompt_tokens", DType: serval.Int64}, {Name: "completion_tokens", DType: serval.Int64}}
	for i := range f.parts {
		a := &f.parts[i].answer
		columns[0].Data = serval.AppendString(columns[0].Data, a.text.String())
		columns[1].Data = serval.AppendString(columns[1].Data, string(a.finish))
		columns[2].Data = le.AppendUint64(columns[2].Data, uint64(a.usage.Prompt))
		columns[3].Data = le.AppendUint64(columns[3].Data, uint64(a.usage.Completion))
	}
	if len(f.parts) != rows {
		return fmt.Errorf("%d answers for %d rows", len(f.parts), rows)
	}
	for _, v := range columns {
		l.add(v)
	}
	return nil
}
