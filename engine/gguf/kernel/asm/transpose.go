package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// transpose writes the columns of 16 rows side by side, of each column the first numbers, as many as lanes says; cols is a multiple of 16.
// All 16 rows are read.
//
// SI rows, DX bytes between them, BX three times that, DI columns, R8 bytes between them, R10 and R11 four and twelve times that.
func transpose() {
	TEXT("transpose", NOSPLIT, "func(dst *float32, lanes int, rows *float32, stride, cols int)")
	Pragma("noescape")
	Doc("transpose writes the columns of 16 rows, so many lanes of each.")
	arg("dst", RDI)
	arg("lanes", RCX)
	arg("rows", RSI)
	arg("stride", RDX)
	MOVL(U32(1), EAX)
	SHLL(CL, EAX)
	DECL(EAX)
	KMOVW(EAX, K1)
	MOVQ(RCX, R8)
	SHLQ(U8(2), R8)
	arg("cols", RCX)
	SHLQ(U8(2), RDX)
	LEAQ(Mem{Base: RDX, Index: RDX, Scale: 2}, RBX)
	MOVQ(R8, R10)
	SHLQ(U8(2), R10)
	LEAQ(Mem{Base: R10, Index: R10, Scale: 2}, R11)
	Label("loop")
	MOVQ(RSI, RAX)
	for r := range 16 {
		m := Mem{Base: RAX}
		switch r % 4 {
		case 1:
			m.Index, m.Scale = RDX, 1
		case 2:
			m.Index, m.Scale = RDX, 2
		case 3:
			m.Index, m.Scale = RBX, 1
		}
		VMOVUPS(m, z[r])
		if r%4 == 3 {
			LEAQ(Mem{Base: RAX, Index: RDX, Scale: 4}, RAX)
		}
	}
	for i := 0; i < 16; i += 2 { // pairs of rows
		VUNPCKLPS(z[i+1], z[i], z[16+i])
		VUNPCKHPS(z[i+1], z[i], z[17+i])
	}
	for i := 0; i < 16; i += 4 { // in each quarter of z[i+k] four rows of the quarter's k-th column
		for k := range 2 {
			VUNPCKLPD(z[18+i+k], z[16+i+k], z[i+2*k])
			VUNPCKHPD(z[18+i+k], z[16+i+k], z[i+2*k+1])
		}
	}
	MOVQ(RDI, RAX)
	for k := range 4 {
		VSHUFF32X4(U8(0x88), z[4+k], z[k], Z16)
		VSHUFF32X4(U8(0xdd), z[4+k], z[k], Z17)
		VSHUFF32X4(U8(0x88), z[12+k], z[8+k], Z18)
		VSHUFF32X4(U8(0xdd), z[12+k], z[8+k], Z19)
		VSHUFF32X4(U8(0x88), Z18, Z16, Z20)
		VSHUFF32X4(U8(0x88), Z19, Z17, Z21)
		VSHUFF32X4(U8(0xdd), Z18, Z16, Z22)
		VSHUFF32X4(U8(0xdd), Z19, Z17, Z23)
		VMOVUPS(Z20, K1, Mem{Base: RAX})
		VMOVUPS(Z21, K1, Mem{Base: RAX, Index: R10, Scale: 1})
		VMOVUPS(Z22, K1, Mem{Base: RAX, Index: R10, Scale: 2})
		VMOVUPS(Z23, K1, Mem{Base: RAX, Index: R11, Scale: 1})
		ADDQ(R8, RAX)
	}
	LEAQ(Mem{Base: RDI, Index: R10, Scale: 4}, RDI)
	ADDQ(U8(64), RSI)
	SUBQ(U8(16), RCX)
	JNZ(LabelRef("loop"))
	VZEROUPPER()
	RET()
}
