package load

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"strconv"

	"serval"
)

// Sample says what random inputs to draw for a model.
type Sample struct {
	Rows int              // of the leading dynamic dimension; 0: 1
	Seed uint64           // the same seed draws the same values
	Dims map[string]int64 // sizes of other dynamic dimensions by their symbol ("width"); default 1
}

// maxSampleBytes bounds one tensor, so that a mistyped dimension is an error and not an exhausted machine.
const maxSampleBytes = 1 << 30

// Tensors draws inputs that fit a signature: floats from the standard normal distribution, integers and strings below
// 10 in their decimal spelling, booleans by a coin. Optional inputs are left out. An input of any rank gets [Rows].
func Tensors(sig serval.Signature, s Sample) ([]serval.Tensor, error) {
	if s.Rows < 0 {
		return nil, serval.Errorf(serval.InvalidArgument, "rows: %d is negative", s.Rows).At("rows")
	}
	random := rand.New(rand.NewPCG(s.Seed, 0))
	var list []serval.Tensor
	for i := range sig.Inputs {
		in := &sig.Inputs[i]
		if in.Optional {
			continue
		}
		t := serval.Tensor{Name: in.Name, DType: in.DType, Shape: s.shape(in)}
		n, ok := serval.Elements(t.Shape)
		if !ok || n > maxSampleBytes/8 {
			return nil, serval.Errorf(serval.InvalidArgument, "input '%s': shape %s is too large to draw", t.Name, serval.ShapeString(t.Shape)).At(t.Name)
		}
		if t.DType != serval.Bytes && t.DType.Size() == 0 {
			return nil, serval.Errorf(serval.InvalidArgument, "input '%s': unknown datatype", t.Name).At(t.Name)
		}
		for range n {
			t.Data = appendRandom(t.Data, t.DType, random)
		}
		list = append(list, t)
	}
	return list, nil
}

func (s Sample) shape(in *serval.TensorInfo) []int64 {
	rows := int64(max(s.Rows, 1))
	if in.Shape == nil {
		return []int64{rows}
	}
	shape := append([]int64{}, in.Shape...)
	for d := range shape {
		if shape[d] >= 0 {
			continue
		}
		symbol := ""
		if d < len(in.Symbols) {
			symbol = in.Symbols[d]
		}
		size, named := s.Dims[symbol]
		switch {
		case named && symbol != "":
			shape[d] = size
		case d == 0:
			shape[d] = rows
		default:
			shape[d] = 1
		}
	}
	return shape
}

func appendRandom(b []byte, t serval.DType, r *rand.Rand) []byte {
	switch t {
	case serval.FP32:
		return binary.LittleEndian.AppendUint32(b, math.Float32bits(float32(r.NormFloat64())))
	case serval.FP64:
		return binary.LittleEndian.AppendUint64(b, math.Float64bits(r.NormFloat64()))
	case serval.BF16:
		return binary.LittleEndian.AppendUint16(b, uint16(math.Float32bits(float32(r.NormFloat64()))>>16))
	case serval.FP16: // the mantissa is random, the exponent that of [1, 2)
		return binary.LittleEndian.AppendUint16(b, 0x3c00|uint16(r.IntN(1<<10)))
	case serval.Bool:
		return append(b, byte(r.IntN(2)))
	case serval.Bytes:
		return serval.AppendString(b, strconv.Itoa(r.IntN(10)))
	}
	b = append(b, byte(r.IntN(10)))
	return append(b, make([]byte, t.Size()-1)...)
}
