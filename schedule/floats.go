package schedule

import (
	"encoding/binary"
	"math"

	"serval"
)

// floats reads a tensor of floating-point numbers; nil for other types.
func floats(t *serval.Tensor) []float64 {
	var read func([]byte) float64
	switch t.DType {
	case serval.FP32:
		read = func(b []byte) float64 { return float64(math.Float32frombits(binary.LittleEndian.Uint32(b))) }
	case serval.FP64:
		read = func(b []byte) float64 { return math.Float64frombits(binary.LittleEndian.Uint64(b)) }
	case serval.BF16:
		read = func(b []byte) float64 {
			return float64(math.Float32frombits(uint32(binary.LittleEndian.Uint16(b)) << 16))
		}
	case serval.FP16:
		read = func(b []byte) float64 { return half(binary.LittleEndian.Uint16(b)) }
	default:
		return nil
	}
	size := t.DType.Size()
	out := make([]float64, len(t.Data)/size)
	for i := range out {
		out[i] = read(t.Data[size*i:])
	}
	return out
}

// half is the value of an IEEE 754 binary16.
func half(bits uint16) float64 {
	sign, exponent, fraction := 1-2*float64(bits>>15), int(bits>>10&31), float64(bits&1023)
	switch exponent {
	case 0:
		return sign * math.Ldexp(fraction, -24)
	case 31:
		if fraction != 0 {
			return math.NaN()
		}
		return math.Inf(int(sign))
	}
	return sign * math.Ldexp(1024+fraction, exponent-25)
}
