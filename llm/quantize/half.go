package quantize

import (
	"encoding/binary"
	"math"
)

// largestHalf is the largest finite f16.
const largestHalf = 65504

// toHalf rounds to the nearest f16, halves to even. What is too large becomes the largest finite one: callers check before that
// it is not larger than rounding can make it.
func toHalf(v float64) uint16 {
	f := float32(v)
	bits := math.Float32bits(f)
	sign := uint16(bits >> 16 & 0x8000)
	bits &= 0x7fffffff
	switch {
	case bits >= 0x477ff000: // would round to infinity, or is it
		return sign | 0x7bff
	case bits < 0x38800000: // below 2^-14: a multiple of 2^-24. The sum's last place is that, so that the addition rounds.
		const half = 0.5 // whose last place is 2^-24
		return sign | uint16(math.Float32bits(math.Float32frombits(bits)+half)-math.Float32bits(half))
	}
	bits += 0xfff + bits>>13&1
	return sign | uint16(bits>>13-(127-15)<<10)
}

// fromHalf is the exact value of a finite f16.
func fromHalf(h uint16) float32 {
	sign, exponent, mantissa := uint32(h)<<16&0x80000000, uint32(h>>10&31), uint32(h&0x3ff)
	if exponent == 0 {
		v := float32(mantissa) * (1.0 / (1 << 24))
		return math.Float32frombits(math.Float32bits(v) | sign)
	}
	return math.Float32frombits(sign | (exponent+127-15)<<23 | mantissa<<13)
}

// rounded is what is left of a number that is stored as f16.
func rounded(f float64) float64 { return float64(fromHalf(toHalf(f))) }

func putHalf(dst []byte, f float64) { binary.LittleEndian.PutUint16(dst, toHalf(f)) }

// toBrain rounds to the nearest bfloat16, halves to even.
func toBrain(f float32) uint16 {
	bits := math.Float32bits(f)
	return uint16((bits + 0x7fff + bits>>16&1) >> 16)
}

// nearest rounds to the nearest whole number, halves to even; |f| must be below 2^51.
func nearest(f float64) float64 {
	const shift = 3 << 51 // where the last place of a float64 is 1
	return float64(f+shift) - shift
}
