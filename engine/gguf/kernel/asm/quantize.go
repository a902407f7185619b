package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// quantize writes what quantizeBlock does, for a row of blocks.
func quantize() {
	TEXT("quantize", NOSPLIT, "func(x *float32, blocks int, q *byte, lanes int)")
	Pragma("noescape")
	Doc("quantize rounds a row to blocks of 32 int8 with their five fields, among so many lanes.")
	quantizeArguments()
	MOVL(U32(0x7fffffff), EAX)
	VPBROADCASTD(EAX, Z31)
	constant(127, Z30)
	VPXORD(Z29, Z29, Z29)
	Label("block")
	VMOVUPS(Mem{Base: RSI}, Z0)
	VMOVUPS(Mem{Base: RSI, Disp: 64}, Z1)
	VPANDD(Z31, Z0, Z2)
	VPANDD(Z31, Z1, Z3)
	VMAXPS(Z3, Z2, Z2)
	foldMax(2, 3)
	VDIVSS(X30, X2, X4) // most / 127
	VCMPPS(U8(4), Z29, Z2, K1)
	VDIVSS_Z(X2, X30, K1, X5) // 127 / most, or 0
	VBROADCASTSS(X5, Z5)
	VMULPS(Z5, Z0, Z0)
	VMULPS(Z5, Z1, Z1)
	VCVTPS2DQ(Z0, Z0)
	VCVTPS2DQ(Z1, Z1)
	VPMOVDB(Z0, Mem{Base: RDI})
	VPMOVDB(Z1, Mem{Base: RDI, Disp: 16})
	VPADDD(Z1, Z0, Z1)
	foldInt(0, 3) // the sum of the first half, and of all
	foldInt(1, 3)
	quantizeFields(0, 1, 4)
	VZEROUPPER()
	RET()
}

// quantizeArguments loads them: SI floats, CX blocks, DI the first record, R10 the bytes from one to the next.
func quantizeArguments() {
	arg("x", RSI)
	arg("blocks", RCX)
	arg("q", RDI)
	arg("lanes", R10)
	SHLQ(U8(6), R10) // of 64 bytes each
}

// quantizeFields stores the five fields and ends the loop over blocks: of the sums of a block's first half and of all of it, and of
// the largest / 127, in these X registers. It changes the last two.
func quantizeFields(first, all, largest int) {
	VMOVD(x[first], EAX)
	SHLL(U8(7), EAX)
	NEGL(EAX)
	MOVL(EAX, Mem{Base: RDI, Disp: 48})
	VMOVD(x[all], EAX)
	VCVTDQ2PS(x[all], x[all])
	VMULSS(x[largest], x[all], x[all]) // scale × sum, the scale not yet rounded
	for _, r := range []VecPhysical{x[largest], x[all]} {
		VCVTPS2PH(U8(0), r, r)
		VCVTPH2PS(r, r)
	}
	VMOVSS(x[largest], Mem{Base: RDI, Disp: 32})
	VMOVSS(x[all], Mem{Base: RDI, Disp: 36})
	NEGL(EAX)
	SHLL(U8(3), EAX)
	MOVL(EAX, Mem{Base: RDI, Disp: 40})
	SHLL(U8(4), EAX)
	MOVL(EAX, Mem{Base: RDI, Disp: 44})
	ADDQ(U32(128), RSI)
	ADDQ(R10, RDI)
	DECQ(RCX)
	JNZ(LabelRef("block"))
}
