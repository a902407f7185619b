package kernel

import (
	"encoding/binary"

	"serval/llm/gguf"
)

// raw is 32 columns of a row as a file has them: their unsigned weights, the factor and the minimum as f16, and for the types named
// K the integers that multiply these: a scale and the minimum's, or in Q6_K the scales of both halves. A minimum of the types named
// K is subtracted in ggml and added here: its sign is turned.
type raw struct {
	w       [block]byte
	scale   [2]byte
	factor  uint16
	minimum uint16
}

// read takes the 32 columns number i out of a block of ggml's. The layouts are those of ggml-common.h.
func (q *raw) read(t gguf.Type, src []byte, i int) {
	q.factor = u16(src)
	switch t {
	case gguf.Q4_0:
		q.nibbles(src[2:18])
	case gguf.Q4_1:
		q.minimum = u16(src[2:])
		q.nibbles(src[4:20])
	case gguf.Q5_0:
		q.nibbles(src[6:22])
		q.fifth(binary.LittleEndian.Uint32(src[2:]))
	case gguf.Q5_1:
		q.minimum = u16(src[2:])
		q.nibbles(src[8:24])
		q.fifth(binary.LittleEndian.Uint32(src[4:]))
	case gguf.Q4K:
		q.scales(src, i)
		q.half(src[16+i/2*32:], i%2*4)
	case gguf.Q5K:
		q.scales(src, i)
		q.half(src[48+i/2*32:], i%2*4)
		for c, b := range src[16:48] {
			q.w[c] |= b >> i & 1 << 4
		}
	case gguf.Q6K:
		q.factor = u16(src[208:])
		n, k := i/4, i%4 // of two halves, and of their four quarters
		q.half(src[n*64+k%2*32:], k/2*4)
		for c, b := range src[128+n*32:][:32] {
			q.w[c] |= b >> (2 * k) & 3 << 4
		}
		q.scale = [2]byte{src[192+2*i], src[192+2*i+1]}
	default: // Q8_0
		for c, b := range src[2:34] {
			q.w[c] = b ^ 0x80
		}
	}
}

// nibbles takes columns 0 to 15 of the low halves and 16 to 31 of the high ones.
func (q *raw) nibbles(src []byte) {
	for c, b := range src[:16] {
		q.w[c], q.w[16+c] = b&15, b>>4
	}
}

// fifth adds the columns' highest bits.
func (q *raw) fifth(bits uint32) {
	for c := range q.w {
		q.w[c] |= byte(bits>>c&1) << 4
	}
}

// half takes all columns of one half of the bytes.
func (q *raw) half(src []byte, shift int) {
	for c, b := range src[:32] {
		q.w[c] = b >> shift & 15
	}
}

// scales takes the i-th 6-bit scale and minimum of Q4_K and Q5_K: the first four of each are the low bits of 4 bytes, the others
// are nibbles of the last 4 bytes and the upper 2 bits of the first 8.
func (q *raw) scales(src []byte, i int) {
	q.minimum = u16(src[2:]) ^ 0x8000
	s := src[4:16]
	if i < 4 {
		q.scale = [2]byte{s[i] & 63, s[4+i] & 63}
		return
	}
	q.scale = [2]byte{s[4+i]&15 | s[i-4]>>6<<4, s[4+i]>>4 | s[i]>>6<<4}
}

// floats are the weights of a type's form.
func (q *raw) floats(f form, dst []float32) {
	var tile [1024]byte // one row of 16, in the first of eight blocks
	var p piece
	q.place(f, tile[:], 0, 0)
	p.read(f, tile[:], 0, 0)
	p.floats(dst)
}

// floats are the weights.
func (p *piece) floats(dst []float32) {
	for c, w := range p.w {
		dst[c] = float32(p.scale[c/16]*float32(w)) + p.minimum
	}
}

// Dequantize returns how a row of a type becomes numbers, as ggml defines it to the last bit; nil for a type that Pack does not take.
// dst has as many elements as src.
func Dequantize(t gguf.Type) func(dst []float32, src []byte) {
	f, ok := formOf(t)
	if !ok {
		return nil
	}
	if f.float() {
		return func(dst []float32, src []byte) {
			for i := range dst {
				dst[i] = f.number(src[i*formats[f].bits/8:])
			}
		}
	}
	elements, bytes := t.Block()
	return func(dst []float32, src []byte) {
		var q raw
		for ; len(src) >= int(bytes); src = src[bytes:] {
			for i := range int(elements) / block {
				q.read(t, src, i)
				q.floats(f, dst[i*block:])
			}
			dst = dst[elements:]
		}
	}
}
