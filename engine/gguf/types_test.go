package gguf

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"testing"

	"serval"
	"serval/llm/gguf"
)

// factors are the f16 numbers in a block of a type: where they stand, and their size as a part of a weight's spread.
var factors = map[gguf.Type]map[int]float64{
	gguf.Q5_0: {0: 1.0 / 8},
	gguf.Q5_1: {0: 1.0 / 8, 2: -31.0 / 16},
	gguf.Q4K:  {0: 1.0 / 4 / 32, 2: 15.0 / 8 / 32},
	gguf.Q5K:  {0: 1.0 / 8 / 32, 2: 31.0 / 16 / 32},
	gguf.Q6K:  {208: 1.0 / 16 / 74},
	gguf.F16:  {},
	gguf.BF16: {},
	gguf.F32:  {},
}

// sane gives the blocks of a file of random bytes factors that make weights of about 1/sqrt(columns).
func sane(t *testing.T, raw []byte, kind gguf.Type) []byte {
	f, err := gguf.Open(written(t, raw) + "/model.gguf")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r := rand.New(rand.NewPCG(9, uint64(kind)))
	for i := range f.Tensors {
		tensor := &f.Tensors[i]
		if tensor.Type != kind {
			continue
		}
		_, size := kind.Block()
		for at := tensor.Offset; at < tensor.Offset+tensor.Size; at += size {
			spread := (0.5 + r.Float64()) / math.Sqrt(float64(tensor.Shape[0]))
			if kind == gguf.BF16 {
				binary.LittleEndian.PutUint16(raw[at:], uint16(math.Float32bits(float32(spread*r.NormFloat64()))>>16))
			}
			for where, part := range factors[kind] {
				binary.LittleEndian.PutUint16(raw[at+int64(where):], half(spread*part))
			}
		}
	}
	return bytes.Clone(raw)
}

// half is the f16 of a number, cut off.
func half(v float64) uint16 {
	if v > 0 && v < 1.0/(1<<14) {
		return uint16(v * (1 << 24))
	}
	bits := math.Float32bits(float32(v))
	return uint16(bits>>16&0x8000 | (bits>>23&0xff-112)<<10 | bits>>13&0x3ff)
}

// Models of every type give llama.cpp's numbers, and the exact ones.
func TestTypes(t *testing.T) {
	for kind := range factors {
		t.Run(kind.String(), func(t *testing.T) {
			y := tiny{kind: kind, heads: 4, kvHeads: 2, head: 64, inner: 512, layer: 2, untied: true}
			dir, settings := written(t, sane(t, y.write(), kind)), serval.TextSettings{Context: 256, Slots: 2, Cache: 512}
			in := greedy(someTokens(100, 1), 0)
			in.PromptLogprobs = tinyVocab
			mine, other := ask(in), ask(in)
			d := ours(t, dir, settings)
			run(t, d, mine)
			run(t, theirs(t, dir, settings, 1), other)
			want := (&exact{d.shape, d.f, t}).logits(in.Tokens)
			n, apart, off, theirOff, sum, squares := 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
			for i := 1; i < len(in.Tokens); i++ {
				theirs := make([]float32, tinyVocab)
				for _, o := range other.prompt[i].Top {
					theirs[o.ID] = o.Logprob
				}
				for _, o := range mine.prompt[i].Top {
					x := logprob(want[i-1], o.ID)
					apart += math.Abs(float64(o.Logprob - theirs[o.ID]))
					off += math.Abs(float64(o.Logprob) - x)
					theirOff += math.Abs(float64(theirs[o.ID]) - x)
					sum, squares = sum+x, squares+x*x
					n++
				}
			}
			spread := math.Sqrt(squares/n - sum/n*sum/n)
			t.Logf("%.5f apart in the mean; %.5f from the exact, llama.cpp %.5f; they spread by %.2f", apart/n, off/n, theirOff/n, spread)
			if kind == gguf.F16 || kind == gguf.BF16 || kind == gguf.F32 { // which are not rounded, nor their activations
				if !(off < 0.001*spread*n && off < 1.2*theirOff) {
					t.Error("that is too much")
				}
			} else if !(off < 0.05*spread*n && off < 1.2*theirOff && apart < 0.08*spread*n) {
				t.Error("that is too much")
			}
		})
	}
}
