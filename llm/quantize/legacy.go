package quantize

import "encoding/binary"

// small is the block of the types that are not named K.
const small = 32

// symmetric encodes Q4_0 and Q5_0: x ≈ d·(q - middle), q of so many bits.
func symmetric(dst []byte, src []float64, bits int) {
	var w [small]float64
	g := group{src, bySquare(w[:], src)}
	middle := float64(int(1) << (bits - 1))
	d, _ := g.scale(-middle, middle-1)
	d = rounded(d)
	putHalf(dst, d)
	var q [small]byte
	for i, x := range src {
		q[i] = byte(middle)
		if d != 0 {
			q[i] = byte(clamp(nearest(x/d), -middle, middle-1) + middle)
		}
	}
	pack(dst[2:], &q, bits)
}

// shifted encodes Q4_1 and Q5_1: x ≈ d·q + m, q of so many bits.
func shifted(dst []byte, src []float64, bits int) {
	var w [small]float64
	g := group{src, bySize(w[:], src)}
	most := float64(int(1)<<bits - 1)
	l := g.line(most, false)
	d, m := rounded(l.d), rounded(-l.m)
	putHalf(dst, d)
	putHalf(dst[2:], m)
	var q [small]byte
	for i, x := range src {
		if d != 0 {
			q[i] = byte(clamp(nearest((x-m)/d), 0, most))
		}
	}
	pack(dst[4:], &q, bits)
}

// pack stores the numbers: of five bits the highest ones first, 32 together, then the low four, those of the first half of the
// block in the low halves of the bytes.
func pack(dst []byte, q *[small]byte, bits int) {
	if bits == 5 {
		var high uint32
		for i, v := range q {
			high |= uint32(v>>4) << i
		}
		binary.LittleEndian.PutUint32(dst, high)
		dst = dst[4:]
	}
	for i := range small / 2 {
		dst[i] = q[i]&15 | q[small/2+i]<<4
	}
}

// bytewise encodes Q8_0: x ≈ d·q, q of 8 bits, from -127 on. With so many steps a search for d gains nothing.
func bytewise(dst []byte, src []float64) {
	d := rounded(abs(group{x: src}.peak()) / 127)
	putHalf(dst, d)
	for i, x := range src {
		if d != 0 {
			dst[2+i] = byte(int8(clamp(nearest(x/d), -127, 127)))
		}
	}
}
