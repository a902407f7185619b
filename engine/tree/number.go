package tree

import (
	"math"
	"strconv"
)

// powers of ten that a float64 holds exactly.
var powers = [...]float64{1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22}

// parseNumber reads the number at the start of b, correctly rounded, and says how many bytes it took; 0: there is none. It
// takes what the libraries write: decimal numbers, NaN, nan, inf and Infinity, signed.
func parseNumber(b []byte) (float64, int) {
	i := 0
	negative := false
	if i < len(b) && (b[i] == '-' || b[i] == '+') {
		negative = b[i] == '-'
		i++
	}
	if i < len(b) && (b[i] < '0' || b[i] > '9') && b[i] != '.' {
		return parseWord(b, i, negative)
	}
	var mantissa uint64
	exponent, digits, exact := 0, 0, true
	for dot := false; i < len(b); i++ {
		c := b[i]
		if c == '.' && !dot {
			dot = true
			continue
		}
		if c < '0' || c > '9' {
			break
		}
		digits++
		if mantissa < 1e18 {
			mantissa = mantissa*10 + uint64(c-'0')
			if dot {
				exponent--
			}
		} else {
			exact = false
		}
	}
	if digits == 0 {
		return 0, 0
	}
	if i < len(b) && (b[i] == 'e' || b[i] == 'E') {
		if e, n := parseExponent(b[i+1:]); n > 0 {
			exponent += e
			i += 1 + n
		}
	}
	if exact && mantissa <= 1<<53 && exponent >= -22 && exponent <= 22 {
		v := float64(mantissa)
		if exponent < 0 {
			v /= powers[-exponent]
		} else {
			v *= powers[exponent]
		}
		if negative {
			v = -v
		}
		return v, i
	}
	v, err := strconv.ParseFloat(string(b[:i]), 64)
	if err != nil && !math.IsInf(v, 0) { // too large a number becomes an infinity, as it does in the libraries
		return 0, 0
	}
	return v, i
}

// parseExponent reads what follows an e.
func parseExponent(b []byte) (e, n int) {
	negative := false
	if n < len(b) && (b[n] == '-' || b[n] == '+') {
		negative = b[n] == '-'
		n++
	}
	start := n
	for ; n < len(b) && b[n] >= '0' && b[n] <= '9'; n++ {
		if e < 1e6 {
			e = e*10 + int(b[n]-'0')
		}
	}
	if n == start {
		return 0, 0
	}
	if negative {
		e = -e
	}
	return e, n
}

// parseWord reads NaN and the infinities; i is where the word starts.
func parseWord(b []byte, i int, negative bool) (float64, int) {
	for _, w := range [...]struct {
		word  string
		value float64
	}{{"NaN", math.NaN()}, {"nan", math.NaN()}, {"Infinity", math.Inf(1)}, {"infinity", math.Inf(1)}, {"inf", math.Inf(1)}, {"Inf", math.Inf(1)}} {
		if len(b)-i >= len(w.word) && string(b[i:i+len(w.word)]) == w.word {
			if negative {
				return -w.value, i + len(w.word)
			}
			return w.value, i + len(w.word)
		}
	}
	return 0, 0
}
