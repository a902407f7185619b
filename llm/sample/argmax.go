package sample

import (
	"math"
	"math/bits"
)

// Argmax is the index of the largest number, the first of equals; NaN and -Inf are none. -1 if there is none.
func Argmax(x []float32) int32 {
	low := float32(math.Inf(-1))
	// Eight maxima that do not wait for each other; then the first place that holds the largest.
	a, b, c, d, e, f, g, h := low, low, low, low, low, low, low, low
	i := 0
	for ; i+8 <= len(x); i += 8 {
		y := x[i : i+8 : i+8]
		if y[0] > a {
			a = y[0]
		}
		if y[1] > b {
			b = y[1]
		}
		if y[2] > c {
			c = y[2]
		}
		if y[3] > d {
			d = y[3]
		}
		if y[4] > e {
			e = y[4]
		}
		if y[5] > f {
			f = y[5]
		}
		if y[6] > g {
			g = y[6]
		}
		if y[7] > h {
			h = y[7]
		}
	}
	for ; i < len(x); i++ {
		if x[i] > a {
			a = x[i]
		}
	}
	most := max(a, b, c, d, e, f, g, h)
	if most == low {
		return -1
	}
	for i, v := range x {
		if v == most {
			return int32(i)
		}
	}
	return -1
}

// argmaxOf is Argmax of what is allowed.
func argmaxOf(x []float32, allowed []uint64) int32 {
	best, at := float32(math.Inf(-1)), int32(-1)
	for w, word := range allowed {
		base := w * 64
		if base >= len(x) {
			break
		}
		if left := len(x) - base; left < 64 {
			word &= 1<<left - 1
		}
		if word == math.MaxUint64 {
			if i := Argmax(x[base : base+64]); i >= 0 && x[base+int(i)] > best {
				best, at = x[base+int(i)], int32(base)+i
			}
			continue
		}
		for ; word != 0; word &= word - 1 {
			if i := base + bits.TrailingZeros64(word); x[i] > best {
				best, at = x[i], int32(i)
			}
		}
	}
	return at
}
