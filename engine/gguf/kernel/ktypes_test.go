package kernel

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"serval/llm/gguf"
)

// kTypes are ggml's types of 256 columns by their definition in ggml-quants.c, written anew from that: a loop over the block in the
// order in which it stands.
var kTypes = map[gguf.Type]kType{
	gguf.Q4K: {144, []int{0, 2}, func(b []byte, put func(float64)) {
		for j := range 4 {
			for half := range 2 {
				d, m := sixBits(b, 2*j+half)
				for _, q := range b[16+32*j : 48+32*j] {
					put(d*float64(q>>(4*half)&15) - m)
				}
			}
		}
	}},
	gguf.Q5K: {176, []int{0, 2}, func(b []byte, put func(float64)) {
		for j := range 4 {
			for half := range 2 {
				d, m := sixBits(b, 2*j+half)
				for l, q := range b[48+32*j : 80+32*j] {
					n := q >> (4 * half) & 15
					if b[16+l]&(1<<(2*j+half)) != 0 {
						n += 16
					}
					put(d*float64(n) - m)
				}
			}
		}
	}},
	gguf.Q6K: {210, []int{208}, func(b []byte, put func(float64)) {
		d := float64(Widen(binary.LittleEndian.Uint16(b[208:])))
		for n := range 2 {
			low, high, sc := b[64*n:], b[128+32*n:], b[192+8*n:]
			for quarter := range 4 {
				for l := range 32 {
					q := low[l+quarter%2*32] >> (quarter / 2 * 4) & 15
					q |= high[l] >> (2 * quarter) & 3 << 4
					put(d * float64(int8(sc[l/16+2*quarter])) * (float64(q) - 32))
				}
			}
		}
	}},
}

type kType struct {
	size    int
	factors []int // where f16 numbers stand
	values  func(block []byte, put func(float64))
}

// sixBits is the scale and the minimum number i of a block, times their factors: get_scale_min_k4.
func sixBits(b []byte, i int) (d, m float64) {
	q := b[4:16]
	sc, mn := q[i%4]&63, q[i%4+4]&63
	if i >= 4 {
		sc = q[i+4]&0xf | q[i-4]>>6<<4
		mn = q[i+4]>>4 | q[i]>>6<<4
	}
	return float64(Widen(binary.LittleEndian.Uint16(b))) * float64(sc), float64(Widen(binary.LittleEndian.Uint16(b[2:]))) * float64(mn)
}

func (k kType) tensor(rng *rand.Rand, blocks int) (data []byte, weights []float64) {
	for range blocks {
		b := make([]byte, k.size)
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		for _, at := range k.factors {
			binary.LittleEndian.PutUint16(b[at:], narrow(float32(rng.NormFloat64()*0.001)))
		}
		data = append(data, b...)
		k.values(b, func(w float64) { weights = append(weights, w) })
	}
	return data, weights
}

// TestSame holds the instruction sets to each other, bit for bit: every type, whole and part tiles, all sizes of lane groups.
func TestSame(t *testing.T) {
	for _, typ := range []gguf.Type{gguf.Q4_0, gguf.Q4_1, gguf.Q5_0, gguf.Q5_1, gguf.Q8_0, gguf.Q4K, gguf.Q5K, gguf.Q6K, gguf.F16, gguf.BF16, gguf.F32} {
		const rows, cols = 21, 256
		rng := rand.New(rand.NewPCG(5, uint64(typ)))
		data, _ := tensor(rng, typ, rows, cols)
		x := floats(rng, Lanes*cols)
		want := make([][]float32, Lanes+1)
		for _, o := range sets() {
			m, err := Pack(o, typ, rows, cols, data)
			if err != nil {
				t.Fatal(err)
			}
			acts := NewActs(o)
			for tokens := 1; tokens <= Lanes; tokens++ {
				y := make([]float32, tokens*rows)
				acts.Quantize(x, tokens, cols)
				m.Mul(y, rows, acts, 0, m.Tiles())
				if want[tokens] == nil {
					want[tokens] = y
				} else if !equalBits(y, want[tokens]) {
					t.Fatalf("%s, %d tokens: %s has other results than plain Go", typ, tokens, o)
				}
			}
			if err := m.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func equalBits(a, b []float32) bool {
	return slices.EqualFunc(a, b, func(a, b float32) bool { return math.Float32bits(a) == math.Float32bits(b) })
}
