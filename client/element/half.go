package element

import "math"

// fromHalf widens an IEEE 754 binary16.
func fromHalf(h uint16) float32 {
	sign := uint32(h&0x8000) << 16
	exp := uint32(h>>10) & 0x1f
	frac := uint32(h & 0x3ff)
	switch {
	case exp == 0x1f: // infinity or NaN
		return math.Float32frombits(sign | 0xff<<23 | frac<<13)
	case exp == 0: // zero or subnormal: frac × 2^-24, exact in a float32
		return math.Float32frombits(sign | math.Float32bits(float32(frac)/(1<<24)))
	}
	return math.Float32frombits(sign | (exp+112)<<23 | frac<<13)
}

// toHalf rounds to the nearest IEEE 754 binary16, ties to even; what is too large becomes infinity.
func toHalf(f float32) uint16 {
	bits := math.Float32bits(f)
	sign := uint16(bits>>16) & 0x8000
	exp := int(bits>>23&0xff) - 127
	frac := bits & 0x7fffff
	switch {
	case exp == 128:
		if frac != 0 {
			return sign | 0x7e00
		}
		return sign | 0x7c00
	case exp > 15:
		return sign | 0x7c00
	case exp >= -14: // a carry out of the fraction raises the exponent, up to infinity
		return sign | uint16(roundShift(uint32(exp+15)<<23|frac, 13))
	case exp >= -25:
		return sign | uint16(roundShift(frac|0x800000, uint(-exp-1)))
	}
	return sign
}

// toBrain rounds to the nearest bfloat16, ties to even.
func toBrain(f float32) uint16 {
	bits := math.Float32bits(f)
	if f != f {
		return uint16(bits>>16) | 0x40
	}
	return uint16(roundShift(bits, 16))
}

func fromBrain(b uint16) float32 { return math.Float32frombits(uint32(b) << 16) }

func roundShift(v uint32, n uint) uint32 {
	kept := v >> n
	rest, half := v&(1<<n-1), uint32(1)<<(n-1)
	if rest > half || rest == half && kept&1 == 1 {
		kept++
	}
	return kept
}
