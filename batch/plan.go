package batch

import (
	"math"
	"slices"
	"strings"

	"serval"
)

// plan says how one object's rows become a model's inputs, and which columns are kept beside the answer.
type plan struct {
	selected []Column // what the Reader is asked for: those of the inputs first
	inputs   []planned
	texts    []string // names of the first columns, where the model takes texts
	pass     int      // where the columns begin that are kept, in selected
}

// planned is an input of tensors: its row is made of the values of some columns side by side.
type planned struct {
	info    *serval.TensorInfo
	columns []int // of plan.selected
	shape   []int64
	size    int64 // values of a row
}

// planTensors plans an object for a model of tensors. kept are the names of the columns kept of the first object; nil for the
// first one itself.
func planTensors(m *serval.ModelInfo, job *Job, have []Column) (*plan, error) {
	header := make([]string, len(have))
	for i := range have {
		header[i] = have[i].Name
	}
	recipe := m.Settings.Recipe
	if recipe != nil && (recipe.Input.Image != nil || recipe.Input.Bytes != nil || recipe.Input.Audio != nil) && len(job.Map) == 0 {
		return nil, serval.Errorf(serval.Unimplemented, "model '%s' takes pictures, sounds or whole files by its recipe; a table needs --map INPUT=COLUMN with columns of ready values", m.Name).At("map")
	}
	table, err := m.Signature.Columns(header, recipe, job.Map)
	if err != nil {
		return nil, err
	}
	p := &plan{}
	var used []int
	for _, c := range table {
		in := planned{info: &m.Signature.Inputs[c.Input]}
		row, err := rowShape(in.info)
		if err != nil {
			return nil, err
		}
		if len(c.At) > 1 || c.Matrix {
			err = in.sideBySide(row, len(c.At))
		} else {
			err = in.single(row, &have[c.At[0]])
		}
		if err != nil {
			return nil, err
		}
		each := []int64(nil)
		if in.size != int64(len(c.At)) {
			each = in.shape
		}
		for _, at := range c.At {
			in.columns = append(in.columns, len(p.selected))
			p.selected = append(p.selected, Column{Name: have[at].Name, Type: in.info.DType, Shape: each})
			used = append(used, at)
		}
		p.inputs = append(p.inputs, in)
	}
	p.pass = len(p.selected)
	return p, p.passthrough(job, have, used)
}

// rowShape is the shape of one row of an input; nil for an input whose rank is open.
func rowShape(info *serval.TensorInfo) ([]int64, error) {
	if len(info.Shape) == 0 {
		return nil, nil
	}
	if info.Shape[0] > 1 {
		return nil, serval.Errorf(serval.Unimplemented, "the input '%s' takes exactly %d rows a request, which a table cannot promise", info.Name, info.Shape[0]).At(info.Name)
	}
	return slices.Clone(info.Shape[1:]), nil
}

// sideBySide fills a row's shape with so many values; one open dimension takes what the others leave.
func (in *planned) sideBySide(row []int64, n int) error {
	fixed, open := int64(1), -1
	for i, d := range row {
		if d >= 0 {
			fixed *= d
		} else if open < 0 {
			open = i
		} else {
			row[i] = 1
		}
	}
	if open >= 0 && fixed > 0 {
		row[open] = int64(n) / fixed
		fixed *= row[open]
	}
	if fixed != int64(n) {
		return serval.Errorf(serval.InvalidArgument, "%d columns, where the input '%s' takes %s a row", n, in.info.Name, serval.ShapeString(in.info.Shape[min(1, len(in.info.Shape)):])).At(in.info.Name)
	}
	in.shape, in.size = row, fixed
	return nil
}

// single takes one column, of single values or of lists.
func (in *planned) single(row []int64, c *Column) error {
	most := int64(math.MaxInt32)
	listed, ok := serval.Elements(c.Shape)
	if c.Shape == nil || !ok || listed > most {
		listed = 0 // not known
	}
	fixed, open := int64(1), -1
	for i, d := range row {
		switch {
		case d > 0 && fixed > most/d:
			return serval.Errorf(serval.TooLarge, "the input '%s' takes %s a row", in.info.Name, serval.ShapeString(row)).At(in.info.Name)
		case d >= 0:
			fixed *= d
		case open < 0:
			open = i
		default:
			row[i] = 1
		}
	}
	if open >= 0 {
		row[open] = 1
		if listed > 0 && fixed > 0 {
			row[open] = listed / fixed
		}
		fixed *= row[open]
	}
	if listed > 0 && listed != fixed {
		return serval.Errorf(serval.InvalidArgument, "column '%s' holds %d values a row, where the input '%s' takes %s", c.Name, listed, in.info.Name, serval.ShapeString(row)).At(c.Name)
	}
	in.shape, in.size = row, fixed
	return nil
}

// passthrough adds the columns that are kept.
func (p *plan) passthrough(job *Job, have []Column, used []int) error {
	want := job.Passthrough
	switch {
	case want == nil:
		for i := range have {
			if have[i].Name != "" && !slices.Contains(used, i) {
				p.selected = append(p.selected, have[i])
			}
		}
	case slices.Equal(want, []string{"all"}):
		p.selected = append(p.selected, have...)
	case slices.Equal(want, []string{"none"}):
	default:
		for _, name := range want {
			at := slices.IndexFunc(have, func(c Column) bool { return c.Name == name })
			if at < 0 {
				return serval.Errorf(serval.InvalidArgument, "no column '%s' to pass through; there are %s", name, nameList(have)).At("passthrough")
			}
			p.selected = append(p.selected, have[at])
		}
	}
	return nil
}

// keep makes the plan of a later object give the columns of the first one, in that order and as those types.
func (p *plan) keep(columns []Column, have []Column) error {
	p.selected = p.selected[:p.pass]
	for _, c := range columns {
		if !slices.ContainsFunc(have, func(h Column) bool { return h.Name == c.Name }) {
			return serval.Errorf(serval.InvalidArgument, "no column '%s', which the first object has; there are %s", c.Name, nameList(have)).At(c.Name)
		}
		p.selected = append(p.selected, c)
	}
	return nil
}

func nameList(have []Column) string {
	const most = 30
	var names []string
	for i, c := range have {
		if i == most {
			names = append(names, "…")
			break
		}
		names = append(names, "'"+c.Name+"'")
	}
	return strings.Join(names, ", ")
}
