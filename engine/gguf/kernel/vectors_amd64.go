package kernel

// What follows chooses between the kernels of AVX-512 and those of AVX2 by calls that the compiler sees through: what they are given
// stays on the stack.

func (o Ops) quantize(x *float32, blocks int, q *byte, lanes int) {
	if o.isa == avx512 {
		quantize(x, blocks, q, lanes)
	} else {
		avx2Quantize(x, blocks, q, lanes)
	}
}

func (o Ops) scaleMul(dst, x, w *float32, n int, scale float32) {
	if o.isa == avx512 {
		scaleMul(dst, x, w, n, scale)
	} else {
		avx2ScaleMul(dst, x, w, n, scale)
	}
}

func (o Ops) sumSquares(x *float32, n int) float32 {
	if o.isa == avx512 {
		return sumSquares(x, n)
	}
	return avx2SumSquares(x, n)
}

func (o Ops) addTo(dst, x *float32, n int) {
	if o.isa == avx512 {
		addTo(dst, x, n)
	} else {
		avx2AddTo(dst, x, n)
	}
}

func (o Ops) siluMul(dst, gate, up *float32, n int) {
	if o.isa == avx512 {
		siluMul(dst, gate, up, n)
	} else {
		avx2SiluMul(dst, gate, up, n)
	}
}

func (o Ops) maxOf(x *float32, n int) float32 {
	if o.isa == avx512 {
		return maxOf(x, n)
	}
	return avx2MaxOf(x, n)
}

func (o Ops) expSum(x *float32, n int, m float32) float32 {
	if o.isa == avx512 {
		return expSum(x, n, m)
	}
	return avx2ExpSum(x, n, m)
}

func (o Ops) scaleBy(x *float32, n int, s float32) {
	if o.isa == avx512 {
		scaleBy(x, n, s)
	} else {
		avx2ScaleBy(x, n, s)
	}
}

func (o Ops) toF16(dst *uint16, src *float32, n int) {
	if o.isa == avx512 {
		toF16(dst, src, n)
	} else {
		avx2ToF16(dst, src, n)
	}
}

func (o Ops) rotateBlocks(x *float32, blocks int) {
	if o.isa == avx512 {
		rotate(x, blocks)
	} else {
		avx2Rotate(x, blocks)
	}
}

func (o Ops) toBF16(dst *uint16, src *float32, n int) {
	if o.isa == avx512 {
		toBF16(dst, src, n)
	} else {
		avx2ToBF16(dst, src, n)
	}
}

func (o Ops) indexOf(x *float32, n int, e float32) int {
	if o.isa == avx512 {
		return indexOf(x, n, e)
	}
	return avx2IndexOf(x, n, e)
}

func (o Ops) sumOf(x *float32, n int) float32 {
	if o.isa == avx512 {
		return sumOf(x, n)
	}
	return avx2SumOf(x, n)
}

func (o Ops) sumApart(x *float32, n int, m float32) float32 {
	if o.isa == avx512 {
		return sumApart(x, n, m)
	}
	return avx2SumApart(x, n, m)
}

func (o Ops) center(dst, x, w, b *float32, n int, m, scale float32) {
	if o.isa == avx512 {
		center(dst, x, w, b, n, m, scale)
	} else {
		avx2Center(dst, x, w, b, n, m, scale)
	}
}

func (o Ops) gelu(x *float32, n int) {
	if o.isa == avx512 {
		gelu(x, n)
	} else {
		avx2Gelu(x, n)
	}
}

func (o Ops) transpose(dst *float32, lanes int, rows *float32, stride, cols int) {
	transpose(dst, lanes, rows, stride, cols)
}
