package quantize

import (
	"encoding/binary"
	"fmt"
	"math"

	"serval/llm/gguf"
)

// types are what weights can be encoded as, from most bits to fewest.
var types = [...]gguf.Type{gguf.F32, gguf.F16, gguf.BF16, gguf.Q8_0, gguf.Q6K, gguf.Q5_1, gguf.Q5K, gguf.Q5_0, gguf.Q4_1, gguf.Q4K, gguf.Q4_0}

// coder is how a block is encoded: src has the block's elements, dst its bytes, which are zero.
func coder(t gguf.Type) func(dst []byte, src []float64) {
	switch t {
	case gguf.Q4_0:
		return func(dst []byte, src []float64) { symmetric(dst, src, 4) }
	case gguf.Q5_0:
		return func(dst []byte, src []float64) { symmetric(dst, src, 5) }
	case gguf.Q4_1:
		return func(dst []byte, src []float64) { shifted(dst, src, 4) }
	case gguf.Q5_1:
		return func(dst []byte, src []float64) { shifted(dst, src, 5) }
	case gguf.Q8_0:
		return bytewise
	case gguf.Q4K:
		return func(dst []byte, src []float64) { superLines(dst, src, 4) }
	case gguf.Q5K:
		return func(dst []byte, src []float64) { superLines(dst, src, 5) }
	case gguf.Q6K:
		return superScales
	}
	return nil
}

// Encode writes a row of weights as blocks of type t into dst, which has the bytes that t takes for len(src) elements. It is an
// error if t is none of those that can be written or the row is no multiple of its block; a *BadWeight if a weight is not finite
// or larger than t can hold.
func Encode(t gguf.Type, dst []byte, src []float32) error {
	elements, size := t.Block()
	if elements == 0 || len(src)%int(elements) != 0 || len(dst) != len(src)/int(elements)*int(size) {
		return fmt.Errorf("%d weights do not make whole blocks of %s in %d bytes", len(src), t, len(dst))
	}
	if err := check(t, src); err != nil {
		return err
	}
	switch t {
	case gguf.F32:
		for i, x := range src {
			binary.LittleEndian.PutUint32(dst[4*i:], math.Float32bits(x))
		}
		return nil
	case gguf.F16:
		for i, x := range src {
			putHalf(dst[2*i:], float64(x))
		}
		return nil
	case gguf.BF16:
		for i, x := range src {
			binary.LittleEndian.PutUint16(dst[2*i:], toBrain(x))
		}
		return nil
	}
	code := coder(t)
	if code == nil {
		return fmt.Errorf("weights cannot be written as %s", t)
	}
	var block [256]float64
	clear(dst)
	for ; len(src) > 0; src, dst = src[elements:], dst[size:] {
		for i, x := range src[:elements] {
			block[i] = float64(x)
		}
		code(dst[:size], block[:elements])
	}
	return nil
}

// BadWeight is a weight that cannot be written.
type BadWeight struct {
	At   int // in the row
	X    float32
	Type gguf.Type
	Most float32 // that the type holds
}

func (b *BadWeight) Error() string {
	if b.X-b.X != 0 {
		return fmt.Sprintf("is %v, which no model has that is not damaged", b.X)
	}
	return fmt.Sprintf("is %g, which %s cannot hold (%g at most); BF16 can", b.X, b.Type, b.Most)
}

// check finds a weight that cannot be written.
func check(t gguf.Type, src []float32) error {
	most := float32(largestHalf) // scales are f16, and no larger than a weight
	switch t {
	case gguf.F32:
		most = math.MaxFloat32
	case gguf.BF16:
		most = math.Float32frombits(0x7f7f0000)
	}
	for i, x := range src {
		if !(abs32(x) <= most) {
			return &BadWeight{i, x, t, most}
		}
	}
	return nil
}

func abs32(x float32) float32 { return math.Float32frombits(math.Float32bits(x) &^ (1 << 31)) }
