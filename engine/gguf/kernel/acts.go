package kernel

import (
	"encoding/binary"
	"math"
	"unsafe"
)

const (
	// Lanes is the most tokens that share one pass over the weights.
	Lanes = 16
	// block is how many columns share a scale: ggml's block of the types packed here.
	block = 32
	// record is what one token's block of activations takes: 32 int8, then the scale, scale × sum, the sum times -8 and times
	// -128 (where the accumulators of Q4_0 and Q8_0 start, whose stored weights are 8 and 128 too large), and the sum of the first 16
	// times -128 (for scales that cover 16 columns). It is a line of the cache, so that two threads that fill neighbouring tokens
	// do not write to the same one, which made them six times as slow.
	record = 64
)

// Acts are the activations of some tokens, rounded to int8 per 32 columns for quantised matrices, as they are for matrices of floats,
// or both. Buffers grow and are kept. One goroutine resizes; several may then Fill apart tokens; Mul only reads.
type Acts struct {
	ops          Ops
	ints, floats bool // which of both are kept
	tokens, cols int
	blocks       int    // of 32 columns in a row
	data         []byte // integers, lane group after lane group, block after block
	whole        []byte // floats, lane group after lane group, column after column its tokens' side by side
}

// NewActs makes empty activations for an instruction set and matrices of every type. [Arena.Acts] makes those for some matrices.
func NewActs(o Ops) *Acts { return &Acts{ops: o, ints: true, floats: true} }

// Tokens is how many tokens the activations hold.
func (a *Acts) Tokens() int { return a.tokens }

// Resize makes room for so many tokens of cols columns, a multiple of 32, whose content is undefined until filled.
func (a *Acts) Resize(tokens, cols int) {
	a.tokens, a.cols, a.blocks = tokens, cols, cols/block
	if a.ints {
		a.data = grown(a.data, tokens*a.blocks*record)
	}
	if a.floats {
		a.whole = grown(a.whole, tokens*cols*4)
	}
}

// grown is p or, where that has no room, new memory that begins with a line of the cache.
func grown(p []byte, need int) []byte {
	if cap(p) < need {
		p = make([]byte, need+need/4+record)
		p = p[-uintptr(unsafe.Pointer(&p[0]))%record:]
	}
	return p[:cap(p)]
}

// check panics, before assembly reads them, unless the activations are there: that is a programming error.
func (a *Acts) check(floats bool) {
	if floats {
		_ = a.whole[a.tokens*a.cols*4-1]
	} else {
		_ = a.data[a.tokens*a.blocks*record-1]
	}
}

// group is what the lane group beginning at a token has, and what is behind it.
func (a *Acts) group(start int, floats bool) []byte {
	if floats {
		return a.whole[start*a.cols*4:]
	}
	return a.data[start*a.blocks*record:]
}

// Quantize takes the rows x[t*cols:(t+1)*cols] of all tokens.
func (a *Acts) Quantize(x []float32, tokens, cols int) {
	a.Resize(tokens, cols)
	a.Fill(x, 0, tokens)
}

// Fill takes the rows of the tokens [from, to) out of x, which holds the rows of all tokens, as Resize said.
func (a *Acts) Fill(x []float32, from, to int) {
	for t := from; t < to; t++ {
		a.FillRow(x[t*a.cols:(t+1)*a.cols], t)
	}
}

// FillRow takes one token's row.
func (a *Acts) FillRow(x []float32, token int) {
	if a.blocks == 0 {
		return
	}
	start, lanes := group(a.tokens, token)
	a.fillRow(x[:a.cols], start, lanes, token-start, true)
}

// fillRow takes the row of a lane of the group that begins at a token.
func (a *Acts) fillRow(x []float32, start, lanes, lane int, floats bool) {
	if a.floats && floats {
		p := a.whole[start*a.cols*4:][:lanes*a.cols*4]
		for c, e := range x {
			binary.LittleEndian.PutUint32(p[4*(c*lanes+lane):], math.Float32bits(e))
		}
	}
	if !a.ints {
		return
	}
	p := a.data[start*a.blocks*record : (start+lanes)*a.blocks*record]
	if a.ops.isa != portable {
		a.ops.quantize(&x[0], a.blocks, &p[lane*record], lanes)
		return
	}
	for b := range a.blocks {
		quantizeBlock(x[b*block:][:block], p[(b*lanes+lane)*record:][:record])
	}
}

// Groups is how many lane groups the tokens make.
func (a *Acts) Groups() int { return groups(a.tokens) }

// Group is the first token of the i-th lane group, and how many it has.
func (a *Acts) Group(i int) (from, n int) {
	small, large := a.tokens/groups(a.tokens), a.tokens%groups(a.tokens)
	return i*small + min(i, large), small + min(max(large-i, 0), 1)
}

// FillGroup takes the rows of a lane group, which stand one behind the other. Where there is memory for [Lanes] rows, what is behind
// the group's own may be read, and it goes some times faster than row by row.
func (a *Acts) FillGroup(rows []float32, i int) {
	from, n := a.Group(i)
	together := a.floats && a.ops.isa == avx512 && len(rows) >= Lanes*a.cols && a.blocks > 0
	if together {
		p := a.whole[from*a.cols*4:][:n*a.cols*4]
		a.ops.transpose((*float32)(unsafe.Pointer(&p[0])), n, &rows[0], a.cols, a.cols)
	}
	if together && !a.ints {
		return
	}
	for t := range n {
		a.fillRow(rows[t*a.cols:(t+1)*a.cols], from, n, t, !together)
	}
}

// quantizeBlock does what quantize_row_q8_0 and quantize_row_q8_1 of llama.cpp do: the scale that multiplies is rounded to
// f16, the one that divides is not.
func quantizeBlock(x []float32, to []byte) {
	var most float32
	for _, e := range x {
		most = max(most, float32(math.Abs(float64(e))))
	}
	d, inverse := most/127, float32(0)
	if most != 0 {
		inverse = 127 / most
	}
	var sum, first int32
	for i, e := range x {
		n := int8(math.RoundToEven(float64(e * inverse)))
		to[i] = byte(n)
		sum += int32(n)
		if i == len(x)/2-1 {
			first = sum
		}
	}
	put := func(i int, bits uint32) { binary.LittleEndian.PutUint32(to[block+i*4:], bits) }
	put(0, math.Float32bits(Widen(narrow(d))))
	put(1, math.Float32bits(Widen(narrow(d*float32(sum)))))
	put(2, uint32(-8*sum))
	put(3, uint32(-128*sum))
	put(4, uint32(-128*first))
}

// groups is how many lane groups the tokens make: as few as possible, of sizes that differ by at most one.
func groups(tokens int) int { return (tokens + Lanes - 1) / Lanes }

// group is the first token of the lane group that a token is in, and the group's size.
func group(tokens, token int) (start, lanes int) {
	n := groups(tokens)
	small, large := tokens/n, tokens%n // the first `large` groups have one token more
	if g := token / (small + 1); g < large {
		return g * (small + 1), small + 1
	}
	past := token - large*(small+1)
	return large*(small+1) + past/small*small, small
}
