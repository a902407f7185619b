package jsontensor

import (
	"math"
	"strconv"
	"unsafe"

	"serval"
)

// number is a JSON number taken apart: ±mant × 10^exp.
type number struct {
	mant uint64
	exp  int
	neg  bool
	frac bool // written with a point or an exponent
	big  bool // more than 19 digits: mant is not it
}

// scanNumber reads the number at b[i:] and returns where it ends; -1 if none stands there. It takes JSON's grammar: no
// leading zeros, no plus sign, digits on both sides of a point.
func scanNumber(b []byte, i int) (n number, next int) {
	if i < len(b) && b[i] == '-' {
		n.neg = true
		i++
	}
	start := i
	m := uint64(0)
	for i < len(b) {
		d := b[i] - '0'
		if d > 9 {
			break
		}
		m = m*10 + uint64(d)
		i++
	}
	digits := i - start
	if digits == 0 || digits > 1 && b[start] == '0' {
		return n, -1
	}
	if i < len(b) && b[i] == '.' {
		i++
		point := i
		for i < len(b) {
			d := b[i] - '0'
			if d > 9 {
				break
			}
			m = m*10 + uint64(d)
			i++
		}
		if i == point {
			return n, -1
		}
		n.exp = point - i
		n.frac = true
		digits += i - point
	}
	n.mant = m
	if digits > 19 {
		n.big = significant(b[start:i]) > 19
	}
	if i < len(b) && b[i]|0x20 == 'e' {
		return scanExponent(b, i+1, n)
	}
	return n, i
}

func scanExponent(b []byte, i int, n number) (number, int) {
	n.frac = true
	neg := false
	if i < len(b) && (b[i] == '+' || b[i] == '-') {
		neg = b[i] == '-'
		i++
	}
	start, e := i, 0
	for ; i < len(b) && b[i]-'0' <= 9; i++ {
		if e < 100000 {
			e = e*10 + int(b[i]-'0')
		}
	}
	if i == start {
		return n, -1
	}
	if neg {
		e = -e
	}
	n.exp += e
	return n, i
}

// significant counts the digits from the first that is not zero.
func significant(b []byte) int {
	n := 0
	for _, c := range b {
		if c != '.' && (n > 0 || c != '0') {
			n++
		}
	}
	return n
}

// pow10 are the powers of ten that a float64 holds exactly.
var pow10 = [...]float64{1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
	1e17, 1e18, 1e19, 1e20, 1e21, 1e22}

// tenth are the powers of a tenth, rounded to the nearest.
var tenth = [...]float64{1e0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9, 1e-10, 1e-11, 1e-12, 1e-13, 1e-14,
	1e-15, 1e-16, 1e-17, 1e-18, 1e-19, 1e-20, 1e-21, 1e-22}

// float64 is the nearest float64 (ties to even) where that is cheap to know: mantissa and power are both exact, so the one
// operation rounds once (Clinger, "How to Read Floating Point Numbers Accurately", 1990).
func (n number) float64() (float64, bool) {
	if n.big || n.mant > 1<<53 || n.exp < -22 || n.exp > 22 {
		return 0, false
	}
	f := float64(n.mant)
	if n.exp < 0 {
		f /= pow10[-n.exp]
	} else {
		f *= pow10[n.exp]
	}
	if n.neg {
		f = -f
	}
	return f, true
}

// float32 is the nearest float32 where that is cheap to know. The float64 below is off the truth by less than four units
// in its last place, from three roundings; so rounding it again is right unless it lies that close to the middle between
// two float32 values.
func (n number) float32() (float32, bool) {
	if n.big || n.exp < -22 || n.exp > 22 {
		return 0, false
	}
	f := float64(n.mant)
	if n.exp < 0 {
		f *= tenth[-n.exp]
	} else {
		f *= pow10[n.exp]
	}
	if f != 0 {
		if f < 0x1p-126 || f > math.MaxFloat32 {
			return 0, false
		}
		const middle = 1 << 28 // of the 29 bits that go
		if low := math.Float64bits(f) & (1<<29 - 1); low-(middle-4) <= 8 {
			return 0, false
		}
	}
	if n.neg {
		f = -f
	}
	return float32(f), true
}

// parseFloat reads a number that the cheap ways cannot; it reports false where the value is beyond the type.
func parseFloat(text []byte, bits int) (float64, bool) {
	f, err := strconv.ParseFloat(unsafe.String(unsafe.SliceData(text), len(text)), bits)
	return f, err == nil
}

// intLimits are the largest value of an integer type and the magnitude of its smallest.
var intLimits = [...]struct{ max, min uint64 }{
	serval.Uint8: {math.MaxUint8, 0}, serval.Uint16: {math.MaxUint16, 0}, serval.Uint32: {math.MaxUint32, 0}, serval.Uint64: {math.MaxUint64, 0},
	serval.Int8: {math.MaxInt8, 1 << 7}, serval.Int16: {math.MaxInt16, 1 << 15}, serval.Int32: {math.MaxInt32, 1 << 31}, serval.Int64: {math.MaxInt64, 1 << 63},
}

// integer is the two's complement of n as a value of type d; false where it is out of range. n has no fraction.
func (n number) integer(text []byte, d serval.DType) (uint64, bool) {
	m := n.mant
	if n.big { // a UINT64 may have 20 digits
		var err error
		if m, err = strconv.ParseUint(string(text), 10, 64); err != nil {
			return 0, false
		}
	}
	limit := intLimits[d]
	if n.neg {
		return -m, m <= limit.min
	}
	return m, m <= limit.max
}
