package kernel

import (
	"encoding/binary"
	"math"
)

// form is how a packed block of 16 rows × 32 columns looks: its weights, then its scales, then its minima where it has some, 16 of
// each. Rows stand side by side: byte 4r+i of the g-th 64 bytes is row r's column 4g+i.
//
//   - 4 bits (q4, q4m, q4k): 256 bytes, where column 4g+i is the low half of a byte and column 4g+i+16 the high half;
//   - 5 bits (q5, q5m, q5k): 64 bytes more, where bit g of byte 4r+i is column 4g+i's highest;
//   - 6 bits (q6k): 128 bytes more, 64 for each half of the columns, where bits 2g and 2g+1 are the highest two;
//   - 8 bits (q8): 512 bytes;
//   - floats (f16, bf16, f32): column after column its 16 rows, and no scales; for activations that are floats.
type form uint8

const (
	q4  form = iota // scale × (nibble - 8); f16 scales
	q4m             // scale × nibble + minimum, both f16
	q8              // scale × (byte - 128); f16 scales
	q5              // scale × (weight - 16); f16 scales
	q5m             // scale × weight + minimum, both f16
	// Before each eight blocks of the forms below stand 64 bytes, 16 factors for the scales and 16 for the minima, f16; scales and
	// minima are bytes.
	q4k
	q5k
	// q6k has 32 bytes of factors, and in a block 16 scales for its first 16 columns, then 16 for the others, signed;
	// scale × (weight - 32).
	q6k
	f16
	bf16
	f32
)

// formats describes the forms.
var formats = [...]struct {
	bits    int // of a weight
	scales  int // where they stand in a block
	size    int // of a block
	head    int // bytes before each eight blocks
	bias    int // what is subtracted of a weight
	minimum bool
	raw     of
}{
	q4:  {bits: 4, scales: 256, size: 288, bias: 8, raw: of{32, 18}},
	q4m: {bits: 4, scales: 256, size: 320, minimum: true, raw: of{32, 20}},
	q8:  {bits: 8, scales: 512, size: 544, bias: 128, raw: of{32, 34}},
	q5:  {bits: 5, scales: 320, size: 352, bias: 16, raw: of{32, 22}},
	q5m: {bits: 5, scales: 320, size: 384, minimum: true, raw: of{32, 24}},
	q4k: {bits: 4, scales: 256, size: 288, head: 64, minimum: true, raw: of{256, 144}},
	q5k: {bits: 5, scales: 320, size: 352, head: 64, minimum: true, raw: of{256, 176}},
	q6k: {bits: 6, scales: 384, size: 416, head: 32, bias: 32, raw: of{256, 210}},

	f16:  {bits: 16, size: 1024, raw: of{1, 2}},
	bf16: {bits: 16, size: 1024, raw: of{1, 2}},
	f32:  {bits: 32, size: 2048, raw: of{1, 4}},
}

// of is a block of one row in a file.
type of struct{ columns, bytes int }

// row is what a row of so many columns takes in a file.
func (f form) row(cols int) int { return cols / formats[f].raw.columns * formats[f].raw.bytes }

// tile is what 16 rows of so many blocks take.
func (f form) tile(blocks int) int { return blocks*formats[f].size + blocks/8*formats[f].head }

// at is where a tile's block b stands, and the head of its eight.
func (f form) at(b int) (block, head int) {
	head = b / 8 * (8*formats[f].size + formats[f].head)
	return head + formats[f].head + b%8*formats[f].size, head
}

// float says that weights are floats.
func (f form) float() bool { return f >= f16 }

// number is the weight at p of a form of floats.
func (f form) number(p []byte) float32 {
	switch f {
	case f16:
		return Widen(u16(p))
	case bf16:
		return math.Float32frombits(uint32(u16(p)) << 16)
	}
	return math.Float32frombits(binary.LittleEndian.Uint32(p))
}

// piece is a row's share of a packed block: 32 weights w, of which each is scale[column/16] × w + minimum.
type piece struct {
	w       [block]int16
	scale   [2]float32
	minimum float32
}

// read takes row r of block b out of a tile.
func (p *piece) read(f form, tile []byte, b, r int) {
	at, head := f.at(b)
	d, from := &formats[f], tile[at:]
	for c := range p.w {
		g := c/4*64 + 4*r + c%4
		var w int
		switch {
		case d.bits == 8:
			w = int(from[g])
		case c < 16:
			w = int(from[g] & 15)
		default:
			w = int(from[g-256] >> 4)
		}
		switch d.bits {
		case 5:
			w |= int(from[256+4*r+c%4]>>(c/4)&1) << 4
		case 6:
			w |= int(from[256+c/16*64+4*r+c%4]>>(c%16/4*2)&3) << 4
		}
		p.w[c] = int16(w - d.bias)
	}
	scales := from[d.scales:]
	p.minimum = 0
	switch {
	case f == q6k:
		factor := Widen(u16(tile[head+2*r:]))
		p.scale[0], p.scale[1] = factor*float32(int8(scales[r])), factor*float32(int8(scales[16+r]))
		return
	case d.head > 0: // exact: 11 bits times 6
		p.scale[0] = Widen(u16(tile[head+2*r:])) * float32(scales[r])
		p.minimum = Widen(u16(tile[head+32+2*r:])) * float32(scales[16+r])
	default:
		p.scale[0] = Widen(u16(scales[2*r:]))
		if d.minimum {
			p.minimum = Widen(u16(scales[32+2*r:]))
		}
	}
	p.scale[1] = p.scale[0]
}
