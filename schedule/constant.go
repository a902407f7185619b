package schedule

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strconv"

	"serval"
)

// constant makes the tensor of an input that is always the same: a scalar, or one value for every dimension of size 1.
func constant(info *serval.TensorInfo, text string) (serval.Tensor, error) {
	t := serval.Tensor{Name: info.Name, DType: info.DType, Shape: slices.Clone(info.Shape)}
	for i, d := range t.Shape {
		if d < 0 {
			t.Shape[i] = 1
		}
	}
	if n, ok := serval.Elements(t.Shape); !ok || n != 1 {
		return t, fmt.Errorf("constants.%s: the input has shape %s, a constant is one value", info.Name, serval.ShapeString(info.Shape))
	}
	data, err := appendNumber(nil, info.DType, text)
	if err != nil {
		return t, fmt.Errorf("constants.%s: %w", info.Name, err)
	}
	t.Data = data
	return t, nil
}

// appendNumber appends the value that a text spells, as an element of type d.
func appendNumber(dst []byte, d serval.DType, text string) ([]byte, error) {
	bad := func() ([]byte, error) { return nil, fmt.Errorf("%q is no %s", text, d) }
	switch d {
	case serval.Bytes:
		return serval.AppendString(dst, text), nil
	case serval.Bool:
		v, err := strconv.ParseBool(text)
		if err != nil {
			return bad()
		}
		if v {
			return append(dst, 1), nil
		}
		return append(dst, 0), nil
	case serval.FP32:
		v, err := strconv.ParseFloat(text, 32)
		if err != nil {
			return bad()
		}
		return binary.LittleEndian.AppendUint32(dst, math.Float32bits(float32(v))), nil
	case serval.FP64:
		v, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return bad()
		}
		return binary.LittleEndian.AppendUint64(dst, math.Float64bits(v)), nil
	case serval.Int8, serval.Int16, serval.Int32, serval.Int64:
		v, err := strconv.ParseInt(text, 10, 8*d.Size())
		if err != nil {
			return bad()
		}
		return binary.LittleEndian.AppendUint64(dst, uint64(v))[:len(dst)+d.Size()], nil
	case serval.Uint8, serval.Uint16, serval.Uint32, serval.Uint64:
		v, err := strconv.ParseUint(text, 10, 8*d.Size())
		if err != nil {
			return bad()
		}
		return binary.LittleEndian.AppendUint64(dst, v)[:len(dst)+d.Size()], nil
	}
	return nil, fmt.Errorf("a value of type %s cannot be written in a configuration", d)
}
