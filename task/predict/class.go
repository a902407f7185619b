package predict

import (
	"encoding/binary"
	"fmt"
	"math"

	"serval"
)

// class makes the number of each row's class out of the values of all classes.
type class struct {
	name      string
	dtype     serval.DType
	threshold float64
	set       bool // threshold is
}

// viewClass is view for an output of which clients see the class.
func viewClass(kind string, t *serval.TensorSettings, has *serval.TensorInfo, batched bool) (serval.TensorInfo, viewed, error) {
	info := serval.TensorInfo{Name: t.Name, DType: serval.Int64, Shape: []int64{-1, 1}}
	if t.Datatype != "" {
		info.DType, _ = serval.ParseDType(t.Datatype)
	}
	switch {
	case info.DType != serval.Int64 && info.DType != serval.Int32 && info.DType != serval.FP32:
		return info, viewed{}, fmt.Errorf("%s '%s': a class is INT64, INT32 or FP32, not %q", kind, t.Name, t.Datatype)
	case has.DType != serval.FP32 && has.DType != serval.FP64 || len(has.Shape) != 2:
		return info, viewed{}, fmt.Errorf("%s '%s': the model gives '%s' as %s %s; a class is the highest of each row of numbers", kind, t.Name, has.Name, has.DType, shapeOf(has))
	case t.Shape != nil && (len(t.Shape) != 2 || t.Shape[0] != -1 && t.Shape[0] != has.Shape[0] || t.Shape[1] != 1):
		return info, viewed{}, fmt.Errorf("%s '%s' is declared with shape %s; a class of each row is [-1,1]", kind, t.Name, serval.ShapeString(t.Shape))
	case t.Reshape != nil:
		return info, viewed{}, fmt.Errorf("%s '%s': a class cannot be reshaped", kind, t.Name)
	case batched && has.Shape[0] != -1:
		return view(kind, t, has, batched) // which says why
	}
	info.Shape[0] = has.Shape[0]
	c := &class{name: t.Name, dtype: info.DType, threshold: t.Threshold, set: t.Threshold != 0}
	if has.Shape[1] == 1 && !c.set {
		c.threshold, c.set = 0.5, true
	}
	if c.set && has.Shape[1] > 2 {
		return info, viewed{}, fmt.Errorf("%s '%s': a threshold is for two classes, the model has %d", kind, t.Name, has.Shape[1])
	}
	return info, viewed{class: c}, nil
}

// of makes the classes of an output.
func (c *class) of(t *serval.Tensor) (serval.Tensor, error) {
	size := t.DType.Size()
	n, ok := serval.Elements(t.Shape)
	if !ok || len(t.Shape) != 2 || int64(len(t.Data)) != n*int64(size) {
		return *t, serval.Errorf(serval.Internal, "output '%s': the model gave %s of shape %s, of which no classes can be made", c.name, t.DType, serval.ShapeString(t.Shape))
	}
	rows, columns := int(t.Shape[0]), int(t.Shape[1])
	at := func(i int) float64 { return float64(math.Float32frombits(binary.LittleEndian.Uint32(t.Data[4*i:]))) }
	if t.DType == serval.FP64 {
		at = func(i int) float64 { return math.Float64frombits(binary.LittleEndian.Uint64(t.Data[8*i:])) }
	}
	out := serval.Tensor{Name: c.name, DType: c.dtype, Shape: []int64{t.Shape[0], 1}, Data: make([]byte, 0, rows*c.dtype.Size())}
	for row := range rows {
		out.Data = c.append(out.Data, c.pick(at, row*columns, columns))
	}
	return out, nil
}

// pick is the class of one row, whose values begin at first: the first of the highest ones.
func (c *class) pick(at func(int) float64, first, columns int) int {
	if c.set && columns > 0 {
		if at(first+columns-1) > c.threshold {
			return 1
		}
		return 0
	}
	best := 0
	for i := 1; i < columns; i++ {
		if at(first+i) > at(first+best) {
			best = i
		}
	}
	return best
}

func (c *class) append(dst []byte, n int) []byte {
	switch c.dtype {
	case serval.FP32:
		return binary.LittleEndian.AppendUint32(dst, math.Float32bits(float32(n)))
	case serval.Int32:
		return binary.LittleEndian.AppendUint32(dst, uint32(n))
	}
	return binary.LittleEndian.AppendUint64(dst, uint64(n))
}
