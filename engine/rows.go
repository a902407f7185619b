package engine

import (
	"fmt"

	"serval"
)

// Rows adds up the rows of a batch.
func Rows(calls []*Call) int64 {
	var n int64
	for _, c := range calls {
		n += c.Rows
	}
	return n
}

// Gather appends the data of input i of every call to dst: the rows of the batch, one after another.
func Gather(dst []byte, calls []*Call, i int) []byte {
	for _, c := range calls {
		dst = append(dst, c.Inputs[i].Data...)
	}
	return dst
}

// Scatter answers every call with its rows of a batch's outputs, whose leading dimension must be the batch's rows. The
// calls share the outputs' data, so hold must hold it; hold.Dims is used for their shapes.
func Scatter(calls []*Call, outputs []serval.Tensor, hold *Buffer) error {
	if len(calls) == 1 {
		calls[0].Answer(outputs, hold)
		return nil
	}
	total := Rows(calls)
	for i := range outputs {
		if len(outputs[i].Shape) == 0 || outputs[i].Shape[0] != total {
			return fmt.Errorf("output '%s' has shape %s for a batch of %d rows: its leading dimension is not the batch", outputs[i].Name, serval.ShapeString(outputs[i].Shape), total)
		}
	}
	need := 0
	for i := range outputs {
		need += len(outputs[i].Shape) * len(calls)
	}
	if cap(hold.Dims)-len(hold.Dims) < need { // outputs' own shapes may stand in Dims: grow without moving them
		hold.Dims = make([]int64, 0, need)
	}
	for _, c := range calls {
		c.Outputs = c.Outputs[:0]
		for i := range outputs {
			o := &outputs[i]
			part, err := takeRows(o, c.Rows, total)
			if err != nil {
				return err
			}
			at := len(hold.Dims)
			hold.Dims = append(hold.Dims, c.Rows)
			hold.Dims = append(hold.Dims, o.Shape[1:]...)
			c.Outputs = append(c.Outputs, serval.Tensor{Name: o.Name, DType: o.DType, Shape: hold.Dims[at:len(hold.Dims):len(hold.Dims)], Data: part, Labels: o.Labels})
		}
		c.Answer(c.Outputs, hold)
	}
	return nil
}

// takeRows cuts the next rows off o.Data, moving it on.
func takeRows(o *serval.Tensor, rows, total int64) ([]byte, error) {
	if o.DType != serval.Bytes {
		size, ok := serval.Elements(o.Shape[1:])
		n := size * int64(o.DType.Size()) * rows
		if !ok || n > int64(len(o.Data)) {
			return nil, fmt.Errorf("output '%s' of shape %s for %d rows holds too few bytes", o.Name, serval.ShapeString(o.Shape), total)
		}
		part := o.Data[:n:n]
		o.Data = o.Data[n:]
		return part, nil
	}
	per, ok := serval.Elements(o.Shape[1:])
	if !ok {
		return nil, fmt.Errorf("output '%s' has no countable shape", o.Name)
	}
	rest := o.Data
	for i := int64(0); i < per*rows; i++ {
		if _, rest, ok = serval.NextBytes(rest); !ok {
			return nil, fmt.Errorf("output '%s' holds fewer strings than its shape %s says", o.Name, serval.ShapeString(o.Shape))
		}
	}
	n := len(o.Data) - len(rest)
	part := o.Data[:n:n]
	o.Data = rest
	return part, nil
}
