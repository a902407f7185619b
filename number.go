package serval

import (
	"encoding/binary"
	"math"
)

// Numbers returns a function that reads element i of a tensor's data as a number; nil for a type that holds none.
func (d DType) Numbers() func(data []byte, i int) float64 {
	le := binary.LittleEndian
	switch d {
	case Bool, Uint8:
		return func(b []byte, i int) float64 { return float64(b[i]) }
	case Int8:
		return func(b []byte, i int) float64 { return float64(int8(b[i])) }
	case Uint16:
		return func(b []byte, i int) float64 { return float64(le.Uint16(b[2*i:])) }
	case Int16:
		return func(b []byte, i int) float64 { return float64(int16(le.Uint16(b[2*i:]))) }
	case Uint32:
		return func(b []byte, i int) float64 { return float64(le.Uint32(b[4*i:])) }
	case Int32:
		return func(b []byte, i int) float64 { return float64(int32(le.Uint32(b[4*i:]))) }
	case Uint64:
		return func(b []byte, i int) float64 { return float64(le.Uint64(b[8*i:])) }
	case Int64:
		return func(b []byte, i int) float64 { return float64(int64(le.Uint64(b[8*i:]))) }
	case FP16:
		return func(b []byte, i int) float64 { return half(le.Uint16(b[2*i:])) }
	case BF16:
		return func(b []byte, i int) float64 { return float64(math.Float32frombits(uint32(le.Uint16(b[2*i:])) << 16)) }
	case FP32:
		return func(b []byte, i int) float64 { return float64(math.Float32frombits(le.Uint32(b[4*i:]))) }
	case FP64:
		return func(b []byte, i int) float64 { return math.Float64frombits(le.Uint64(b[8*i:])) }
	}
	return nil
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
