package kernel

import (
	"fmt"
	"math"

	"serval/llm/gguf"
)

// Layout is the version of what Pack makes of a tensor; all instruction sets have the same. It changes whenever a byte of that does
// (TestLayout), so that nobody takes packed weights that an older version has kept.
const Layout = 1

// PackedSize is what a tensor takes of an arena once packed, and whether Pack takes its type. Whole tiles take what they take in the
// file, but for an eighth of a bit a weight more of Q4_K and Q5_K.
func PackedSize(t gguf.Type, rows, cols int) (bytes int, ok bool) {
	f, ok := formOf(t)
	return room((rows + 15) / 16 * f.tile(cols/block)), ok
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
	n, err := fileSize(t, rows, cols)
	if err != nil {
		return nil, err
	}
	if int64(len(data)) != n {
		return nil, fmt.Errorf("kernel: %d bytes for %d rows of %d columns of %s; want %d", len(data), rows, cols, t, n)
	}
	m, err := a.Room(t, rows, cols)
	if err != nil {
		return nil, err
	}
	if _, err := a.Alloc(); err != nil {
		return nil, err
	}
	m.Fill(0, data)
	return m, nil
}

// Room makes a matrix that has no weights yet: Alloc gives it memory for Fill, or Adopt memory that holds it.
func (a *Arena) Room(t gguf.Type, rows, cols int) (*Matrix, error) {
	if _, err := fileSize(t, rows, cols); err != nil {
		return nil, err
	}
	f, _ := formOf(t)
	if f.float() {
		a.floats = true
	} else {
		a.ints = true
	}
	m := &Matrix{Rows: rows, Cols: cols, ops: a.ops, form: f}
	a.waiting = append(a.waiting, m)
	return m, nil
}

// fileSize is what a tensor has in a file, or why it cannot be packed.
func fileSize(t gguf.Type, rows, cols int) (int64, error) {
	if _, ok := formOf(t); !ok {
		return 0, fmt.Errorf("kernel: no kernel for tensors of type %s; Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, Q5_K, Q6_K, F16, BF16 and F32 have one", t)
	}
	elements, bytes := t.Block()
	switch {
	case rows <= 0 || cols <= 0 || cols%block != 0 || int64(cols)%elements != 0:
		return 0, fmt.Errorf("kernel: a matrix of %d rows and %d columns; columns must be a multiple of %d", rows, cols, max(block, elements))
	case int64(cols) > math.MaxInt32 || int64(rows) > math.MaxInt32 || int64(rows) > math.MaxInt64/8/int64(cols):
		return 0, fmt.Errorf("kernel: a matrix of %d rows and %d columns is too large", rows, cols)
	}
	return int64(rows) * int64(cols) / elements * bytes, nil
}

// Fill packs rows as they stand in a file, from the first of a tile on: whole tiles, but for the matrix's last. Several goroutines
// may fill different tiles of a matrix at once.
func (m *Matrix) Fill(tile int, data []byte) {
	size, row, of := m.form.tile(m.Cols/block), m.form.row(m.Cols), formats[m.form].raw
	for ; len(data) > 0; tile++ {
		n := min(16*row, len(data))
		// 256 columns of all rows after the other, which the first cache holds.
		for from := 0; from < m.Cols; from += 256 {
			at, _ := m.form.at(from / block)
			dst := m.data[tile*size+at-formats[m.form].head : (tile+1)*size]
			for r := range n / row {
				m.form.fill(dst, data[r*row+from/of.columns*of.bytes:], r, min(256, m.Cols-from)/block)
			}
		}
		data = data[n:]
	}
}

// RowSize is what a row of a matrix has in a file.
func (m *Matrix) RowSize() int { return m.form.row(m.Cols) }
