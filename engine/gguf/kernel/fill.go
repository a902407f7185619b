package kernel

import "encoding/binary"

// What packs 32 columns of a row, or the 256 of a block of the types named K, moves words of four weights: word g of a packed block is
// 64 bytes after word g-1 and 4 bytes after that of the row before. Nothing is looked at weight by weight, and the arrays below let the compiler
// leave out the checks of bounds, so that packing takes little more than copying: some 5 GB/s a thread.

// fill packs n blocks of 32 columns of a row, which stand in src as a GGUF file has them, as row r of a tile's blocks. The layouts in src
// are those of ggml-common.h. Of the types named K n is 8.
func (f form) fill(tile, src []byte, r, n int) {
	r &= 15
	switch f {
	case q4:
		fill4(tile, src, r, n)
	case q4m:
		fill4m(tile, src, r, n)
	case q5:
		fill5(tile, src, r, n)
	case q5m:
		fill5m(tile, src, r, n)
	case q8:
		fill8(tile, src, r, n)
	case q4k:
		fill4k(tile, (*[144]byte)(src), r)
	case q5k:
		fill5k(tile, (*[176]byte)(src), r)
	case q6k:
		fill6k(tile, (*[210]byte)(src), r)
	case f32:
		fill32(tile, src, r, n)
	default:
		fill16(tile, src, r, n)
	}
}

func fill4(tile, src []byte, r, n int) {
	r &= 15
	for range n {
		s, p := (*[18]byte)(src), (*[288]byte)(tile)
		put4((*[256]byte)(p[:]), r, u32(s[2:]), u32(s[6:]), u32(s[10:]), u32(s[14:]))
		put16(p[256+2*r:], u16(s[:]))
		src, tile = src[18:], tile[288:]
	}
}

func fill4m(tile, src []byte, r, n int) {
	r &= 15
	for range n {
		s, p := (*[20]byte)(src), (*[320]byte)(tile)
		put4((*[256]byte)(p[:]), r, u32(s[4:]), u32(s[8:]), u32(s[12:]), u32(s[16:]))
		put16(p[256+2*r:], u16(s[:]))
		put16(p[288+2*r:], u16(s[2:]))
		src, tile = src[20:], tile[320:]
	}
}

func fill5(tile, src []byte, r, n int) {
	r &= 15
	for range n {
		s, p := (*[22]byte)(src), (*[352]byte)(tile)
		put4((*[256]byte)(p[:]), r, u32(s[6:]), u32(s[10:]), u32(s[14:]), u32(s[18:]))
		put32(p[256+4*r:], fifth(u32(s[2:])))
		put16(p[320+2*r:], u16(s[:]))
		src, tile = src[22:], tile[352:]
	}
}

func fill5m(tile, src []byte, r, n int) {
	r &= 15
	for range n {
		s, p := (*[24]byte)(src), (*[384]byte)(tile)
		put4((*[256]byte)(p[:]), r, u32(s[8:]), u32(s[12:]), u32(s[16:]), u32(s[20:]))
		put32(p[256+4*r:], fifth(u32(s[4:])))
		put16(p[320+2*r:], u16(s[:]))
		put16(p[352+2*r:], u16(s[2:]))
		src, tile = src[24:], tile[384:]
	}
}

func fill8(tile, src []byte, r, n int) {
	const signs = 0x80808080 // weights are signed in a file
	r &= 15
	for range n {
		s, p := (*[34]byte)(src), (*[544]byte)(tile)
		put4((*[256]byte)(p[:]), r, u32(s[2:])^signs, u32(s[6:])^signs, u32(s[10:])^signs, u32(s[14:])^signs)
		put4((*[256]byte)(p[256:]), r, u32(s[18:])^signs, u32(s[22:])^signs, u32(s[26:])^signs, u32(s[30:])^signs)
		put16(p[512+2*r:], u16(s[:]))
		src, tile = src[34:], tile[544:]
	}
}

func fill4k(tile []byte, s *[144]byte, r int) {
	r &= 15
	fillHead((*[64]byte)(tile), s[:], r)
	for i := range 8 {
		p := (*[288]byte)(tile[64+i*288:])
		halves((*[256]byte)(p[:]), (*[32]byte)(s[16+i/2*32:]), r, i%2*4)
		p[256+r], p[272+r] = scales((*[12]byte)(s[4:]), i)
	}
}

func fill5k(tile []byte, s *[176]byte, r int) {
	r &= 15
	fillHead((*[64]byte)(tile), s[:], r)
	var high [8]uint32 // bit i of a byte of word g is a column's highest in the i-th 32
	for g := range high {
		high[g] = u32(s[16+4*g:])
	}
	for g := range 4 {
		exchange(&high[g], &high[g+4], 4, 0x0f0f0f0f)
	}
	for _, g := range [...]int{0, 1, 4, 5} {
		exchange(&high[g], &high[g+2], 2, 0x33333333)
	}
	for g := 0; g < 8; g += 2 {
		exchange(&high[g], &high[g+1], 1, 0x55555555)
	}
	for i := range 8 {
		p := (*[352]byte)(tile[64+i*352:])
		halves((*[256]byte)(p[:]), (*[32]byte)(s[48+i/2*32:]), r, i%2*4)
		put32(p[256+4*r:], high[i])
		p[320+r], p[336+r] = scales((*[12]byte)(s[4:]), i)
	}
}

func fill6k(tile []byte, s *[210]byte, r int) {
	r &= 15
	put16(tile[2*r:], u16(s[208:]))
	for n := range 2 { // halves of 128 columns
		var high [2][4]uint32 // bits 2k and 2k+1 of a byte of word g are a column's highest in the k-th 32, of which these are halves
		for h := range high {
			w := &high[h]
			for g := range w {
				w[g] = u32(s[128+n*32+h*16+4*g:])
			}
			exchange(&w[0], &w[2], 4, 0x0f0f0f0f)
			exchange(&w[1], &w[3], 4, 0x0f0f0f0f)
			exchange(&w[0], &w[1], 2, 0x33333333)
			exchange(&w[2], &w[3], 2, 0x33333333)
		}
		for k := range 4 {
			i := n*4 + k
			p := (*[416]byte)(tile[32+i*416:])
			halves((*[256]byte)(p[:]), (*[32]byte)(s[n*64+k%2*32:]), r, k/2*4)
			put32(p[256+4*r:], high[0][k])
			put32(p[320+4*r:], high[1][k])
			p[384+r], p[400+r] = s[192+2*i], s[193+2*i]
		}
	}
}

// fillHead writes the factors of Q4_K and Q5_K. A minimum of these is subtracted in ggml and added here: its sign is turned.
func fillHead(p *[64]byte, s []byte, r int) {
	r &= 15
	put16(p[2*r:], u16(s))
	put16(p[32+2*r:], u16(s[2:])^0x8000)
}

func fill16(tile, src []byte, r, n int) {
	r &= 15
	for range n {
		s, p := (*[64]byte)(src), (*[1024]byte)(tile)
		for g := range 8 {
			v := binary.LittleEndian.Uint64(s[8*g:])
			put16(p[128*g+2*r:], uint16(v))
			put16(p[128*g+32+2*r:], uint16(v>>16))
			put16(p[128*g+64+2*r:], uint16(v>>32))
			put16(p[128*g+96+2*r:], uint16(v>>48))
		}
		src, tile = src[64:], tile[1024:]
	}
}

func fill32(tile, src []byte, r, n int) {
	r &= 15
	for range n {
		s, p := (*[128]byte)(src), (*[2048]byte)(tile)
		for g := range 8 {
			put4((*[256]byte)(p[256*g:]), r, u32(s[16*g:]), u32(s[16*g+4:]), u32(s[16*g+8:]), u32(s[16*g+12:]))
		}
		src, tile = src[128:], tile[2048:]
	}
}

// halves writes the low four bits of 32 columns, which are one half of as many bytes.
func halves(p *[256]byte, s *[32]byte, r, shift int) {
	shift &= 7
	put4(p, r, nibbles(s[:], shift), nibbles(s[4:], shift), nibbles(s[8:], shift), nibbles(s[12:], shift))
}

// nibbles are the low four bits of columns c to c+3, and as high halves those of 16 columns further.
func nibbles(s []byte, shift int) uint32 {
	return u32(s)>>shift&0x0f0f0f0f | u32(s[16:])>>shift&0x0f0f0f0f<<4
}

// put4 writes four words of row r.
func put4(p *[256]byte, r int, a, b, c, d uint32) {
	r &= 15
	put32(p[4*r:], a)
	put32(p[64+4*r:], b)
	put32(p[128+4*r:], c)
	put32(p[192+4*r:], d)
}

// exchange swaps the bits that mask and mask<<shift name: the upper ones of a with the lower ones of b.
func exchange(a, b *uint32, shift int, mask uint32) {
	t := (*a>>(shift&7) ^ *b) & mask
	*a ^= t << (shift & 7)
	*b ^= t
}

// fifth puts the columns' highest bits where a packed block has them: bit 4g+i becomes bit g of byte i. Of the five bits that number
// a bit, two at a time change places.
func fifth(x uint32) uint32 {
	x = swap(x, 14, 0xcccc)
	x = swap(x, 7, 0x00aa00aa)
	x = swap(x, 2, 0x0c0c0c0c)
	return swap(x, 1, 0x22222222)
}

// swap exchanges the bits that mask names with those that are so many places higher.
func swap(x uint32, shift int, mask uint32) uint32 {
	t := (x>>shift ^ x) & mask
	return x ^ t ^ t<<shift
}

// scales are the i-th 6-bit scale and minimum of Q4_K and Q5_K: the first four of each are the low bits of 4 bytes, the others
// are nibbles of the last 4 bytes and the upper 2 bits of the first 8.
func scales(s *[12]byte, i int) (scale, minimum byte) {
	if i < 4 {
		return s[i] & 63, s[4+i] & 63
	}
	return s[4+i]&15 | s[i-4]>>6<<4, s[4+i]>>4 | s[i]>>6<<4
}

func u16(b []byte) uint16 { return binary.LittleEndian.Uint16(b) }

func u32(b []byte) uint32 { return binary.LittleEndian.Uint32(b) }

func put16(b []byte, v uint16) { binary.LittleEndian.PutUint16(b, v) }

func put32(b []byte, v uint32) { binary.LittleEndian.PutUint32(b, v) }
