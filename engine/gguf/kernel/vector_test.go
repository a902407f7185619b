package kernel

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

var sizes = []int{1, 5, 15, 16, 17, 31, 32, 64, 100, 576, 1000}

// near fails unless got is want, to a relative tolerance.
func near(t *testing.T, what string, got float32, want, tolerance float64) {
	t.Helper()
	if !(math.Abs(float64(got)-want) <= tolerance*math.Abs(want)+1e-30) {
		t.Fatalf("%s: %g, want %g", what, got, want)
	}
}

// TestQuantize holds the assembly against quantizeBlock byte for byte, and that against its definition.
func TestQuantize(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for _, tokens := range []int{1, 2, 7, 16, 17, 40} {
		cols := 32 * (1 + tokens%5)
		x := floats(rng, tokens*cols)
		for i := range x {
			x[i] *= float32(math.Exp(rng.NormFloat64() * 5)) // scales that f16 has as subnormals too
		}
		clear(x[:32])
		want := NewActs(Portable())
		want.Quantize(x, tokens, cols)
		for _, o := range sets() {
			got := NewActs(o)
			got.Quantize(x, tokens, cols)
			n := tokens * got.blocks * record
			if !bytes.Equal(got.data[:n], want.data[:n]) {
				t.Fatalf("%s: %d tokens of %d columns are not what plain Go makes", o, tokens, cols)
			}
		}
	}
	x := floats(rng, 64)
	for b := 0; b < 64; b += 32 {
		most := 0.0
		for _, e := range x[b : b+32] {
			most = max(most, math.Abs(float64(e)))
		}
		for i, e := range dequantized(x)[b : b+32] {
			if d := math.Abs(e - float64(x[b+i])); d > most/127*0.51+most/2048 {
				t.Fatalf("column %d: %g for %g, steps of %g", b+i, e, x[b+i], most/127)
			}
		}
	}
}

func TestGroups(t *testing.T) {
	for tokens := 1; tokens < 200; tokens++ {
		next, n := 0, 0
		for token := range tokens {
			start, lanes := group(tokens, token)
			if token == next {
				if start != token || lanes < 1 || lanes > Lanes {
					t.Fatalf("%d tokens: group of %d: from %d, %d lanes", tokens, token, start, lanes)
				}
				next, n = start+lanes, n+1
			}
			if start > token || token >= start+lanes || start+lanes != next {
				t.Fatalf("%d tokens: token %d in the group from %d of %d", tokens, token, start, lanes)
			}
		}
		if next != tokens || n != groups(tokens) {
			t.Fatalf("%d tokens: %d groups to %d", tokens, n, next)
		}
	}
}

// TestFillGroup holds whole groups against rows, for both kinds of activations, with room behind them and without.
func TestFillGroup(t *testing.T) {
	rng := rand.New(rand.NewPCG(8, 9))
	for _, o := range sets() {
		for _, tokens := range []int{1, 2, 7, 15, 16, 17, 31, 40, 100} {
			cols := 32 * (1 + tokens%3)
			x := floats(rng, (tokens+Lanes)*cols)
			want := NewActs(o)
			want.Quantize(x, tokens, cols)
			for _, room := range []int{0, Lanes} {
				got := NewActs(o)
				got.Resize(tokens, cols)
				covered := 0
				for i := range got.Groups() {
					from, n := got.Group(i)
					if start, lanes := group(tokens, from); start != from || lanes != n || from != covered {
						t.Fatalf("%d tokens: group %d is %d from %d", tokens, i, n, from)
					}
					covered += n
					got.FillGroup(x[from*cols:(from+max(n, room))*cols], i)
				}
				if n := tokens * got.blocks * record; covered != tokens || !bytes.Equal(got.data[:n], want.data[:n]) || !bytes.Equal(got.whole[:tokens*cols*4], want.whole[:tokens*cols*4]) {
					t.Fatalf("%s: %d tokens of %d columns, %d rows of room, are not what rows make", o, tokens, cols, room)
				}
			}
		}
	}
}

func TestHalf(t *testing.T) {
	for h := range 1 << 16 {
		f := Widen(uint16(h))
		if f == f && narrow(f) != uint16(h) {
			t.Fatalf("%#x is %g is %#x", h, f, narrow(f))
		}
	}
	rng := rand.New(rand.NewPCG(5, 6))
	x := make([]float32, 4096)
	for i := range x {
		x[i] = math.Float32frombits(rng.Uint32()&^0x7f800000 | uint32(127-30+rng.IntN(50))<<23)
	}
	for _, o := range sets() {
		got := make([]uint16, len(x))
		o.ToF16(got, x)
		for i, h := range got {
			if h != narrow(x[i]) {
				t.Fatalf("%s: %g is %#x, want %#x", o, x[i], h, narrow(x[i]))
			}
			if d := math.Abs(float64(Widen(h)) - float64(x[i])); !math.IsInf(float64(Widen(h)), 0) && d > math.Abs(float64(x[i]))/2048+0x1p-25 {
				t.Fatalf("%s: %g is %g", o, x[i], Widen(h))
			}
		}
	}
}

func TestVectors(t *testing.T) {
	for _, o := range sets() {
		for _, n := range sizes {
			t.Run(fmt.Sprint(o, n), func(t *testing.T) { testVectors(t, o, n) })
		}
	}
}

func testVectors(t *testing.T, o Ops, n int) {
	rng := rand.New(rand.NewPCG(7, uint64(n)))
	x, w, dst := floats(rng, n), floats(rng, n), make([]float32, n+1)
	dst[n] = 5 // nobody may write here
	var squares, largest = 0.0, math.Inf(-1)
	for i := range x {
		x[i] *= 8
		squares += float64(x[i]) * float64(x[i])
		largest = max(largest, float64(x[i]))
	}
	o.RMSNorm(dst[:n], x, w, 1e-5)
	for i := range x {
		near(t, "RMSNorm", dst[i], float64(x[i])*float64(w[i])/math.Sqrt(squares/float64(n)+1e-5), 1e-5)
	}
	moved, bias, total, apart := make([]float32, n), floats(rng, n), 0.0, 0.0
	for i := range x {
		moved[i] = x[i] + 3 // the mean is not zero
		total += float64(moved[i])
	}
	for _, e := range moved {
		apart += (float64(e) - total/float64(n)) * (float64(e) - total/float64(n))
	}
	o.LayerNorm(dst[:n], moved, w, bias, 1e-5)
	for i, e := range moved {
		want := (float64(e)-total/float64(n))*float64(w[i])/math.Sqrt(apart/float64(n)+1e-5) + float64(bias[i])
		if math.Abs(float64(dst[i])-want) > 2e-6*(1+math.Abs(want)) {
			t.Fatalf("LayerNorm: %g, want %g", dst[i], want)
		}
	}
	copy(dst, w)
	o.AddTo(dst[:n], x)
	for i := range x {
		near(t, "AddTo", dst[i], float64(w[i]+x[i]), 0)
	}
	o.SiLUMul(dst[:n], x, w)
	for i, g := range x {
		near(t, "SiLUMul", dst[i], float64(g)/(1+math.Exp(-float64(g)))*float64(w[i]), 1e-6)
	}
	near(t, "Max", o.Max(x), largest, 0)
	if i := o.ArgMax(x); float64(x[i]) != largest {
		t.Fatalf("ArgMax: %g, want %g", x[i], largest)
	}
	copy(dst, x)
	if n > 2 {
		dst[n/2] = float32(math.Inf(-1))
	}
	var sum float64
	for _, e := range dst[:n] {
		sum += math.Exp(float64(e) - largest)
	}
	before := append([]float32(nil), dst[:n]...)
	o.Softmax(dst[:n])
	for i, e := range before {
		want := math.Exp(float64(e)-largest) / sum
		if math.Abs(float64(dst[i])-want) > 1e-5*want+1e-7 {
			t.Fatalf("Softmax of %g: %g, want %g", e, dst[i], want)
		}
	}
	if n > 2 && largest != float64(x[n/2]) && dst[n/2] != 0 {
		t.Fatalf("Softmax: -Inf became %g", dst[n/2])
	}
	if dst[n] != 5 {
		t.Fatal("written past the end")
	}
}

// TestGELU holds it against the definition.
func TestGELU(t *testing.T) {
	var x []float32
	for e := float32(-14); e < 14; e += 0.013 {
		x = append(x, e)
	}
	x = append(x, 0, -1e-20, 1e-20, -100, 100, -1e4, 1e4, -1e15, 1e15)
	for _, o := range sets() {
		got := append(make([]float32, 0, len(x)+32), x...)
		o.GELU(got)
		for i, e := range x {
			want := float64(e) * math.Erfc(-float64(e)/math.Sqrt2) / 2
			if !(math.Abs(float64(got[i])-want) <= 4e-7*math.Max(1, math.Abs(want))) {
				t.Fatalf("%s: GELU of %g is %g, want %g", o, e, got[i], want)
			}
		}
		nan := make([]float32, 17)
		nan[3], nan[16] = float32(math.NaN()), float32(math.NaN())
		if o.GELU(nan); nan[3] == nan[3] || nan[16] == nan[16] || nan[4] != 0 {
			t.Fatalf("%s: NaN was lost: %v", o, nan)
		}
	}
}

func TestExp(t *testing.T) {
	for _, o := range sets() {
		var x []float32
		for e := float32(-110); e < 3; e += 0.37 {
			x = append(x, e)
		}
		got := append([]float32(nil), x...)
		o.ExpSum(got, 1)
		for i, e := range x {
			if want := math.Exp(float64(e - 1)); math.Abs(float64(got[i])-want) > 3e-7*want+2e-45 {
				t.Fatalf("%s: exp(%g) = %g, want %g", o, e-1, got[i], want)
			}
		}
		nan := make([]float32, 16)
		nan[3] = float32(math.NaN())
		if s := o.ExpSum(nan, 0); s == s {
			t.Fatalf("%s: NaN was lost", o)
		}
	}
}

func TestArgMax(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(-1))
	long := make([]float32, 50)
	long[20], long[40] = 3, 3
	tail := make([]float32, 35)
	tail[34] = 1
	mixed := []float32{nan, 2: nan, 20: -5, 31: nan, 33: nan}
	for i := range mixed {
		if mixed[i] == 0 {
			mixed[i] = -9
		}
	}
	none := make([]float32, 40)
	for i := range none {
		none[i] = nan
	}
	for _, o := range sets() {
		for _, c := range []struct {
			x    []float32
			want int
		}{{nil, -1}, {long, 20}, {tail, 34}, {mixed, 20}, {none, 0}, {[]float32{inf, inf}, 0}} {
			if got := o.ArgMax(c.x); got != c.want {
				t.Errorf("%s: ArgMax(%v) = %d, want %d", o, c.x, got, c.want)
			}
		}
	}
}
