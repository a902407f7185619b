package kernel

import (
	"encoding/binary"
	"fmt"
	"math"

	"serval/llm/gguf"
)

// PackedSize is what a tensor takes once packed, and whether Pack takes its type. Whole tiles of the quantised types take what they
// take in the file, but for an eighth of a bit a weight more of Q4_K and Q5_K; F16 and BF16 take 8.5 bits, half of the file's.
func PackedSize(t gguf.Type, rows, cols int) (bytes int, ok bool) {
	f, ok := formOf(t)
	return (rows + 15) / 16 * f.tile(cols/block), ok
}

func formOf(t gguf.Type) (form, bool) {
	switch t {
	case gguf.Q4_0:
		return q4, true
	case gguf.Q4_1:
		return q4m, true
	case gguf.Q5_0:
		return q5, true
	case gguf.Q5_1:
		return q5m, true
	case gguf.Q8_0, gguf.F16, gguf.BF16, gguf.F32:
		return q8, true
	case gguf.Q4K:
		return q4k, true
	case gguf.Q5K:
		return q5k, true
	case gguf.Q6K:
		return q6k, true
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
// that the kernels want. Types: Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, Q5_K and Q6_K to the last bit; F32, F16 and BF16 rounded to Q8_0.
// Rows of the types named K are multiples of 256 columns.
func (a *Arena) Pack(t gguf.Type, rows, cols int, data []byte) (*Matrix, error) {
	f, ok := formOf(t)
	if !ok {
		return nil, fmt.Errorf("kernel: no kernel for tensors of type %s; Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, Q5_K, Q6_K, F16, BF16 and F32 have one", t)
	}
	elements, bytes := t.Block()
	switch {
	case rows <= 0 || cols <= 0 || cols%block != 0 || int64(cols)%elements != 0:
		return nil, fmt.Errorf("kernel: a matrix of %d rows and %d columns; columns must be a multiple of %d", rows, cols, max(block, elements))
	case int64(cols) > math.MaxInt32 || int64(rows) > math.MaxInt32 || int64(rows) > math.MaxInt64/8/int64(cols):
		return nil, fmt.Errorf("kernel: a matrix of %d rows and %d columns is too large", rows, cols)
	case int64(len(data)) != int64(rows)*int64(cols)/elements*bytes:
		return nil, fmt.Errorf("kernel: %d bytes for %d rows of %d columns of %s; want %d", len(data), rows, cols, t,
			int64(rows)*int64(cols)/elements*bytes)
	}
	blocks := cols / block
	size := f.tile(blocks)
	packed, err := a.take((rows + 15) / 16 * size)
	if err != nil {
		return nil, err
	}
	m := &Matrix{Rows: rows, Cols: cols, ops: a.ops, form: f, data: packed}
	step := int(max(block/elements, 1) * bytes) // what one block takes in the file, or eight of them
	parts := int(max(elements/block, 1))
	var quant [34]byte
	var q raw
	for r := range rows {
		tile := packed[r/16*size:][:size]
		for b := 0; b < blocks; b += parts {
			src := data[(r*blocks+b)/parts*step:][:step]
			if elements == 1 {
				requantize(&quant, t, src)
				src = quant[:]
			}
			for i := range parts {
				q.read(t, src, i)
				q.place(f, tile, b+i, r%16)
			}
		}
	}
	return m, nil
}

// place puts 32 weights where row r of a tile's block b stands.
func (q *raw) place(f form, tile []byte, b, r int) {
	at, head := f.at(b)
	d := &formats[f]
	p := tile[at:][:d.size]
	if d.bits == 8 {
		for c, w := range q.w {
			p[c/4*64+4*r+c%4] = w
		}
	} else {
		for c, w := range q.w[:16] {
			p[c/4*64+4*r+c%4] = w&15 | q.w[16+c]<<4
		}
	}
	switch d.bits {
	case 5:
		for c, w := range q.w {
			p[256+4*r+c%4] |= w >> 4 << (c / 4)
		}
	case 6:
		for c, w := range q.w {
			p[256+c/16*64+4*r+c%4] |= w >> 4 << (c % 16 / 4 * 2)
		}
	}
	if d.head > 0 {
		p[d.scales+r], p[d.scales+16+r] = q.scale[0], q.scale[1]
		binary.LittleEndian.PutUint16(tile[head+2*r:], q.factor)
		if d.minimum {
			binary.LittleEndian.PutUint16(tile[head+32+2*r:], q.minimum)
		}
		return
	}
	binary.LittleEndian.PutUint16(p[d.scales+2*r:], q.factor)
	if d.minimum {
		binary.LittleEndian.PutUint16(p[d.scales+32+2*r:], q.minimum)
	}
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
