package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// quantize writes what quantizeBlock does, for a row of blocks.
func quantize() {
	TEXT("quantize", NOSPLIT, "func(x *float32, blocks int, q, scales *byte, lanes int)")
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

// quantizeArguments loads them: SI floats, CX blocks, DI integers, DX fields, R8 bytes of a field of all lanes, R9 of three, R10 of a block.
func quantizeArguments() {
	arg("x", RSI)
	arg("blocks", RCX)
	arg("q", RDI)
	arg("scales", RDX)
	arg("lanes", R8)
	SHLQ(U8(2), R8)                              // bytes of a field
	LEAQ(Mem{Base: R8, Index: R8, Scale: 2}, R9) // three fields
	LEAQ(Mem{Base: R9, Index: R9, Scale: 1}, R10)
	LEAQ(Mem{Base: R8, Index: R10, Scale: 2}, R10) // a block of all lanes: 13 fields
}

// quantizeFields stores the five fields and ends the loop over blocks: of the sums of a block's first half and of all of it, and of
// the largest / 127, in these X registers. It changes the last two.
func quantizeFields(first, all, largest int) {
	VMOVD(x[first], EAX)
	SHLL(U8(7), EAX)
	NEGL(EAX)
	MOVL(EAX, Mem{Base: RDX, Index: R8, Scale: 4})
	VMOVD(x[all], EAX)
	VCVTDQ2PS(x[all], x[all])
	VMULSS(x[largest], x[all], x[all]) // scale × sum, the scale not yet rounded
	for _, r := range []VecPhysical{x[largest], x[all]} {
		VCVTPS2PH(U8(0), r, r)
		VCVTPH2PS(r, r)
	}
	VMOVSS(x[largest], Mem{Base: RDX})
	VMOVSS(x[all], Mem{Base: RDX, Index: R8, Scale: 1})
	NEGL(EAX)
	SHLL(U8(3), EAX)
	MOVL(EAX, Mem{Base: RDX, Index: R8, Scale: 2})
	SHLL(U8(4), EAX)
	MOVL(EAX, Mem{Base: RDX, Index: R9, Scale: 1})
	ADDQ(U32(128), RSI)
	ADDQ(R10, RDI)
	ADDQ(R10, RDX)
	DECQ(RCX)
	JNZ(LabelRef("block"))
}
