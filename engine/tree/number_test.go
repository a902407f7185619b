package tree

import (
	"math"
	"math/rand/v2"
	"strconv"
	"testing"
)

// checkNumber compares with strconv.
func checkNumber(t *testing.T, b []byte) {
	v, n := parseNumber(b)
	if n == 0 || v != v { // "-nan" is what C writes, and nothing to strconv
		return
	}
	want, err := strconv.ParseFloat(string(b[:n]), 64)
	if err != nil && !math.IsInf(want, 0) {
		t.Fatalf("%q: %v, where strconv says %v", b[:n], v, err)
	}
	if v != want || math.Signbit(v) != math.Signbit(want) {
		t.Fatalf("%q: %v, want %v", b[:n], v, want)
	}
}

func TestNumber(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 200_000 {
		v := math.Float64frombits(r.Uint64())
		for _, s := range []string{strconv.FormatFloat(v, 'g', -1, 64), strconv.FormatFloat(float64(float32(v)), 'E', -1, 32), strconv.FormatFloat(r.Float64(), 'f', 17, 64), strconv.FormatFloat(v, 'e', 20, 64)} {
			checkNumber(t, []byte(s))
		}
	}
	for s, want := range map[string]int{"": 0, "-": 0, "x": 0, ".": 0, "1.2.3": 3, "1e": 1, "1e+": 1, "12 ": 2, "nan,": 3, "-inf": 4, "Infinity": 8} {
		if _, n := parseNumber([]byte(s)); n != want {
			t.Errorf("%q: %d bytes, want %d", s, n, want)
		}
	}
}
