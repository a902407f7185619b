package kernel

import (
	"encoding/binary"
	"math"
)

// Matrix is a packed matrix of weights. Its methods may be called from several goroutines at once, until its memory is closed.
type Matrix struct {
	Rows, Cols int
	ops        Ops
	form       form
	data       []byte // tile after tile, block after block; 64-byte aligned
	own        *Arena // what Pack made for this matrix alone
}

// Tiles is how many tiles of 16 rows the matrix has; the last may be part empty.
func (m *Matrix) Tiles() int { return (m.Rows + 15) / 16 }

// Size is the packed size in bytes.
func (m *Matrix) Size() int { return len(m.data) }

// Close gives back the memory of a matrix made by Pack; one from an Arena is closed with the Arena.
func (m *Matrix) Close() error {
	if m.own == nil {
		return nil
	}
	m.data = nil
	return m.own.Close()
}

// Mul sets y[t*ld+row] for every token t of x and the rows of the tiles [fromTile, toTile). ld is at least Rows.
func (m *Matrix) Mul(y []float32, ld int, x *Acts, fromTile, toTile int) {
	if toTile <= fromTile || x.tokens == 0 {
		return
	}
	_ = y[(x.tokens-1)*ld+min(toTile*16, m.Rows)-1] // what the assembly may touch
	x.check(m.form.float())
	if x.cols != m.Cols {
		panic("kernel: activations have other columns than the matrix") // a programming error, as an index out of range is
	}
	switch m.ops.isa {
	case avx512:
		m.mulWide(y, ld, x, fromTile, toTile)
		return
	case avx2, avxVNNI:
		m.mulNarrow(y, ld, x, fromTile, toTile)
		return
	}
	tile, mul := m.form.tile(x.blocks), m.mulTile
	if m.form.float() {
		mul = m.mulFloats
	}
	for start := 0; start < x.tokens; {
		_, lanes := group(x.tokens, start)
		acts := x.group(start, m.form.float())
		for t := fromTile; t < toTile; t++ {
			mul(y[start*ld+t*16:], ld, m.data[t*tile:(t+1)*tile], acts, lanes, min(16, m.Rows-t*16))
		}
		start += lanes
	}
}

// mulTile is one tile times one lane group, in the order of operations of the assembly.
func (m *Matrix) mulTile(y []float32, ld int, tile, acts []byte, lanes, rows int) {
	var p piece
	halves := 1
	if m.form == q6k {
		halves = 2
	}
	for r := range rows {
		var sum [Lanes]float32
		for b := range m.Cols / block {
			p.read(m.form, tile, b, r)
			for t := range lanes {
				q := acts[(b*lanes+t)*record:][:record]
				field := func(i int) float32 {
					return math.Float32frombits(binary.LittleEndian.Uint32(q[block+4*i:]))
				}
				for h := range halves {
					from, to := h*16, (h+1)*block/halves
					sum[t] = fma(float32(dot(p.w[from:to], q[from:to])), p.scale[h]*field(0), sum[t])
				}
				if formats[m.form].minimum {
					sum[t] = fma(p.minimum, field(1), sum[t])
				}
			}
		}
		for t := range lanes {
			y[t*ld+r] = sum[t]
		}
	}
}

// mulFloats is mulTile of floats.
func (m *Matrix) mulFloats(y []float32, ld int, tile, acts []byte, lanes, rows int) {
	size := formats[m.form].bits / 8
	for r := range rows {
		var sum [Lanes]float32
		for c := range m.Cols {
			w := m.form.number(tile[(c*16+r)*size:])
			for t := range lanes {
				sum[t] = fma(w, math.Float32frombits(binary.LittleEndian.Uint32(acts[4*(c*lanes+t):])), sum[t])
			}
		}
		for t := range lanes {
			y[t*ld+r] = sum[t]
		}
	}
}

// dot is the product of weights with as many activations.
func dot(w []int16, q []byte) int32 {
	var n int32
	for i, e := range q[:len(w)] {
		n += int32(w[i]) * int32(int8(e))
	}
	return n
}

// Grain is the most tiles that one piece of work should have, so that it takes some 50 µs and a call of assembly in it less:
// Go cannot preempt assembly. Mul itself makes one such call for each lane group.
func (m *Matrix) Grain(tokens int) int {
	blocks := m.Cols / block
	each := 5 // ns for 512 products: 16 tokens in 80
	if m.form.float() {
		each = 4 * 5
	}
	nanos := blocks * max(formats[m.form].size/8, tokens*each) // 8 bytes a ns and thread
	return max(1, 50_000/max(1, nanos))
}

// Split is the tiles a piece should have when so many workers take pieces as they come: at most Grain, and enough pieces
// that a worker who loses its core for a while holds up little.
func (m *Matrix) Split(tokens, workers int) int {
	each := 8 * max(1, workers)
	return max(1, min(m.Grain(tokens), (m.Tiles()+each-1)/each))
}

// fma is a×b+c rounded once (but for the rare double rounding over float64), as the assembly does it.
func fma(a, b, c float32) float32 { return float32(float64(a)*float64(b) + float64(c)) }
