package main

import (
	"fmt"
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// vectorsNarrow writes the element-wise operations for AVX2; n is a multiple of 16, at least 16.
func vectorsNarrow() {
	each := func(name, signature string, pointers []string, before, body, after func()) {
		eachOf("avx2"+name, signature, pointers, 32, before, body, after)
	}
	each("ScaleMul", "func(dst, x, w *float32, n int, scale float32)", []string{"dst", "x", "w"}, func() {
		VBROADCASTSS(param("scale"), Y1)
	}, func() {
		VMULPS(at(RSI), Y1, Y0)
		VMULPS(at(RDX), Y0, Y0)
		VMOVUPS(Y0, at(RDI))
	}, nil)
	each("AddTo", "func(dst, x *float32, n int)", []string{"dst", "x"}, nil, func() {
		VMOVUPS(at(RSI), Y0)
		VADDPS(at(RDI), Y0, Y0)
		VMOVUPS(Y0, at(RDI))
	}, nil)
	each("ScaleBy", "func(x *float32, n int, s float32)", []string{"x"}, func() {
		VBROADCASTSS(param("s"), Y1)
	}, func() {
		VMULPS(at(RDI), Y1, Y0)
		VMOVUPS(Y0, at(RDI))
	}, nil)
	each("SumSquares", "func(x *float32, n int) float32", []string{"x"}, func() {
		VPXOR(Y1, Y1, Y1)
	}, func() {
		VMOVUPS(at(RDI), Y0)
		VFMADD231PS(Y0, Y0, Y1)
	}, func() {
		foldNarrow(1, 2, func(f, to VecPhysical) { VADDPS(f, to, to) })
	})
	each("MaxOf", "func(x *float32, n int) float32", []string{"x"}, func() {
		VMOVUPS(singles(float32(math.Inf(-1))), Y1)
	}, func() {
		VMOVUPS(at(RDI), Y0)
		VMAXPS(Y1, Y0, Y1) // of x and the maximum so far, the latter if x is NaN
	}, func() {
		foldNarrow(1, 2, func(f, to VecPhysical) { VMAXPS(f, to, to) })
	})
	each("ExpSum", "func(x *float32, n int, m float32) float32", []string{"x"}, func() {
		VBROADCASTSS(param("m"), Y5)
		VPXOR(Y1, Y1, Y1)
	}, func() {
		VMOVUPS(at(RDI), Y0)
		VSUBPS(Y5, Y0, Y0)
		expNarrow()
		VMOVUPS(Y0, at(RDI))
		VADDPS(Y0, Y1, Y1)
	}, func() {
		foldNarrow(1, 2, func(f, to VecPhysical) { VADDPS(f, to, to) })
	})
	each("SiluMul", "func(dst, gate, up *float32, n int)", []string{"dst", "gate", "up"}, nil, func() {
		VMOVUPS(at(RSI), Y1)
		VPXOR(Y0, Y0, Y0)
		VSUBPS(Y1, Y0, Y0)
		expNarrow()
		VADDPS(singles(1), Y0, Y0)
		VDIVPS(Y0, Y1, Y0)
		VMULPS(at(RDX), Y0, Y0)
		VMOVUPS(Y0, at(RDI))
	}, nil)
	encodingNarrow(each)
	toF16Narrow()
	indexOfNarrow()
}

// encodingNarrow is encoding for AVX2.
func encodingNarrow(each func(name, signature string, pointers []string, before, body, after func())) {
	each("SumOf", "func(x *float32, n int) float32", []string{"x"}, func() {
		VPXOR(Y1, Y1, Y1)
	}, func() {
		VADDPS(at(RDI), Y1, Y1)
	}, func() {
		foldNarrow(1, 2, func(f, to VecPhysical) { VADDPS(f, to, to) })
	})
	each("SumApart", "func(x *float32, n int, m float32) float32", []string{"x"}, func() {
		VBROADCASTSS(param("m"), Y5)
		VPXOR(Y1, Y1, Y1)
	}, func() {
		VMOVUPS(at(RDI), Y0)
		VSUBPS(Y5, Y0, Y0)
		VFMADD231PS(Y0, Y0, Y1)
	}, func() {
		foldNarrow(1, 2, func(f, to VecPhysical) { VADDPS(f, to, to) })
	})
	each("Center", "func(dst, x, w, b *float32, n int, m, scale float32)", []string{"dst", "x", "w", "b"}, func() {
		VBROADCASTSS(param("m"), Y5)
		VBROADCASTSS(param("scale"), Y6)
	}, func() {
		VMOVUPS(at(RSI), Y0)
		VSUBPS(Y5, Y0, Y0)
		VMULPS(Y6, Y0, Y0)
		VMOVUPS(at(RDX), Y1)
		VFMADD213PS(at(R8), Y1, Y0)
		VMOVUPS(Y0, at(RDI))
	}, nil)
	each("Gelu", "func(x *float32, n int)", []string{"x"}, nil, func() {
		VMOVUPS(at(RDI), Y1)
		VPAND(static32("positive", 0x7fffffff), Y1, Y5)
		VMOVUPS(singles(1), Y8)
		VMOVUPS(singles(geluFactor), Y6)
		VFMADD213PS(Y8, Y5, Y6)
		VDIVPS(Y6, Y8, Y6) // t
		VMULPS(Y1, Y1, Y0)
		VMULPS(singles(-0.5), Y0, Y0)
		expNarrow()
		VMOVUPS(singles(float32(geluTerms[0])), Y7)
		for _, c := range geluTerms[1:] {
			VFMADD213PS(singles(float32(c)), Y6, Y7)
		}
		VMULPS(Y6, Y7, Y7)
		VMULPS(Y0, Y7, Y7)
		VPXOR(Y0, Y0, Y0)
		VMAXPS(Y0, Y1, Y1)
		VFNMADD231PS(Y7, Y5, Y1)
		VMOVUPS(Y1, at(RDI))
	}, nil)
}

// singles is a float eight times over, in memory.
func singles(f float32) Mem {
	bits := math.Float32bits(f)
	return static32(fmt.Sprintf("singles%x", bits), bits)
}

// foldNarrow reduces the 8 lanes of register i to all lanes of its low 128 bits; it changes register t.
func foldNarrow(i, t int, step func(from, to VecPhysical)) {
	VEXTRACTF128(U8(1), y[i], x[t])
	step(x[t], x[i])
	VPERMILPS(U8(0x4e), x[i], x[t])
	step(x[t], x[i])
	VPERMILPS(U8(0xb1), x[i], x[t])
	step(x[t], x[i])
}

// expNarrow is exp for Y0. It changes Y2 to Y4. 2^n is multiplied in two halves, so that subnormal results are rounded once.
func expNarrow() {
	VMOVUPS(singles(-105), Y2)
	VMAXPS(Y0, Y2, Y0) // in this order NaN stays NaN
	VMOVUPS(singles(89), Y2)
	VMINPS(Y0, Y2, Y0)
	VMULPS(singles(math.Log2E), Y0, Y2)
	VROUNDPS(U8(8), Y2, Y2) // to the nearest
	VFNMADD231PS(singles(0.693359375), Y2, Y0)
	VFNMADD231PS(singles(-2.12194440e-4), Y2, Y0)
	VMOVUPS(singles(1.9875691500e-4), Y3)
	for _, c := range []float32{1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1} {
		VFMADD213PS(singles(c), Y0, Y3)
	}
	VMULPS(Y0, Y0, Y4)
	VFMADD213PS(Y0, Y4, Y3)
	VADDPS(singles(1), Y3, Y0)
	VCVTPS2DQ(Y2, Y2)
	VPSRAD(U8(1), Y2, Y3)
	VPSUBD(Y3, Y2, Y2)
	for _, r := range []VecPhysical{Y3, Y2} {
		VPADDD(static32("bias", 127), r, r)
		VPSLLD(U8(23), r, r)
		VMULPS(r, Y0, Y0)
	}
}

func toF16Narrow() {
	TEXT("avx2ToF16", NOSPLIT, "func(dst *uint16, src *float32, n int)")
	Pragma("noescape")
	arg("dst", RDI)
	arg("src", RSI)
	arg("n", RCX)
	Label("loop")
	VMOVUPS(Mem{Base: RSI}, Y0)
	VCVTPS2PH(U8(0), Y0, Mem{Base: RDI})
	ADDQ(U8(32), RSI)
	ADDQ(U8(16), RDI)
	SUBQ(U8(8), RCX)
	JNZ(LabelRef("loop"))
	VZEROUPPER()
	RET()
}

func indexOfNarrow() {
	TEXT("avx2IndexOf", NOSPLIT, "func(x *float32, n int, e float32) int")
	Pragma("noescape")
	Doc("avx2IndexOf is the index of the first element equal to e, or n.")
	arg("x", RDI)
	arg("n", RCX)
	VBROADCASTSS(param("e"), Y1)
	XORQ(RBX, RBX)
	Label("loop")
	VCMPPS(U8(0), Mem{Base: RDI, Index: RBX, Scale: 4}, Y1, Y0)
	VMOVMSKPS(Y0, EAX)
	TESTL(EAX, EAX)
	JNZ(LabelRef("hit"))
	ADDQ(U8(8), RBX)
	CMPQ(RBX, RCX)
	JB(LabelRef("loop"))
	JMP(LabelRef("end"))
	Label("hit")
	BSFL(EAX, EAX)
	ADDQ(RAX, RBX)
	Label("end")
	Store(RBX, ReturnIndex(0))
	VZEROUPPER()
	RET()
}

// quantizeNarrow is quantize for AVX2.
func quantizeNarrow() {
	TEXT("avx2Quantize", NOSPLIT, "func(x *float32, blocks int, q *byte, lanes int)")
	Pragma("noescape")
	Doc("avx2Quantize rounds a row to blocks of 32 int8 with their five fields, among so many lanes.")
	quantizeArguments()
	VMOVDQU(table("order", 0, 4, 1, 5, 2, 6, 3, 7), Y15)
	VMOVSS(singles(127), X14)
	VPXOR(Y13, Y13, Y13)
	Label("block")
	for i := range 4 {
		VMOVUPS(Mem{Base: RSI, Disp: 32 * i}, y[i])
		VPAND(static32("positive", 0x7fffffff), y[i], y[4+i])
	}
	VMAXPS(Y5, Y4, Y4)
	VMAXPS(Y7, Y6, Y6)
	VMAXPS(Y6, Y4, Y4)
	foldNarrow(4, 5, func(f, to VecPhysical) { VMAXPS(f, to, to) })
	VDIVSS(X4, X14, X5) // 127 / most, or 0
	VCMPPS(U8(4), X13, X4, X6)
	VANDPS(X6, X5, X5)
	VDIVSS(X14, X4, X4) // most / 127
	VBROADCASTSS(X5, Y5)
	for i := range 4 {
		VMULPS(Y5, y[i], y[i])
		VCVTPS2DQ(y[i], y[i])
	}
	VPACKSSDW(Y1, Y0, Y6)
	VPACKSSDW(Y3, Y2, Y7)
	VPACKSSWB(Y7, Y6, Y6)
	VPERMD(Y6, Y15, Y6)
	VMOVDQU(Y6, Mem{Base: RDI})
	VPADDD(Y1, Y0, Y0)
	VPADDD(Y3, Y2, Y2)
	VPADDD(Y0, Y2, Y1)
	for _, i := range []int{0, 1} { // the sum of the first half, and of all
		foldNarrow(i, 3, func(f, to VecPhysical) { VPADDD(f, to, to) })
	}
	quantizeFields(0, 1, 4)
	VZEROUPPER()
	RET()
}

// attentionNarrow writes the two products of attention for AVX2.
func attentionNarrow() {
	for _, c := range cells {
		for _, rows := range []int{1, 2, 3, 4, 6} {
			c.scoresNarrow(rows)
			c.weighNarrow(rows)
		}
	}
}

// scoresNarrow is scores; a group of 16 cells is two registers. Y0 to Y11 hold the sums, then come the keys, Y15 is a query.
func (c cell) scoresNarrow(rows int) {
	TEXT(c.of("avx2", "Scores", rows), NOSPLIT,
		"func(dst *float32, dstStride int, q *float32, qStride int, k *"+c.element()+", groups, dim int, scale float32, mask uint64)")
	Pragma("noescape")
	arg("dst", RDX)
	arg("dstStride", RCX)
	arg("q", RDI)
	arg("qStride", R8)
	arg("k", RSI)
	arg("groups", R10)
	arg("dim", R9)
	MOVQ(R9, R11)
	SHLQ(U8(4+c.shift), R11)
	LEAQ(Mem{Base: R8, Index: R8, Scale: 2}, RBX)
	first := 1
	if rows <= 2 {
		first = 2
	}
	for side := first; side >= 1; side /= 2 {
		loop, next := fmt.Sprintf("by%d", side), fmt.Sprintf("past%d", side)
		Label(loop)
		CMPQ(R10, U8(uint8(side)))
		JB(LabelRef(next))
		c.scoreGroupsNarrow(rows, side)
		SUBQ(U8(uint8(side)), R10)
		JMP(LabelRef(loop))
		Label(next)
	}
	VZEROUPPER()
	RET()
}

func (c cell) scoreGroupsNarrow(rows, side int) {
	n := 2 * side // registers of a row
	for i := range rows * n {
		VPXOR(y[i], y[i], y[i])
	}
	MOVQ(RDI, R12)
	LEAQ(Mem{Base: RDI, Index: R8, Scale: 4}, R13)
	MOVQ(R9, R15)
	inner := fmt.Sprintf("dim%d", side)
	Label(inner)
	for i := range n {
		m := Mem{Base: RSI, Disp: 8 * c.bytes * (i % 2)}
		if i >= 2 {
			m.Index, m.Scale = R11, 1
		}
		c.load(m, y[rows*n+i])
	}
	for r := range rows {
		VBROADCASTSS(strided(r), Y15)
		for i := range n {
			VFMADD231PS(Y15, y[rows*n+i], y[r*n+i])
		}
	}
	ADDQ(U8(uint8(16*c.bytes)), RSI)
	ADDQ(U8(4), R12)
	ADDQ(U8(4), R13)
	DECQ(R15)
	JNZ(LabelRef(inner))
	VBROADCASTSS(param("scale"), Y15)
	for i := range rows * n {
		VMULPS(Y15, y[i], y[i])
	}
	rowsNarrow := func(put func(r int, m Mem)) {
		MOVQ(RDX, RAX)
		for r := range rows {
			put(r, Mem{Base: RAX})
			if r < rows-1 {
				ADDQ(RCX, RAX)
			}
		}
	}
	if side == 1 { // a part of a group comes alone
		arg("mask", R12)
		CMPQ(R12, U32(0xffff))
		JE(LabelRef("whole"))
		VPBROADCASTD(param("mask"), Y15)
		for h := range 2 {
			bits := table(fmt.Sprint("bits", h), 1<<(8*h), 2<<(8*h), 4<<(8*h), 8<<(8*h), 16<<(8*h), 32<<(8*h), 64<<(8*h), 128<<(8*h))
			VPAND(bits, Y15, y[13+h])
			VPCMPEQD(bits, y[13+h], y[13+h])
		}
		rowsNarrow(func(r int, m Mem) {
			VMASKMOVPS(y[2*r], Y13, m)
			VMASKMOVPS(y[2*r+1], Y14, m.Offset(32))
		})
		JMP(LabelRef("stored"))
		Label("whole")
	}
	rowsNarrow(func(r int, m Mem) {
		for i := range n {
			VMOVUPS(y[r*n+i], m.Offset(32*i))
		}
	})
	if side == 1 {
		Label("stored")
	}
	ADDQ(U32(uint32(64*side)), RDX)
	for range side - 1 {
		ADDQ(R11, RSI)
	}
}

// weighNarrow is weigh, 8 dimensions a register. The sums come first, then the values; Y15 is a weight.
func (c cell) weighNarrow(rows int) {
	TEXT(c.of("avx2", "Weigh", rows), NOSPLIT,
		"func(dst *float32, dstStride int, p *float32, pStride int, v *"+c.element()+", cells, dim int)")
	Pragma("noescape")
	arg("dst", RDX)
	arg("dstStride", RCX)
	arg("p", RDI)
	arg("pStride", R8)
	arg("v", RSI)
	arg("cells", R10)
	arg("dim", R11)
	MOVQ(R11, R9)
	SHLQ(U8(c.shift), R9)
	LEAQ(Mem{Base: R8, Index: R8, Scale: 2}, RBX)
	first := 2
	if rows <= 2 {
		first = 4
	}
	for side := first; side >= 2; side /= 2 {
		loop, next := fmt.Sprintf("by%d", side), fmt.Sprintf("past%d", side)
		Label(loop)
		CMPQ(R11, U8(uint8(8*side)))
		JB(LabelRef(next))
		c.weighStepNarrow(rows, side)
		SUBQ(U8(uint8(8*side)), R11)
		JMP(LabelRef(loop))
		Label(next)
	}
	VZEROUPPER()
	RET()
}

func (c cell) weighStepNarrow(rows, side int) {
	each := func(f func(sum VecPhysical, m Mem)) {
		MOVQ(RDX, RAX)
		for r := range rows {
			for s := range side {
				f(y[r*side+s], Mem{Base: RAX, Disp: 32 * s})
			}
			if r < rows-1 {
				ADDQ(RCX, RAX)
			}
		}
	}
	each(func(sum VecPhysical, m Mem) { VMOVUPS(m, sum) })
	MOVQ(RSI, RAX)
	MOVQ(RDI, R12)
	LEAQ(Mem{Base: RDI, Index: R8, Scale: 4}, R13)
	MOVQ(R10, R15)
	inner := fmt.Sprintf("cell%d", side)
	Label(inner)
	for s := range side {
		c.load(Mem{Base: RAX, Disp: 8 * c.bytes * s}, y[rows*side+s])
	}
	for r := range rows {
		VBROADCASTSS(strided(r), Y15)
		for s := range side {
			VFMADD231PS(Y15, y[rows*side+s], y[r*side+s])
		}
	}
	ADDQ(R9, RAX)
	ADDQ(U8(4), R12)
	ADDQ(U8(4), R13)
	DECQ(R15)
	JNZ(LabelRef(inner))
	each(func(sum VecPhysical, m Mem) { VMOVUPS(sum, m) })
	ADDQ(U32(uint32(32*side)), RDX)
	ADDQ(U32(uint32(8*c.bytes*side)), RSI)
}
