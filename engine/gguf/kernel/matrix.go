package kernel

import (
	"encoding/binary"
	"math"
)

// form is how a packed block of 16 rows × 32 columns looks.
type form uint8

const (
	// q4 has 256 bytes of nibbles and 16 f16 scales; a weight is scale × (nibble - 8). Byte 4r+i of the g-th 64 bytes holds
	// row r's column 4g+i in its low half and column 4g+i+16 in its high half.
	q4 form = iota
	// q4m has 16 f16 minima more; a weight is scale × nibble + minimum.
	q4m
	// q8 has 512 bytes and 16 f16 scales; a weight is scale × (byte - 128). Byte 4r+i of the g-th 64 is row r's column 4g+i.
	q8
)

var formBytes = [...]int{q4: 288, q4m: 320, q8: 544}

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
	_ = x.data[x.tokens*x.blocks*record-1]
	if x.cols != m.Cols {
		panic("kernel: activations have other columns than the matrix") // a programming error, as an index out of range is
	}
	if m.ops.isa == avx512 {
		m.mulWide(y, ld, x, fromTile, toTile)
		return
	}
	tile := x.blocks * formBytes[m.form]
	for start := 0; start < x.tokens; {
		_, lanes := group(x.tokens, start)
		acts := x.data[start*x.blocks*record:]
		for t := fromTile; t < toTile; t++ {
			m.mulTile(y[start*ld+t*16:], ld, m.data[t*tile:(t+1)*tile], acts, lanes, min(16, m.Rows-t*16))
		}
		start += lanes
	}
}

// mulTile is one tile times one lane group, in the order of operations of the assembly.
func (m *Matrix) mulTile(y []float32, ld int, w, acts []byte, lanes, rows int) {
	size := formBytes[m.form]
	blocks := len(w) / size
	for t := range lanes {
		var sum [16]float32
		for b := range blocks {
			a := acts[b*lanes*record:]
			q := a[t*block : (t+1)*block]
			at := func(i int) uint32 { return binary.LittleEndian.Uint32(a[lanes*(block+4*i)+4*t:]) }
			scale, start := math.Float32frombits(at(0)), int32(0)
			switch m.form {
			case q4:
				start = int32(at(2))
			case q8:
				start = int32(at(3))
			}
			p := w[b*size:][:size]
			for r := range rows {
				n := start + dotBlock(m.form, p, q, r)
				sum[r] = fma(float32(n), half(p, size, m.form, r)*scale, sum[r])
				if m.form == q4m {
					sum[r] = fma(Widen(u16(p[288+2*r:])), math.Float32frombits(at(1)), sum[r])
				}
			}
		}
		copy(y[t*ld:t*ld+rows], sum[:rows])
	}
}

// dotBlock is the integer product of row r of a packed block with 32 activations.
func dotBlock(f form, p, q []byte, r int) int32 {
	var n int32
	for c := 0; c < block; c += 4 {
		for i := range 4 {
			n += int32(weight(f, p, r, c+i)) * int32(int8(q[c+i]))
		}
	}
	return n
}

// weight is the unsigned integer stored for row r and column c of a packed block.
func weight(f form, p []byte, r, c int) byte {
	switch {
	case f == q8:
		return p[c/4*64+4*r+c%4]
	case c < 16:
		return p[c/4*64+4*r+c%4] & 15
	}
	return p[(c-16)/4*64+4*r+c%4] >> 4
}

// half is row r's scale.
func half(p []byte, size int, f form, r int) float32 {
	if f == q8 {
		return Widen(u16(p[512+2*r:]))
	}
	return Widen(u16(p[256+2*r:]))
}

// Row sets dst, of Cols elements, to the dequantised weights of one row: the embedding of a token.
func (m *Matrix) Row(dst []float32, row int) {
	size := formBytes[m.form]
	blocks := m.Cols / block
	tile, r := m.data[row/16*blocks*size:][:blocks*size], row%16
	for b := range blocks {
		p := tile[b*size:][:size]
		scale := half(p, size, m.form, r)
		for c := range block {
			q := float32(weight(m.form, p, r, c))
			switch m.form {
			case q4:
				q = (q - 8) * scale
			case q4m:
				q = q*scale + Widen(u16(p[288+2*r:]))
			case q8:
				q = (q - 128) * scale
			}
			dst[b*block+c] = q
		}
	}
}

// Grain is the most tiles that one piece of work should have, so that it takes some 50 µs and a call of assembly in it less:
// Go cannot preempt assembly. Mul itself makes one such call for each lane group.
func (m *Matrix) Grain(tokens int) int {
	blocks := m.Cols / block
	nanos := blocks * max(formBytes[m.form]/8, tokens*5) // 8 bytes a ns and thread; 512 products with 16 tokens in 80 ns
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

func u16(b []byte) uint16 { return uint16(b[0]) | uint16(b[1])<<8 }
