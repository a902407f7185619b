package element

import (
	"encoding/binary"
	"fmt"
	"math"

	"serval"
)

// Values reads every element of a tensor, in row-major order: bool, int64, uint64, float32 (also of FP16 and BF16),
// float64 or string. It fails where the data does not hold what the shape declares.
func Values(t *serval.Tensor) ([]any, error) {
	if err := t.Check(); err != nil {
		return nil, err
	}
	n, _ := serval.Elements(t.Shape)
	values := make([]any, 0, n)
	if t.DType == serval.Bytes {
		for rest := t.Data; len(rest) > 0; {
			var e []byte
			e, rest, _ = serval.NextBytes(rest) // Check has walked it
			values = append(values, string(e))
		}
		return values, nil
	}
	size := t.DType.Size()
	for at := 0; at < len(t.Data); at += size {
		values = append(values, read(t.DType, t.Data[at:at+size]))
	}
	return values, nil
}

// Floats reads every element of a tensor of numbers or bools.
func Floats(t *serval.Tensor) ([]float64, error) {
	if err := t.Check(); err != nil {
		return nil, err
	}
	if t.DType == serval.Bytes {
		return nil, fmt.Errorf("'%s' holds strings, where numbers are needed", t.Name)
	}
	size := t.DType.Size()
	floats := make([]float64, len(t.Data)/size)
	for i := range floats {
		floats[i] = float(t.DType, t.Data[i*size:])
	}
	return floats, nil
}

func read(d serval.DType, b []byte) any {
	switch d {
	case serval.Bool:
		return b[0] != 0
	case serval.Uint8, serval.Uint16, serval.Uint32, serval.Uint64:
		return unsigned(b[:d.Size()])
	case serval.Int8, serval.Int16, serval.Int32, serval.Int64:
		return signed(b[:d.Size()])
	case serval.FP64:
		return float(d, b)
	}
	return float32(float(d, b))
}

func float(d serval.DType, b []byte) float64 {
	switch d {
	case serval.FP64:
		return math.Float64frombits(binary.LittleEndian.Uint64(b))
	case serval.FP32:
		return float64(math.Float32frombits(binary.LittleEndian.Uint32(b)))
	case serval.FP16:
		return float64(fromHalf(binary.LittleEndian.Uint16(b)))
	case serval.BF16:
		return float64(fromBrain(binary.LittleEndian.Uint16(b)))
	case serval.Int8, serval.Int16, serval.Int32, serval.Int64:
		return float64(signed(b[:d.Size()]))
	}
	return float64(unsigned(b[:d.Size()]))
}

func unsigned(b []byte) uint64 {
	var u uint64
	for i, c := range b {
		u |= uint64(c) << (8 * i)
	}
	return u
}

func signed(b []byte) int64 {
	shift := uint(64 - 8*len(b))
	return int64(unsigned(b)<<shift) >> shift
}
