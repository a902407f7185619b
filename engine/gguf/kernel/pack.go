package kernel

import (
	"encoding/binary"
	"fmt"
	"math"

	"serval/llm/gguf"
)

// PackedSize is what a tensor takes once packed, and whether Pack takes its type.
func PackedSize(t gguf.Type, rows, cols int) (bytes int, ok bool) {
	f, ok := formOf(t)
	return (rows + 15) / 16 * (cols / block) * formBytes[f], ok
}

func formOf(t gguf.Type) (form, bool) {
	switch t {
	case gguf.Q4_0:
		return q4, true
	case gguf.Q4_1:
		return q4m, true
	case gguf.Q8_0, gguf.F16, gguf.BF16, gguf.F32:
		return q8, true
	}
	return 0, false
}

// Pack packs one matrix into memory of its own; many share an Arena better. See [Arena.Pack].
func Pack(o Ops, t gguf.Type, rows, cols int, data []byte) (*Matrix, error) {
	a := NewArena(o)
	m, err := a.Pack(t, rows, cols, data)
	if err != nil {
		return nil, err
	}
	m.own = a
	return m, nil
}

// Pack copies a tensor as it stands in a GGUF file (rows of cols elements, cols a multiple of 32) into the arena, in the form
// that the kernels want. Types: Q4_0, Q4_1, Q8_0 as they are; F32, F16 and BF16 rounded to Q8_0.
func (a *Arena) Pack(t gguf.Type, rows, cols int, data []byte) (*Matrix, error) {
	f, ok := formOf(t)
	if !ok {
		return nil, fmt.Errorf("kernel: no kernel for tensors of type %s; Q4_0, Q4_1, Q8_0, F16, BF16 and F32 have one", t)
	}
	elements, bytes := t.Block()
	switch {
	case rows <= 0 || cols <= 0 || cols%block != 0:
		return nil, fmt.Errorf("kernel: a matrix of %d rows and %d columns; columns must be a multiple of %d", rows, cols, block)
	case int64(cols) > math.MaxInt32 || int64(rows) > math.MaxInt32 || int64(rows) > math.MaxInt64/8/int64(cols):
		return nil, fmt.Errorf("kernel: a matrix of %d rows and %d columns is too large", rows, cols)
	case int64(len(data)) != int64(rows)*int64(cols)/elements*bytes:
		return nil, fmt.Errorf("kernel: %d bytes for %d rows of %d columns of %s; want %d", len(data), rows, cols, t,
			int64(rows)*int64(cols)/elements*bytes)
	}
	size, blocks := formBytes[f], cols/block
	packed, err := a.take((rows + 15) / 16 * blocks * size)
	if err != nil {
		return nil, err
	}
	m := &Matrix{Rows: rows, Cols: cols, ops: a.ops, form: f, data: packed}
	step := int(block / elements * bytes) // what one block takes in the file
	var quant [34]byte
	for r := range rows {
		for b := range blocks {
			src := data[(r*blocks+b)*step:][:step]
			if elements == 1 {
				requantize(&quant, t, src)
				src = quant[:]
			}
			place(f, packed[(r/16*blocks+b)*size:][:size], src, r%16)
		}
	}
	return m, nil
}

// place puts one block of ggml's where row r of a packed block stands.
func place(f form, p, src []byte, r int) {
	scales := 256
	switch f {
	case q4: // d, 16 bytes: byte j has element j low and j+16 high
		for j, b := range src[2:18] {
			p[j/4*64+4*r+j%4] = b
		}
	case q4m: // d, m, 16 bytes
		copy(p[288+2*r:], src[2:4])
		for j, b := range src[4:20] {
			p[j/4*64+4*r+j%4] = b
		}
	case q8: // d, 32 int8
		scales = 512
		for j, b := range src[2:34] {
			p[j/4*64+4*r+j%4] = b ^ 0x80
		}
	}
	copy(p[scales+2*r:scales+2*r+2], src[:2])
}

// requantize makes a block of Q8_0 of 32 floats.
func requantize(dst *[34]byte, t gguf.Type, src []byte) {
	var x [block]float32
	var most float32
	for i := range x {
		switch t {
		case gguf.F32:
			x[i] = math.Float32frombits(binary.LittleEndian.Uint32(src[4*i:]))
		case gguf.BF16:
			x[i] = math.Float32frombits(uint32(u16(src[2*i:])) << 16)
		default:
			x[i] = Widen(u16(src[2*i:]))
		}
		most = max(most, float32(math.Abs(float64(x[i]))))
	}
	inverse := float32(0)
	if most != 0 {
		inverse = 127 / most
	}
	binary.LittleEndian.PutUint16(dst[:], narrow(most/127))
	for i, e := range x {
		dst[2+i] = byte(int8(math.RoundToEven(float64(e * inverse))))
	}
}
