package quantize

// A block of Q6_K is sixteen groups of 16: x ≈ d·s·q, where q has 6 bits and the group's s 8, both with a sign, and d is the block's.

// scales is a block of Q6_K.
type scales struct {
	x, w [large]float64
	d    float64
	s    [16]float64 // whole numbers, -128 to 127
	q    [large]float64
}

func (b *scales) group(j int) group { return group{b.x[16*j:][:16], b.w[16*j:][:16]} }

// superScales encodes Q6_K.
func superScales(dst []byte, src []float64) {
	b := &scales{}
	copy(b.x[:], src)
	b.begin()
	for range refinements {
		if !b.refit() {
			break
		}
		for j := range b.s {
			b.neighbours(j)
		}
	}
	b.store(dst)
}

// begin fits each group by itself, and rounds the scales.
func (b *scales) begin() {
	var own [16]float64
	most := 0.0
	for j := range own {
		bySquare(b.w[16*j:][:16], b.x[16*j:][:16])
		own[j], _ = b.group(j).scale(-32, 31)
		most = max(most, abs(own[j]))
	}
	b.d = rounded(most / 127)
	for j := range own {
		if b.d > 0 {
			b.s[j] = clamp(nearest(own[j]/b.d), -128, 127)
		}
		b.try(j, b.s[j], b.q[16*j:][:16])
	}
}

// try is the group's error with another s; the numbers go into q.
func (b *scales) try(j int, s float64, q []float64) float64 {
	d := b.d * s
	inverse := 0.0
	if d != 0 {
		inverse = 1 / d
	}
	err, w := 0.0, b.w[16*j:][:16]
	for i, x := range b.x[16*j:][:16] {
		v := clamp(nearest(x*inverse), -32, 31)
		q[i] = v
		off := x - float64(d*v)
		err += float64(w[i] * float64(off*off))
	}
	return err
}

// refit fits d to all integers, and tells whether the error got smaller.
func (b *scales) refit() bool {
	var aa, xa, before float64
	for j := range b.s {
		w := b.w[16*j:][:16]
		for i, x := range b.x[16*j:][:16] {
			a := b.s[j] * b.q[16*j+i]
			aa += float64(w[i] * float64(a*a))
			xa += float64(w[i] * float64(x*a))
			off := x - float64(b.d*a)
			before += float64(w[i] * float64(off*off))
		}
	}
	if !(aa > 0) {
		return false
	}
	old := *b
	b.d = rounded(xa / aa)
	after := 0.0
	for j := range b.s {
		after += b.try(j, b.s[j], b.q[16*j:][:16])
	}
	if !(after < before) {
		*b = old
		return false
	}
	return true
}

// neighbours looks for a better integer of the group next to the one it has.
func (b *scales) neighbours(j int) {
	var q [16]float64
	s := b.s[j]
	least := b.try(j, s, q[:])
	for _, other := range [2]float64{s - 1, s + 1} {
		if other < -128 || other > 127 {
			continue
		}
		if err := b.try(j, other, q[:]); err < least {
			least, b.s[j] = err, other
			copy(b.q[16*j:], q[:])
		}
	}
}

// store writes the numbers' low four bits, their upper two, the scales, and d. Of each half of the block its four quarters of 32
// columns share the bytes: the low bits in pairs (the first and the third quarter, the second and the fourth), the upper two of all.
func (b *scales) store(dst []byte) {
	for i, v := range b.q {
		u := byte(v + 32)
		half, quarter, c := i/128, i/32%4, i%32
		dst[64*half+quarter%2*32+c] |= u & 15 << (quarter / 2 * 4)
		dst[128+32*half+c] |= u >> 4 << (2 * quarter)
	}
	for j, s := range b.s {
		dst[192+j] = byte(int8(s))
	}
	putHalf(dst[208:], b.d)
}
