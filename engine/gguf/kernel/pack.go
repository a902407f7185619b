package kernel

import (
	"encoding/binary"
	"fmt"
	"math"

	"serval/llm/gguf"
)

// PackedSize is what a tensor takes once packed, and whether Pack takes its type. Whole tiles take what they take in the file, but
// for an eighth of a bit a weight more of Q4_K and Q5_K.
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
	case gguf.Q8_0:
		return q8, true
	case gguf.F16:
		return f16, true
	case gguf.BF16:
		return bf16, true
	case gguf.F32:
		return f32, true
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
// that the kernels want, to the last bit. Rows of the types named K are multiples of 256 columns.
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
	if f.float() {
		a.floats = true
		m.packFloats(data)
	} else {
		a.ints = true
		m.pack(t, data)
	}
	return m, nil
}

// pack fills a matrix of a quantised type.
func (m *Matrix) pack(t gguf.Type, data []byte) {
	elements, bytes := t.Block()
	size, parts, blocks := m.form.tile(m.Cols/block), int(elements)/block, m.Cols/int(elements)
	var q raw
	for r := range m.Rows {
		tile := m.data[r/16*size:][:size]
		for b := range blocks {
			src := data[(r*blocks+b)*int(bytes):][:bytes]
			for i := range parts {
				q.read(t, src, i)
				q.place(m.form, tile, b*parts+i, r%16)
			}
		}
	}
}

// packFloats fills a matrix of floats.
func (m *Matrix) packFloats(data []byte) {
	size := formats[m.form].bits / 8
	tile := m.form.tile(m.Cols / block)
	for r := range m.Rows {
		src, dst := data[r*m.Cols*size:][:m.Cols*size], m.data[r/16*tile+r%16*size:]
		for c := range m.Cols {
			copy(dst[c*16*size:][:size], src[c*size:])
		}
	}
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
