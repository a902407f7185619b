package kernel

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"serval/llm/gguf"
)

// sets are the instruction sets of this machine: the best and all that it is more than.
func sets() []Ops {
	list := []Ops{Portable()}
	for isa := avx2; isa <= Best().isa; isa++ {
		if isa != avxVNNI || hasVNNI() {
			list = append(list, Ops{isa})
		}
	}
	return list
}

// tensor is random weights as a GGUF file has them, and what they mean.
func tensor(rng *rand.Rand, t gguf.Type, rows, cols int) (data []byte, weights []float64) {
	put := func(bits uint16) { data = binary.LittleEndian.AppendUint16(data, bits) }
	scale := func() (uint16, float64) {
		h := narrow(float32(rng.NormFloat64() * 0.02))
		return h, float64(Widen(h))
	}
	if k, ok := kTypes[t]; ok {
		return k.tensor(rng, rows*cols/256)
	}
	var n = rows * cols / 32
	for range n {
		at := len(weights)
		weights = append(weights, make([]float64, 32)...)
		switch t {
		case gguf.Q4_0, gguf.Q4_1:
			h, d := scale()
			put(h)
			low := -8 * d
			if t == gguf.Q4_1 {
				h, low = scale()
				put(h)
			}
			for i := range 16 {
				b := byte(rng.Uint32())
				data = append(data, b)
				weights[at+i], weights[at+16+i] = d*float64(b&15)+low, d*float64(b>>4)+low
			}
		case gguf.Q5_0, gguf.Q5_1:
			h, d := scale()
			put(h)
			low := -16 * d
			if t == gguf.Q5_1 {
				h, low = scale()
				put(h)
			}
			high := rng.Uint32()
			data = binary.LittleEndian.AppendUint32(data, high)
			for i := range 16 {
				b := byte(rng.Uint32())
				data = append(data, b)
				weights[at+i] = d*float64(b&15+byte(high>>i&1)*16) + low
				weights[at+16+i] = d*float64(b>>4+byte(high>>(16+i)&1)*16) + low
			}
		case gguf.Q8_0:
			h, d := scale()
			put(h)
			for i := range 32 {
				b := byte(rng.Uint32())
				data = append(data, b)
				weights[at+i] = d * float64(int8(b))
			}
		case gguf.F32:
			for i := range 32 {
				f := float32(rng.NormFloat64())
				data, weights[at+i] = binary.LittleEndian.AppendUint32(data, math.Float32bits(f)), float64(f)
			}
		case gguf.F16:
			for i := range 32 {
				h := narrow(float32(rng.NormFloat64()))
				put(h)
				weights[at+i] = float64(Widen(h))
			}
		case gguf.BF16:
			for i := range 32 {
				h := uint16(math.Float32bits(float32(rng.NormFloat64())) >> 16)
				put(h)
				weights[at+i] = float64(math.Float32frombits(uint32(h) << 16))
			}
		}
	}
	return data, weights
}

func floats(rng *rand.Rand, n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(rng.NormFloat64())
	}
	return x
}

// dequantized is what the activations of one token stand for: scale × int8.
func dequantized(x []float32) []float64 {
	out := make([]float64, len(x))
	var to [record]byte
	for b := 0; b < len(x); b += block {
		quantizeBlock(x[b:b+block], to[:])
		d := math.Float32frombits(binary.LittleEndian.Uint32(to[block:]))
		for i, e := range to[:block] {
			out[b+i] = float64(int8(e)) * float64(d)
		}
	}
	return out
}

// TestMul holds every instruction set against float64 over the dequantised weights and activations; and one token in any
// company against the same token alone, bit for bit.
func TestMul(t *testing.T) {
	for _, typ := range []gguf.Type{gguf.Q4_0, gguf.Q4_1, gguf.Q8_0, gguf.Q5_0, gguf.Q5_1, gguf.Q4K, gguf.Q5K, gguf.Q6K, gguf.F16, gguf.F32, gguf.BF16} {
		shapes := [][2]int{{16, 32}, {1, 32}, {17, 96}, {33, 160}, {72, 576}}
		if elements, _ := typ.Block(); elements == 256 {
			shapes = [][2]int{{16, 256}, {1, 256}, {33, 768}}
		}
		for _, shape := range shapes {
			for _, o := range sets() {
				t.Run(fmt.Sprint(typ, shape, o), func(t *testing.T) { testMul(t, o, typ, shape[0], shape[1]) })
			}
		}
	}
}

// Row sets dst, of Cols elements, to the dequantised weights of one row, as they are packed.
func (m *Matrix) Row(dst []float32, row int) {
	var p piece
	blocks := m.Cols / block
	size := m.form.tile(blocks)
	tile := m.data[row/16*size:][:size]
	if m.form.float() {
		for c := range dst[:m.Cols] {
			dst[c] = m.form.number(tile[(c*16+row%16)*formats[m.form].bits/8:])
		}
		return
	}
	for b := range blocks {
		p.read(m.form, tile, b, row%16)
		p.floats(dst[b*block:][:block])
	}
}

func testMul(t *testing.T, o Ops, typ gguf.Type, rows, cols int) {
	rng := rand.New(rand.NewPCG(1, uint64(rows)))
	data, weights := tensor(rng, typ, rows, cols)
	m, err := Pack(o, typ, rows, cols, data)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	row, direct := make([]float32, cols), make([]float32, cols)
	for r := range rows {
		m.Row(row, r)
		Dequantize(typ)(direct, data[r*len(data)/rows:(r+1)*len(data)/rows])
		for c, e := range direct {
			if math.Abs(float64(e)-weights[r*cols+c]) > 1e-6*math.Abs(weights[r*cols+c])+1e-9 {
				t.Fatalf("row %d column %d: %g from the file, want %g", r, c, e, weights[r*cols+c])
			}
		}
		for c, e := range row {
			limit := 1e-8 + 1e-7*math.Abs(weights[r*cols+c]) // of the type itself
			if math.Abs(float64(e)-weights[r*cols+c]) > limit {
				t.Fatalf("row %d column %d: %g, want %g", r, c, e, weights[r*cols+c])
			}
			weights[r*cols+c] = float64(e)
		}
	}
	ld := rows + 3
	alone := make([][]float32, 40)
	x := floats(rng, 40*cols)
	clear(x[cols/2 : cols]) // zero blocks have a scale of zero
	acts := NewActs(o)
	for n := range alone {
		alone[n] = make([]float32, rows)
		acts.Quantize(x[n*cols:(n+1)*cols], 1, cols)
		m.Mul(alone[n], rows, acts, 0, m.Tiles())
		in, part := dequantized(x[n*cols:(n+1)*cols]), 1e-3
		if m.form.float() {
			part = 1e-5
			for i := range in {
				in[i] = float64(x[n*cols+i])
			}
		}
		for r, got := range alone[n] {
			var want, size float64
			for c, a := range in {
				want += a * weights[r*cols+c]
				size += math.Abs(a * weights[r*cols+c])
			}
			// 1e-3: Q4_1's scale × sum is rounded to f16, as llama.cpp has it.
			if limit := size*part + 1e-6; math.Abs(float64(got)-want) > limit {
				t.Fatalf("token %d row %d: %g, want %g ± %g", n, r, got, want, limit)
			}
		}
	}
	for tokens := 1; tokens <= 40; tokens++ {
		if o == Portable() && tokens > 2 && tokens%16 != 1 { // it is slow, and has no kernels by number of tokens
			continue
		}
		acts.Resize(tokens, cols)
		acts.Fill(x, tokens/2, tokens)
		acts.Fill(x, 0, tokens/2)
		y := make([]float32, tokens*ld)
		for i := range y {
			y[i] = -77
		}
		split := m.Tiles() / 2
		m.Mul(y, ld, acts, split, m.Tiles())
		m.Mul(y, ld, acts, 0, split)
		for n := range tokens {
			for r := range ld {
				switch got := y[n*ld+r]; {
				case r >= rows && got != -77:
					t.Fatalf("%d tokens: token %d: written past the last row", tokens, n)
				case r < rows && got != alone[n][r]:
					t.Fatalf("%d tokens: token %d row %d: %g, alone %g", tokens, n, r, got, alone[n][r])
				}
			}
		}
	}
}
