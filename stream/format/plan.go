package format

import (
	"encoding/binary"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"serval"
	"serval/internal/jsontensor"
)

// mapping says which field of a row goes into which input of a model.
type mapping struct {
	input   string            // a matrix input, whose columns are fields
	columns []string          // those fields, in the order of its columns
	fields  map[string]string // field → input of its own, where the names differ
	missing bool              // a field that is not there is NaN where the input is a float
	plan    atomic.Pointer[plan]
}

// plan is a mapping made ready for one model. It never changes.
type plan struct {
	name, version string
	loaded        time.Time
	inputs        []slot
	fields        map[string]place
	size          int   // bytes of a row's fixed-size inputs, a multiple of 8
	marks         []int // where an input's marks begin in those of a row
	marked        int   // how many marks there are
}

// slot is one input of a row.
type slot struct {
	info   serval.TensorInfo
	shape  []int64 // of one row
	fixed  bool    // its size is known; then it is at offset
	offset int
	size   int
	single bool // one element: it may stand without brackets
	each   int  // bytes of an element; 0: of no fixed size
}

// place is where a field goes.
type place struct {
	input  int
	column int // -1: the field is the whole input
}

// of is the plan for a model, made anew when that was loaded anew.
func (m *mapping) of(model *serval.ModelInfo) (*plan, error) {
	if p := m.plan.Load(); p != nil && p.name == model.Name && p.version == model.Version && p.loaded.Equal(model.Loaded) {
		return p, nil
	}
	p, err := m.make(model)
	if err == nil {
		m.plan.Store(p)
	}
	return p, err
}

func (m *mapping) make(model *serval.ModelInfo) (*plan, error) {
	if model.Language != nil {
		return nil, misfit("model '%s' takes text, not rows; use format chat or raw", model.Name)
	}
	p := &plan{name: model.Name, version: model.Version, loaded: model.Loaded, fields: map[string]place{}}
	input := m.input
	if input == "" && len(m.columns) > 0 {
		if len(model.Signature.Inputs) != 1 {
			return nil, misfit("model '%s' has %d inputs; the format must name the one that its columns are of", model.Name, len(model.Signature.Inputs))
		}
		input = model.Signature.Inputs[0].Name
	}
	named := map[string]string{} // input → field
	for field, in := range m.fields {
		named[in] = field
	}
	for i, info := range model.Signature.Inputs {
		s := slot{info: info, each: info.DType.Size()}
		if info.Name == input && len(m.columns) > 0 {
			s.shape, s.fixed = []int64{1, int64(len(m.columns))}, info.DType != serval.Bytes
			if n := len(info.Shape); n != 2 || info.Shape[1] >= 0 && info.Shape[1] != int64(len(m.columns)) || !s.fixed {
				return nil, misfit("input '%s' of model '%s' is %s%s; the format has %d columns for it, which make [1,%d] of numbers", info.Name, model.Name, info.DType, serval.ShapeString(info.Shape), len(m.columns), len(m.columns))
			}
			for c, column := range m.columns {
				p.fields[column] = place{i, c}
			}
		} else {
			field := info.Name
			if f, ok := named[info.Name]; ok {
				field = f
			}
			p.fields[field] = place{i, -1}
			s.shape = rowShape(info.Shape)
			s.fixed = info.DType != serval.Bytes && !slices.Contains(s.shape, -1)
			n, ok := serval.Elements(s.shape)
			s.single = ok && n == 1
		}
		if s.fixed {
			n, ok := serval.Elements(s.shape)
			if !ok || n > 1<<24 {
				return nil, misfit("input '%s' of model '%s' has too many elements for a row", info.Name, model.Name)
			}
			s.offset, s.size = (p.size+7)&^7, int(n)*info.DType.Size()
			p.size = s.offset + s.size
		}
		if info.DType == serval.FP16 || info.DType == serval.BF16 {
			return nil, misfit("input '%s' of model '%s' is %s, which rows cannot hold; use format oip_protobuf", info.Name, model.Name, info.DType)
		}
		p.inputs = append(p.inputs, s)
	}
	p.size = (p.size + 7) &^ 7
	for i := range p.inputs {
		s := &p.inputs[i]
		p.marks = append(p.marks, p.marked)
		if p.marked++; s.fixed && !s.single && len(s.shape) == 2 {
			p.marked += int(s.shape[1]) - 1
		}
	}
	for in := range named {
		if model.Signature.Input(in) < 0 {
			return nil, misfit("model '%s' has no input '%s'; the format's fields name it", model.Name, in)
		}
	}
	if m.input != "" && model.Signature.Input(m.input) < 0 {
		return nil, misfit("model '%s' has no input '%s'; the format names it", model.Name, m.input)
	}
	return p, nil
}

// rowShape is a shape of one row: its first dimension is 1.
func rowShape(shape []int64) []int64 {
	s := slices.Clone(shape)
	if len(s) > 0 && s[0] < 0 {
		s[0] = 1
	}
	return s
}

// row is one row that is being filled in. Its tensors and their data are pieces of a slab; what else it has is used again for
// the next row.
type row struct {
	plan    *plan
	tensors *serval.Tensors
	data    []byte // of the fixed-size inputs
	seen    []bool // of each element of fixed-size matrices, then of inputs
	left    int    // fields that have no value yet
	bare    bool   // an input is left out
}

// slab is memory that the rows of a group share: a few pieces for many rows, instead of some for each. A row's piece is its
// own, and nothing is taken back: the collector has a slab when nobody holds any of its rows, so that whoever keeps an input
// longer than the call (a shadow, a monitor) may.
type slab struct {
	hold []serval.Tensors
	list []serval.Tensor
	data []byte
}

// slabBytes bounds what is taken at once for rows that are yet to come.
const slabBytes = 64 << 10

// begin makes r the next row; about as many follow it as more says.
func (s *slab) begin(r *row, p *plan, more int) {
	k := len(p.inputs)
	if len(s.hold) == 0 || len(s.list) < k || len(s.data) < p.size {
		const tensor = 96 // bytes, about
		n := 1 + max(0, min(more, slabBytes/(p.size+tensor*(k+1))))
		s.hold, s.list, s.data = make([]serval.Tensors, n), make([]serval.Tensor, n*k), make([]byte, n*p.size)
	}
	if r.plan, r.left, r.bare = p, len(p.fields), false; cap(r.seen) < p.marked {
		r.seen = make([]bool, p.marked)
	}
	r.seen = r.seen[:p.marked]
	clear(r.seen)
	r.tensors, s.hold = &s.hold[0], s.hold[1:]
	r.tensors.List, s.list = s.list[:k:k], s.list[k:]
	r.data, s.data = s.data[:p.size:p.size], s.data[p.size:]
	for i := range p.inputs {
		in := &p.inputs[i]
		t := &r.tensors.List[i]
		t.Name, t.DType, t.Shape = in.info.Name, in.info.DType, in.shape
	}
}

// row is one that stands alone.
func (p *plan) row() *row {
	r := &row{}
	new(slab).begin(r, p, 0)
	return r
}

// mark notes that a place was filled in; an error if it was already.
func (r *row) mark(at place, field string) error {
	m := &r.seen[r.plan.marks[at.input]+max(0, at.column)]
	if *m {
		return wrong(field, "field '%s' is given twice", field)
	}
	*m = true
	r.left--
	return nil
}

// json takes a field's value from the scanner.
func (r *row) json(s *jsontensor.Scanner, at place, field string) error {
	if err := r.mark(at, field); err != nil {
		return err
	}
	in := &r.plan.inputs[at.input]
	if in.fixed && (at.column >= 0 || in.single) {
		if from := in.offset + max(0, at.column)*in.each; s.Value(in.info.DType, r.data[from:from+in.each]) {
			return nil
		}
	}
	t := &r.tensors.List[at.input]
	if s.Peek() == 'n' {
		if err := s.Null(); err != nil {
			return err
		}
		return r.null(at, field)
	}
	one := serval.Tensor{Name: field, DType: in.info.DType}
	single := at.column >= 0 || in.single && s.Peek() != '['
	var err error
	if at.column >= 0 && s.Peek() == '[' {
		return wrong(field, "field '%s' must be a single value, not a list", field)
	}
	if single {
		var space [8]byte
		if _, err = s.Tensor(&one, space[:0]); err != nil {
			return named(err, field)
		}
	} else {
		if one.Shape = in.shape; slices.Contains(in.shape[min(1, len(in.shape)):], -1) || len(in.shape) == 0 {
			if one.Shape, err = s.Shape(nil); err != nil {
				return err
			}
			if len(one.Shape) == len(in.shape)-1 {
				one.Shape = append([]int64{1}, one.Shape...)
			}
		}
		if _, err = s.Tensor(&one, nil); err != nil {
			return named(err, field)
		}
	}
	switch {
	case !in.fixed:
		t.Data = one.Data
		if !single {
			t.Shape = one.Shape
		}
	case at.column >= 0:
		size := in.info.DType.Size()
		copy(r.data[in.offset+at.column*size:][:size], one.Data)
	default:
		copy(r.data[in.offset:][:in.size], one.Data)
	}
	return nil
}

// named makes an error about an input one about the field that it came from.
func named(err error, field string) error {
	e := serval.AsError(err)
	return serval.Errorf(e.Code, "%s", strings.Replace(e.Message, "input '", "field '", 1)).At(field)
}

// null fills in that there is no value.
func (r *row) null(at place, field string) error {
	in := &r.plan.inputs[at.input]
	n, from := int64(1), in.offset
	if at.column >= 0 {
		from += at.column * in.info.DType.Size()
	} else {
		n, _ = serval.Elements(in.shape)
	}
	switch {
	case in.info.Optional && at.column < 0:
		r.tensors.List[at.input].Name, r.bare = "", true // left out
	case in.fixed && in.info.DType == serval.FP32:
		for i := range int(n) {
			binary.LittleEndian.PutUint32(r.data[from+4*i:], math.Float32bits(float32(math.NaN())))
		}
	case in.fixed && in.info.DType == serval.FP64:
		for i := range int(n) {
			binary.LittleEndian.PutUint64(r.data[from+8*i:], math.Float64bits(math.NaN()))
		}
	default:
		return wrong(field, "field '%s' has no value; input '%s' is %s, which has nothing that stands for none", field, in.info.Name, in.info.DType)
	}
	return nil
}

// text takes a field's value from a text.
func (r *row) string(text string, at place, field string) error {
	if err := r.mark(at, field); err != nil {
		return err
	}
	in := &r.plan.inputs[at.input]
	if in.info.DType == serval.Bytes {
		if at.column < 0 && !in.single {
			return wrong(field, "column '%s': input '%s' has shape %s; a column holds one value", field, in.info.Name, serval.ShapeString(in.info.Shape))
		}
		r.tensors.List[at.input].Data = serval.AppendString(nil, text)
		return nil
	}
	if text == "" {
		return r.null(at, field)
	}
	if at.column < 0 && !in.single {
		return wrong(field, "column '%s': input '%s' has shape %s; a column holds one value", field, in.info.Name, serval.ShapeString(in.info.Shape))
	}
	size := in.info.DType.Size()
	if err := putText(r.data[in.offset+max(0, at.column)*size:][:size], in.info.DType, text); err != nil {
		return wrong(field, "column '%s' has %s, which %s cannot hold", field, quoted(text), in.info.DType)
	}
	return nil
}

func quoted(text string) string {
	const most = 40
	if len(text) > most {
		return strconv.Quote(text[:most]) + "…"
	}
	return strconv.Quote(text)
}

// done checks that all is there, and returns the tensors.
func (r *row) done(missing bool) (*serval.Tensors, error) {
	if r.left > 0 {
		if err := r.fill(missing); err != nil {
			return nil, err
		}
	}
	for i := range r.plan.inputs {
		if in := &r.plan.inputs[i]; in.fixed {
			r.tensors.List[i].Data = r.data[in.offset : in.offset+in.size : in.offset+in.size]
		}
	}
	if r.bare {
		r.tensors.List = slices.DeleteFunc(r.tensors.List, func(t serval.Tensor) bool { return t.Name == "" })
	}
	return r.tensors, nil
}

// fill gives the fields that have no value what stands for none, where there is that.
func (r *row) fill(missing bool) error {
	for field, at := range r.plan.fields {
		if r.seen[r.plan.marks[at.input]+max(0, at.column)] {
			continue
		}
		in := &r.plan.inputs[at.input]
		if in.info.Optional && at.column < 0 || missing && in.fixed && (in.info.DType == serval.FP32 || in.info.DType == serval.FP64) {
			if err := r.null(at, field); err != nil {
				return err
			}
			continue
		}
		return wrong(field, "field '%s' is missing", field)
	}
	return nil
}

// putText writes a text's value as d holds it.
func putText(to []byte, d serval.DType, text string) error {
	bits := 8 * d.Size()
	switch d {
	case serval.Bool:
		v, err := strconv.ParseBool(text)
		if v {
			to[0] = 1
		}
		return err
	case serval.FP32:
		v, err := strconv.ParseFloat(text, 32)
		binary.LittleEndian.PutUint32(to, math.Float32bits(float32(v)))
		return err
	case serval.FP64:
		v, err := strconv.ParseFloat(text, 64)
		binary.LittleEndian.PutUint64(to, math.Float64bits(v))
		return err
	case serval.Uint8, serval.Uint16, serval.Uint32, serval.Uint64:
		v, err := strconv.ParseUint(text, 10, bits)
		putInt(to, v)
		return err
	}
	v, err := strconv.ParseInt(text, 10, bits)
	putInt(to, uint64(v))
	return err
}

func putInt(to []byte, v uint64) {
	for i := range to {
		to[i] = byte(v >> (8 * i))
	}
}
