package kernel

import "serval/llm/gguf"

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
	of := formats[f].raw
	return func(dst []float32, src []byte) {
		var tile [8*416 + 32]byte // the largest, of which this is one row
		var p piece
		for ; len(src) >= of.bytes; src = src[of.bytes:] {
			f.fill(tile[:], src[:of.bytes], 0, of.columns/block)
			for i := range of.columns / block {
				p.read(f, tile[:], i, 0)
				p.floats(dst[i*block:])
			}
			dst = dst[of.columns:]
		}
	}
}
