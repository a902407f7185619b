package quantize_test

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"serval/engine/gguf/kernel"
	"serval/llm/gguf"
	"serval/llm/quantize"
)

// random are weights as models have them: normal, with some far out.
func random(n int, seed uint64) []float32 {
	r := rand.New(rand.NewPCG(seed, 1))
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(0.02 * r.NormFloat64())
		if r.IntN(100) == 0 {
			x[i] *= 4
		}
	}
	return x
}

func encoded(t testing.TB, kind gguf.Type, x []float32) []byte {
	t.Helper()
	elements, size := kind.Block()
	out := make([]byte, int64(len(x))/elements*size)
	if err := quantize.Encode(kind, out, x); err != nil {
		t.Fatalf("%s: %v", kind, err)
	}
	return out
}

func decoded(kind gguf.Type, b []byte, n int) []float32 {
	y := make([]float32, n)
	kernel.Dequantize(kind)(y, b)
	return y
}

// apart is the root of the mean square error, as a part of the weights' own.
func apart(x, y []float32) float64 {
	var off, all float64
	for i := range x {
		d := float64(x[i]) - float64(y[i])
		off, all = off+d*d, all+float64(x[i])*float64(x[i])
	}
	return math.Sqrt(off / all)
}

// What is encoded and decoded again is as near as the type allows: each bound is a little above what is reached, and the next type's is
// not reached by chance.
func TestError(t *testing.T) {
	x := random(256*200, 3)
	for kind, most := range map[gguf.Type]float64{
		gguf.F32: 0, gguf.F16: 0.0003, gguf.BF16: 0.002, gguf.Q8_0: 0.0072, gguf.Q6K: 0.021, gguf.Q5_1: 0.042, gguf.Q5K: 0.041,
		gguf.Q5_0: 0.052, gguf.Q4_1: 0.086, gguf.Q4K: 0.082, gguf.Q4_0: 0.106,
	} {
		got := apart(x, decoded(kind, encoded(t, kind, x), len(x)))
		t.Logf("%s: %.5f", kind, got)
		if got > most || most > 0 && got < most/2 {
			t.Errorf("%s is %.5f off, want at most %.5f and not half of it", kind, got, most)
		}
	}
}

// Weights that a type has exactly come back exactly, at any size of the scale that f16 holds, and zeros stay zeros.
func TestExact(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	for _, kind := range []gguf.Type{gguf.Q4_0, gguf.Q4_1, gguf.Q5_0, gguf.Q5_1, gguf.Q8_0, gguf.Q4K, gguf.Q5K, gguf.Q6K} {
		zero := decoded(kind, encoded(t, kind, make([]float32, 256)), 256)
		for i, v := range zero {
			if v != 0 {
				t.Fatalf("%s: a zero became %g at %d", kind, v, i)
			}
		}
		for _, scale := range []float32{1.0 / 64, 1, 512} {
			levels := map[gguf.Type]int{gguf.Q4_0: 16, gguf.Q4_1: 16, gguf.Q5_0: 32, gguf.Q5_1: 32, gguf.Q8_0: 255, gguf.Q4K: 16, gguf.Q5K: 32, gguf.Q6K: 64}[kind]
			x := make([]float32, 256)
			for i := range x {
				q := r.IntN(levels)
				if i%16 == 0 { // the whole range is used in each group
					q = 0
				} else if i%16 == 1 {
					q = levels - 1
				}
				x[i] = scale * float32(q-levels/2)
			}
			if off := apart(x, decoded(kind, encoded(t, kind, x), len(x))); off > 0.001 { // of Q4_K the scales are multiples of a rounded one
				t.Errorf("%s, scale %g: %.5f off", kind, scale, off)
			}
		}
	}
}

// The bits of blocks, which every machine must write.
func TestGolden(t *testing.T) {
	x := random(256, 11)
	for kind, want := range golden {
		b := encoded(t, kind, x)
		if n := min(len(b), 48); hex.EncodeToString(b[:n]) != want {
			t.Errorf("%s: %x, want %s", kind, b[:n], want)
		}
	}
}

// weighed is the error that the encoder means to make small; see weigh.go.
func weighed(x []float32, y func(i int) float64, square bool) float64 {
	mean := 0.0
	for _, v := range x {
		mean += float64(v) * float64(v) / float64(len(x))
	}
	sum := 0.0
	for i, v := range x {
		w := math.Abs(float64(v)) + math.Sqrt(mean)
		if square {
			w = float64(v)*float64(v) + mean
		}
		d := float64(v) - y(i)
		sum += w * d * d
	}
	return sum
}

// halves are the finite f16 from a number to another.
func halves(from, to float64) []float64 {
	var list []float64
	one := kernel.Dequantize(gguf.F16)
	for h := range 1 << 16 {
		v := make([]float32, 1)
		one(v, binary.LittleEndian.AppendUint16(nil, uint16(h)))
		if f := float64(v[0]); f >= from && f <= to {
			list = append(list, f)
		}
	}
	return list
}

// No scale that a block can have is much better than the one that was found: all of them are tried.
func TestScaleIsBest(t *testing.T) {
	for kind, middle := range map[gguf.Type]float64{gguf.Q4_0: 8, gguf.Q5_0: 16} {
		all := halves(-0.05, 0.05)
		for seed := range uint64(6) {
			x := random(32, 100+seed)
			least := math.Inf(1)
			for _, d := range all {
				if d == 0 {
					continue
				}
				e := weighed(x, func(i int) float64 { return d * min(max(math.RoundToEven(float64(x[i])/d), -middle), middle-1) }, true)
				least = min(least, e)
			}
			y := decoded(kind, encoded(t, kind, x), 32)
			if mine := weighed(x, func(i int) float64 { return float64(y[i]) }, true); mine > 1.1*least {
				t.Errorf("%s, block %d: error %.3g, the best is %.3g", kind, seed, mine, least)
			}
		}
	}
}

// The same of types with a minimum, over a grid that is a hundred times finer than a step.
func TestLineIsBest(t *testing.T) {
	for seed := range uint64(6) {
		x := random(32, 200+seed)
		low, high := float64(x[0]), float64(x[0])
		for _, v := range x {
			low, high = min(low, float64(v)), max(high, float64(v))
		}
		step, least := (high-low)/15, math.Inf(1)
		for d := 0.6 * step; d < 1.1*step; d += step / 200 {
			for m := low - step/2; m < low+3*step; m += step / 20 {
				e := weighed(x, func(i int) float64 { return m + d*min(max(math.RoundToEven((float64(x[i])-m)/d), 0), 15) }, false)
				least = min(least, e)
			}
		}
		y := decoded(gguf.Q4_1, encoded(t, gguf.Q4_1, x), 32)
		if mine := weighed(x, func(i int) float64 { return float64(y[i]) }, false); mine > 1.15*least {
			t.Errorf("block %d: error %.3g, the best of the grid is %.3g", seed, mine, least)
		}
	}
}

func TestBadWeights(t *testing.T) {
	for _, kind := range []gguf.Type{gguf.F32, gguf.F16, gguf.BF16, gguf.Q8_0, gguf.Q4_0, gguf.Q4_1, gguf.Q4K, gguf.Q6K} {
		for what, bad := range map[string]float32{"NaN": float32(math.NaN()), "+Inf": float32(math.Inf(1)), "-Inf": float32(math.Inf(-1)), "70000": 70000} {
			x := random(256, 1)
			x[77] = bad
			err := quantize.Encode(kind, make([]byte, 1024)[:func() int { e, s := kind.Block(); return 256 / int(e) * int(s) }()], x)
			if what == "70000" && (kind == gguf.F32 || kind == gguf.BF16) {
				if err != nil {
					t.Errorf("%s: %v", kind, err)
				}
				continue
			}
			var b *quantize.BadWeight
			if !errors.As(err, &b) || b.At != 77 || !strings.Contains(err.Error(), "is "+what) {
				t.Errorf("%s of %s: %v", kind, what, err)
			}
		}
	}
	for what, err := range map[string]error{
		"no whole blocks":     quantize.Encode(gguf.Q4K, make([]byte, 144), make([]float32, 255)),
		"too little room":     quantize.Encode(gguf.Q4K, make([]byte, 143), make([]float32, 256)),
		"an unknown type":     quantize.Encode(999, nil, make([]float32, 256)),
		"one that is decoded": quantize.Encode(gguf.IQ4NL, make([]byte, 18), make([]float32, 32)),
	} {
		if err == nil {
			t.Errorf("%s is no error", what)
		}
	}
}

// FuzzEncode makes sure that no finite weights make a block of other than finite numbers, nor numbers that are far off.
func FuzzEncode(f *testing.F) {
	f.Add([]byte{1, 2, 3, 4, 0, 0, 0x80, 0x3f}, uint8(0))
	f.Add([]byte{0, 0, 0, 0, 1, 0, 0, 0}, uint8(3))
	kinds := []gguf.Type{gguf.F16, gguf.BF16, gguf.Q4_0, gguf.Q4_1, gguf.Q5_0, gguf.Q5_1, gguf.Q8_0, gguf.Q4K, gguf.Q5K, gguf.Q6K}
	f.Fuzz(func(t *testing.T, raw []byte, which uint8) {
		kind := kinds[int(which)%len(kinds)]
		x := make([]float32, 256)
		most := 0.0
		for i := range x {
			if len(raw) < 4 {
				break
			}
			x[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i%(len(raw)-3):]))
			if !(math.Abs(float64(x[i])) <= 65504) {
				return
			}
			most = max(most, math.Abs(float64(x[i])))
		}
		for i, y := range decoded(kind, encoded(t, kind, x), len(x)) {
			if off := math.Abs(float64(y) - float64(x[i])); !(off <= 0.2*most+1e-4) {
				t.Fatalf("%s: %g became %g among weights up to %g", kind, x[i], y, most)
			}
		}
	})
}

func BenchmarkEncode(b *testing.B) {
	x := random(1<<16, 1)
	for _, kind := range []gguf.Type{gguf.F16, gguf.Q8_0, gguf.Q4_0, gguf.Q4_1, gguf.Q4K, gguf.Q6K} {
		b.Run(kind.String(), func(b *testing.B) {
			b.SetBytes(4 * int64(len(x)))
			for b.Loop() {
				encoded(b, kind, x)
			}
		})
	}
}
