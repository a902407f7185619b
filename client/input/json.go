package input

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"sort"

	"serval"
	"serval/client/element"
)

// readJSON reads an Open Inference Protocol request body, {"inputs": {name: values}}, a list of row objects, one row
// object, or (for a model with one input) the bare nested values.
func readJSON(data []byte, m Model) (*Input, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		if at, ok := err.(*json.SyntaxError); ok {
			line := 1 + bytes.Count(data[:min(int(at.Offset), len(data))], []byte("\n"))
			return nil, &fault{place: fmt.Sprintf(", line %d", line), err: fmt.Errorf("not JSON: %w", err)}
		}
		return nil, fmt.Errorf("not JSON: %w", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, fmt.Errorf("more follows after the end of the JSON value, at byte %d", d.InputOffset())
	}
	switch v := v.(type) {
	case map[string]any:
		switch inputs := v["inputs"].(type) {
		case []any:
			return readBody(data)
		case map[string]any:
			return m.readNamed(inputs)
		}
		return m.readRows([]any{v})
	case []any:
		if len(v) > 0 {
			if _, ok := v[0].(map[string]any); ok {
				return m.readRows(v)
			}
		}
		if len(m.Signature.Inputs) == 1 {
			return m.readNamed(map[string]any{m.Signature.Inputs[0].Name: v})
		}
	}
	return nil, fmt.Errorf(`use {"inputs": {name: values}}, a list of objects with one value an input, or an Open Inference Protocol request; the inputs are %s`, m.inputNames())
}

// body is an Open Inference Protocol request; its data types and shapes stand as they are.
type body struct {
	Inputs []struct {
		Name     string
		Shape    []int64
		Datatype string
		Data     json.RawMessage
	}
	Outputs    []struct{ Name string }
	Parameters map[string]any
}

func readBody(data []byte) (*Input, error) {
	var b body
	if err := json.Unmarshal(data, &b); err != nil {
		return nil, fmt.Errorf("not an Open Inference Protocol request: %w", err)
	}
	in := &Input{}
	for i := range b.Inputs {
		t := &b.Inputs[i]
		if t.Name == "" {
			return nil, &fault{place: fmt.Sprintf(", inputs[%d]", i), err: fmt.Errorf("has no name")}
		}
		d, ok := serval.ParseDType(t.Datatype)
		if !ok {
			return nil, atInput(t.Name, fmt.Errorf("datatype %q is not known; use FP32, INT64, BYTES, …", t.Datatype))
		}
		values, err := element.DecodeJSON(t.Data)
		if err != nil {
			return nil, atInput(t.Name, err)
		}
		flat, _, err := element.AppendNested(nil, values, d)
		if err != nil {
			return nil, atInput(t.Name, err)
		}
		tensor := serval.Tensor{Name: t.Name, DType: d, Shape: t.Shape, Data: flat}
		if err := tensor.Check(); err != nil {
			return nil, &fault{param: t.Name, err: err}
		}
		in.Tensors = append(in.Tensors, tensor)
	}
	for _, o := range b.Outputs {
		in.Want = append(in.Want, o.Name)
	}
	if len(b.Parameters) > 0 {
		in.Ignored = []string{"parameters"}
	}
	return in, nil
}

func (m *Model) readNamed(inputs map[string]any) (*Input, error) {
	in := &Input{}
	for name := range inputs {
		if _, err := m.info(name); err != nil {
			return nil, err
		}
	}
	for i := range m.Signature.Inputs {
		info := &m.Signature.Inputs[i]
		v, ok := inputs[info.Name]
		if !ok {
			continue
		}
		data, shape, err := element.AppendNested(nil, v, info.DType)
		if err == nil {
			shape, err = fit(shape, info)
		}
		if err != nil {
			return nil, atInput(info.Name, err)
		}
		in.Tensors = append(in.Tensors, serval.Tensor{Name: info.Name, DType: info.DType, Shape: shape, Data: data})
	}
	return in, m.required(in.Tensors)
}

// readRows reads objects with one value (or nested list) an input.
func (m *Model) readRows(rows []any) (*Input, error) {
	in := &Input{}
	unused := map[string]bool{}
	for i, row := range rows {
		object, ok := row.(map[string]any)
		if !ok {
			return nil, &fault{place: fmt.Sprintf(", row %d", i), err: fmt.Errorf("not an object, as row 0 is")}
		}
		for name := range object {
			if m.Signature.Input(name) < 0 {
				unused[name] = true
			}
		}
	}
	for i := range m.Signature.Inputs {
		info := &m.Signature.Inputs[i]
		if _, ok := rows[0].(map[string]any)[info.Name]; !ok && info.Optional {
			continue
		}
		t, err := gatherRows(rows, info)
		if err != nil {
			return nil, err
		}
		in.Tensors = append(in.Tensors, t)
	}
	for name := range unused {
		in.Ignored = append(in.Ignored, name)
	}
	sort.Strings(in.Ignored)
	return in, nil
}

func gatherRows(rows []any, info *serval.TensorInfo) (serval.Tensor, error) {
	t := serval.Tensor{Name: info.Name, DType: info.DType}
	var each []int64
	for i, row := range rows {
		at := func(err error) error {
			return &fault{place: fmt.Sprintf(", row %d, field '%s'", i, info.Name), param: info.Name, err: err}
		}
		v, ok := row.(map[string]any)[info.Name]
		if !ok {
			return t, at(fmt.Errorf("missing; the model takes %s %s", info.DType, serval.ShapeString(info.Shape)))
		}
		data, shape, err := element.AppendNested(t.Data, v, info.DType)
		if err != nil {
			return t, at(err)
		}
		if i > 0 && !slices.Equal(shape, each) {
			return t, at(fmt.Errorf("shape %s, where row 0 has %s", serval.ShapeString(shape), serval.ShapeString(each)))
		}
		t.Data, each = data, shape
	}
	shape, err := fit(append([]int64{int64(len(rows))}, each...), info)
	if err != nil {
		return t, atInput(info.Name, err)
	}
	t.Shape = shape
	return t, nil
}
