package kserve

import (
	"serval"
	"serval/internal/jsontensor"
)

// decoder reads one predict request. The types of the tensors are the model's, as the protocol does not name them.
type decoder struct {
	sig   *serval.Signature
	model string
	scan  jsontensor.Scanner
	in    serval.Tensors
	rows  bool // the request came as rows
}

// request reads {"instances":[…]} or {"inputs":…}. Other members, such as signature_name, are skipped.
func (d *decoder) request(body []byte) error {
	d.scan.Reset(body)
	if err := d.scan.Enter('{', "the request"); err != nil {
		return err
	}
	found := ""
	for first := true; ; first = false {
		more, err := d.scan.More(first, '}')
		if err != nil {
			return err
		}
		if !more {
			break
		}
		key, err := d.scan.Key()
		if err != nil {
			return err
		}
		name := string(key)
		if name != "instances" && name != "inputs" {
			if err := d.scan.Skip(); err != nil {
				return err
			}
			continue
		}
		if found != "" {
			return serval.Errorf(serval.InvalidArgument, `the request has both %q and %q; send either "instances" (rows) or "inputs" (columns), once`, found, name).At(name)
		}
		found = name
		if d.rows = name == "instances"; d.rows {
			err = d.instances()
		} else {
			err = d.columns()
		}
		if err != nil {
			return err
		}
	}
	if found == "" {
		return serval.Errorf(serval.InvalidArgument, `the request has neither "instances" nor "inputs"`).At("instances")
	}
	d.widen()
	return d.scan.End()
}

// widen makes a column of single values the [rows,1] that models of tables take, so that a row can be written as
// {"age":42}: the values are the same.
func (d *decoder) widen() {
	for i := range d.in.List {
		t := &d.in.List[i]
		want := d.sig.Inputs[d.sig.Input(t.Name)].Shape
		if len(want) == 2 && want[1] == 1 && len(t.Shape) == 1 {
			t.Shape = append(t.Shape, 1)
		}
	}
}

// columns reads an object of whole tensors by name, or the one tensor of a model with one input.
func (d *decoder) columns() error {
	if d.scan.Peek() != '{' {
		return d.only("inputs")
	}
	return d.object("inputs", func(name string) error {
		t, err := d.tensor(name)
		if err != nil {
			return err
		}
		d.in.List = append(d.in.List, t)
		return nil
	})
}

// instances reads an array of rows: objects with a value for each input, or the values of the one input.
func (d *decoder) instances() error {
	start := d.scan.Pos()
	if err := d.scan.Enter('[', "instances"); err != nil {
		return err
	}
	if d.scan.Peek() != '{' {
		d.scan.Seek(start)
		return d.only("instances")
	}
	for row := int64(0); ; row++ {
		more, err := d.scan.More(row == 0, ']')
		if err != nil {
			return err
		}
		if !more {
			for i := range d.in.List { // what the last row has left out
				if d.in.List[i].Shape[0] != row {
					return incomplete(d.in.List[i].Name, row-1)
				}
			}
			return nil
		}
		if err := d.object("instances", func(name string) error { return d.value(name, row) }); err != nil {
			return err
		}
	}
}

// value appends a row's value of one input.
func (d *decoder) value(name string, row int64) error {
	t, err := d.tensor(name)
	if err != nil {
		return err
	}
	have := d.in.Find(name)
	if have == nil {
		if row > 0 {
			return incomplete(name, 0)
		}
		t.Shape = append([]int64{1}, t.Shape...)
		d.in.List = append(d.in.List, t)
		return nil
	}
	switch {
	case have.Shape[0] > row:
		return twice("instances", name)
	case have.Shape[0] < row:
		return incomplete(name, row-1)
	case !sameShape(have.Shape[1:], t.Shape):
		return serval.Errorf(serval.InvalidArgument, "input '%s': instances[%d] has shape %s, those before it %s", name, row, serval.ShapeString(t.Shape), serval.ShapeString(have.Shape[1:])).At(name)
	}
	have.Data = append(have.Data, t.Data...)
	have.Shape[0]++
	return nil
}

func incomplete(name string, row int64) error {
	return serval.Errorf(serval.InvalidArgument, "input '%s' is missing in instances[%d]; each instance must have the same inputs", name, row).At(name)
}

func twice(where, name string) error {
	return serval.Errorf(serval.InvalidArgument, "%s: input '%s' is given twice", where, name).At(name)
}

func sameShape(a, b []int64) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// object walks an object whose names are inputs.
func (d *decoder) object(where string, member func(name string) error) error {
	if err := d.scan.Enter('{', where); err != nil {
		return err
	}
	for first := true; ; first = false {
		more, err := d.scan.More(first, '}')
		if err != nil || !more {
			return err
		}
		key, err := d.scan.Key()
		if err != nil {
			return err
		}
		name := string(key)
		if where == "inputs" && d.in.Find(name) != nil {
			return twice(where, name)
		}
		if err := member(name); err != nil {
			return err
		}
	}
}

// only reads the whole tensor of a model with one input.
func (d *decoder) only(where string) error {
	if n := len(d.sig.Inputs); n != 1 {
		return serval.Errorf(serval.InvalidArgument, "%s must name the inputs of model '%s', which has %d: %s", where, d.model, n, inputNames(d.sig)).At(where)
	}
	t, err := d.tensor(d.sig.Inputs[0].Name)
	if err != nil {
		return err
	}
	d.in.List = append(d.in.List, t)
	return nil
}

// tensor reads the next value as a tensor of the model's input of that name; its shape is the value's own.
func (d *decoder) tensor(name string) (serval.Tensor, error) {
	i := d.sig.Input(name)
	if i < 0 {
		return serval.Tensor{}, serval.Errorf(serval.InvalidArgument, "model '%s' has no input '%s'; it has %s", d.model, name, inputNames(d.sig)).At(name)
	}
	t := serval.Tensor{Name: name, DType: d.sig.Inputs[i].DType}
	if t.DType == serval.FP16 || t.DType == serval.BF16 {
		return t, serval.Errorf(serval.InvalidArgument, "input '%s' is %s, which this protocol cannot carry; send binary data to /v2/models/%s/infer", name, t.DType, d.model).At(name)
	}
	var err error
	if t.Shape, err = d.scan.Shape(nil); err != nil {
		return t, err
	}
	_, err = d.scan.Tensor(&t, nil)
	return t, err
}
