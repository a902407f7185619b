package quantize

// large is the block of the types named K.
const large = 256

// A block of Q4_K or Q5_K is eight groups of 32: x ≈ d·s·q - e·m, where q has 4 or 5 bits, the group's s and m 6 bits, and d and e are
// the block's. First each group gets its own best line, then the lines' numbers are rounded to 6 bits, and then, in turns, d and e are
// fitted to all integers together, and each group's s and m to d and e, among their neighbours.

// lines is a block of Q4_K or Q5_K.
type lines struct {
	x, w [large]float64
	d, e float64
	s, m [8]float64 // whole numbers, 0 to 63
	q    [large]float64
	most float64 // of q
}

func (b *lines) group(j int) group { return group{b.x[32*j:][:32], b.w[32*j:][:32]} }

// superLines encodes Q4_K and Q5_K.
func superLines(dst []byte, src []float64, bits int) {
	b := &lines{most: float64(int(1)<<bits - 1)}
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
	for j := range b.s {
		b.round(j)
	}
	b.store(dst, bits)
}

// refinements is how often factors and integers are fitted in turn; more change little.
const refinements = 2

// begin fits each group by itself, and rounds what it found.
func (b *lines) begin() {
	var own [8]line
	for j := range own {
		bySize(b.w[32*j:][:32], b.x[32*j:][:32])
		own[j] = b.group(j).line(b.most, true)
		b.d, b.e = max(b.d, own[j].d/63), max(b.e, own[j].m/63)
	}
	b.d, b.e = rounded(b.d), rounded(b.e)
	for j := range own {
		b.s[j], b.m[j] = whole(own[j].d, b.d), whole(own[j].m, b.e)
		b.round(j)
	}
}

// whole is the nearest of the numbers of 6 bits.
func whole(v, unit float64) float64 {
	if unit == 0 {
		return 0
	}
	return clamp(nearest(v/unit), 0, 63)
}

// round sets the group's q, and returns the group's error.
func (b *lines) round(j int) float64 {
	return b.try(j, b.s[j], b.m[j], b.q[32*j:][:32])
}

// try is the group's error with other s and m; the numbers go into q.
func (b *lines) try(j int, s, m float64, q []float64) float64 {
	d, low := b.d*s, b.e*m
	inverse := 0.0
	if d > 0 {
		inverse = 1 / d
	}
	err, w := 0.0, b.w[32*j:][:32]
	for i, x := range b.x[32*j:][:32] {
		v := clamp(nearest((x+low)*inverse), 0, b.most)
		q[i] = v
		off := x + low - float64(d*v)
		err += float64(w[i] * float64(off*off))
	}
	return err
}

// refit fits d and e to all integers, and tells whether the error got smaller.
func (b *lines) refit() bool {
	var aa, ab, bb, xa, xb float64 // of a = s·q and b = m
	before := 0.0
	for j := range b.s {
		w := b.w[32*j:][:32]
		for i, x := range b.x[32*j:][:32] {
			a, m := b.s[j]*b.q[32*j+i], b.m[j]
			aa += float64(w[i] * float64(a*a))
			ab += float64(w[i] * float64(a*m))
			bb += float64(w[i] * float64(m*m))
			xa += float64(w[i] * float64(x*a))
			xb += float64(w[i] * float64(x*m))
			off := x - float64(b.d*a) + float64(b.e*m)
			before += float64(w[i] * float64(off*off))
		}
	}
	var d, e float64
	switch det := float64(aa*bb) - float64(ab*ab); {
	case det > 1e-9*aa*bb:
		d, e = (float64(bb*xa)-float64(ab*xb))/det, (float64(ab*xa)-float64(aa*xb))/det
	case aa > 0:
		d, e = (xa+float64(b.e*ab))/aa, b.e
	default:
		return false
	}
	if !(d > 0) || e < 0 {
		return false
	}
	old := *b
	b.d, b.e = rounded(d), rounded(e)
	after := 0.0
	for j := range b.s {
		after += b.round(j)
	}
	if !(after < before) {
		*b = old
		return false
	}
	return true
}

// neighbours looks for better integers of the group next to those it has.
func (b *lines) neighbours(j int) {
	var q [32]float64
	s, m := b.s[j], b.m[j]
	least := b.round(j)
	for ds := -1.0; ds <= 1; ds++ {
		for dm := -1.0; dm <= 1; dm++ {
			ts, tm := s+ds, m+dm
			if ds == 0 && dm == 0 || ts < 0 || ts > 63 || tm < 0 || tm > 63 {
				continue
			}
			if err := b.try(j, ts, tm, q[:]); err < least {
				least, b.s[j], b.m[j] = err, ts, tm
				copy(b.q[32*j:], q[:])
			}
		}
	}
}

// store writes d, e, the 6-bit numbers in 12 bytes, of five bits the highest ones, and the low four.
func (b *lines) store(dst []byte, bits int) {
	putHalf(dst, b.d)
	putHalf(dst[2:], b.e)
	six := dst[4:16]
	for j := range 4 { // the first four in the low bits of a byte each, the others' low bits in one, their upper in the first's
		s, m, s4, m4 := byte(b.s[j]), byte(b.m[j]), byte(b.s[4+j]), byte(b.m[4+j])
		six[j], six[4+j], six[8+j] = s|s4>>4<<6, m|m4>>4<<6, s4&15|m4&15<<4
	}
	rest := dst[16:]
	if bits == 5 {
		for i, v := range b.q { // bit j of byte c: column c of group j
			rest[i%32] |= byte(v) >> 4 << (i / 32)
		}
		rest = rest[32:]
	}
	for i, v := range b.q { // groups in pairs, the second in the upper halves
		rest[i/64*32+i%32] |= byte(v) & 15 << (i / 32 % 2 * 4)
	}
}
