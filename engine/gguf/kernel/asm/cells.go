package main

import (
	"fmt"
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// cellsOf8 writes what weighs values of 8 bits. Their keys are tiles of a matrix: see the form Cells8.
func cellsOf8() {
	for _, rows := range []int{1, 2, 3, 4, 6} {
		weigh8(rows)
		weigh8Narrow(rows)
	}
}

const weigh8Signature = "func(dst *float32, dstStride int, p *float32, pStride int, v *byte, cells, dim int, room *float32)"

// weigh8Arguments loads them. SI values, R9 bytes between cells, DI weights, R8 bytes between their rows, DX dst, CX bytes between its rows,
// R11 dimensions left. Later AX is at a value, R12 at 16 weights, R13 at a group's scales, R14 at the weights times these, R15 counts the cells
// that are left, BX those of a group.
func weigh8Arguments() {
	Pragma("noescape")
	arg("dst", RDX)
	arg("dstStride", RCX)
	arg("p", RDI)
	arg("pStride", R8)
	arg("v", RSI)
	arg("dim", R9)
	MOVQ(R9, R11)
}

// weigh8 writes dst += p·v for values of 8 bits, 64 dimensions at a time, then 32. Of 16 cells the weights are first multiplied by
// the values' scales, for each 32 dimensions, so that the loop over cells is that of other values.
//
// Z0 to Z23 hold the sums, row after row; Z24 to Z27 a value.
func weigh8(rows int) {
	TEXT(fmt.Sprintf("weighCells8x%d", rows), NOSPLIT, weigh8Signature)
	weigh8Arguments()
	for side := 4; side >= 2; side /= 2 {
		loop, next := fmt.Sprintf("by%d", side), fmt.Sprintf("past%d", side)
		Label(loop)
		CMPQ(R11, U8(uint8(16*side)))
		JB(LabelRef(next))
		step8(&step8of{
			name: fmt.Sprint(side), rows: rows, side: side, width: 64, registers: z,
			scale: func() {
				for b := range side / 2 {
					VCVTPH2PS(Mem{Base: R13, Disp: 32 * b}, z[28+b])
				}
				for r := range rows {
					VMOVUPS(Mem{Base: RBX}, Z30)
					for b := range side / 2 {
						VMULPS(z[28+b], Z30, Z31)
						VMOVUPS(Z31, Mem{Base: R14, Disp: 64 * (2*r + b)})
					}
					ADDQ(R8, RBX)
				}
			},
			add: func() {
				for s := range side {
					VPMOVSXBD(Mem{Base: RAX, Disp: 16 * s}, z[24+s])
					VCVTDQ2PS(z[24+s], z[24+s])
				}
				for r := range rows {
					for s := range side {
						VFMADD231PS_BCST(Mem{Base: R14, Disp: 64 * (2*r + s/2)}, z[24+s], z[r*side+s])
					}
				}
			},
		})
		ADDQ(U32(uint32(64*side)), RDX)
		ADDQ(U8(uint8(16*side)), RSI)
		SUBQ(U8(uint8(16*side)), R11)
		JMP(LabelRef(loop))
		Label(next)
	}
	VZEROUPPER()
	RET()
}

// weigh8Narrow is weigh8 for AVX2, 32 dimensions at a time, or twice 16. The sums come first, then the values; Y15 is a weight.
func weigh8Narrow(rows int) {
	TEXT(fmt.Sprintf("avx2WeighCells8x%d", rows), NOSPLIT, weigh8Signature)
	weigh8Arguments()
	side := 2
	if rows <= 2 {
		side = 4
	}
	Label("by32")
	for from := 0; from < 4; from += side {
		step8(&step8of{
			name: fmt.Sprint(from), rows: rows, side: side, width: 32, registers: y,
			scale: func() {
				for h := range 2 {
					VCVTPH2PS(Mem{Base: R13, Disp: 16*h - 8*from}, y[12+h])
				}
				for r := range rows {
					for h := range 2 {
						VMULPS(Mem{Base: RBX, Disp: 32 * h}, y[12+h], Y14)
						VMOVUPS(Y14, Mem{Base: R14, Disp: 64*2*r + 32*h})
					}
					ADDQ(R8, RBX)
				}
			},
			add: func() {
				for s := range side {
					VPMOVSXBD(Mem{Base: RAX, Disp: 8 * s}, y[rows*side+s])
					VCVTDQ2PS(y[rows*side+s], y[rows*side+s])
				}
				for r := range rows {
					VBROADCASTSS(Mem{Base: R14, Disp: 64 * 2 * r}, Y15)
					for s := range side {
						VFMADD231PS(Y15, y[rows*side+s], y[r*side+s])
					}
				}
			},
		})
		ADDQ(U32(uint32(32*side)), RDX)
		ADDQ(U8(uint8(8*side)), RSI)
	}
	SUBQ(U8(32), R11)
	JNZ(LabelRef("by32"))
	VZEROUPPER()
	RET()
}

// step8of is one step of some dimensions: scale multiplies the weights of 16 cells by scales, add adds one cell.
type step8of struct {
	name       string
	rows, side int
	width      int // of a register, in bytes
	registers  []VecPhysical
	scale, add func()
}

func step8(k *step8of) {
	each := func(f func(sum VecPhysical, m Mem)) {
		MOVQ(RDX, RAX)
		for r := range k.rows {
			for s := range k.side {
				f(k.registers[r*k.side+s], Mem{Base: RAX, Disp: k.width * s})
			}
			if r < k.rows-1 {
				ADDQ(RCX, RAX)
			}
		}
	}
	each(func(sum VecPhysical, m Mem) { VMOVUPS(m, sum) })
	MOVQ(RSI, RAX)
	MOVQ(RDI, R12)
	arg("cells", R15)
	arg("room", R14)
	Label("group" + k.name)
	MOVQ(R9, R13)
	SHLQ(U8(4), R13)
	ADDQ(RAX, R13) // as many bytes behind a group's values as these dimensions are behind its first
	MOVQ(R12, RBX)
	k.scale()
	MOVQ(U32(16), RBX)
	CMPQ(R15, U8(16))
	CMOVQLT(R15, RBX)
	Label("cell" + k.name)
	k.add()
	ADDQ(R9, RAX)
	ADDQ(U8(4), R14)
	DECQ(RBX)
	JNZ(LabelRef("cell" + k.name))
	SUBQ(U8(64), R14)
	ADDQ(R9, RAX) // past the scales
	ADDQ(U8(64), R12)
	SUBQ(U8(16), R15)
	JGT(LabelRef("group" + k.name))
	each(func(sum VecPhysical, m Mem) { VMOVUPS(sum, m) })
}

// toBF16 rounds to the nearest bf16, ties to even; NaN stays NaN.
func toBF16() {
	TEXT("toBF16", NOSPLIT, "func(dst *uint16, src *float32, n int)")
	Pragma("noescape")
	arg("dst", RDI)
	arg("src", RSI)
	arg("n", RCX)
	for i, v := range []uint32{1, 0x7fff, 0x40} {
		MOVL(U32(v), EAX)
		VPBROADCASTD(EAX, z[29+i])
	}
	Label("loop")
	VMOVUPS(Mem{Base: RSI}, Z0)
	VPSRLD(U8(16), Z0, Z1)
	VPANDD(Z29, Z1, Z2)
	VPADDD(Z30, Z2, Z2)
	VPADDD(Z0, Z2, Z2)
	VPSRLD(U8(16), Z2, Z2)
	VCMPPS(U8(3), Z0, Z0, K1)
	VPORD(Z31, Z1, K1, Z2)
	VPMOVDW(Z2, Mem{Base: RDI})
	ADDQ(U8(64), RSI)
	ADDQ(U8(32), RDI)
	SUBQ(U8(16), RCX)
	JNZ(LabelRef("loop"))
	VZEROUPPER()
	RET()
}

func toBF16Narrow() {
	TEXT("avx2ToBF16", NOSPLIT, "func(dst *uint16, src *float32, n int)")
	Pragma("noescape")
	arg("dst", RDI)
	arg("src", RSI)
	arg("n", RCX)
	Label("loop")
	VMOVUPS(Mem{Base: RSI}, Y0)
	VPSRLD(U8(16), Y0, Y1)
	VPAND(static32("one", 1), Y1, Y2)
	VPADDD(static32("roundBF16", 0x7fff), Y2, Y2)
	VPADDD(Y0, Y2, Y2)
	VPSRLD(U8(16), Y2, Y2)
	VCMPPS(U8(3), Y0, Y0, Y3)
	VPOR(static32("quietBF16", 0x40), Y1, Y1)
	VPBLENDVB(Y3, Y1, Y2, Y2)
	VPACKUSDW(Y2, Y2, Y2)
	VPERMQ(U8(8), Y2, Y2)
	VMOVDQU(X2, Mem{Base: RDI})
	ADDQ(U8(32), RSI)
	ADDQ(U8(16), RDI)
	SUBQ(U8(8), RCX)
	JNZ(LabelRef("loop"))
	VZEROUPPER()
	RET()
}

// rotate multiplies each 32 floats by a Hadamard matrix and 1/√32, which is its own inverse: butterflies over the distances 16, 8, 4, 2 and 1.
func rotate() {
	TEXT("rotate", NOSPLIT, "func(x *float32, blocks int)")
	Pragma("noescape")
	arg("x", RSI)
	arg("blocks", RCX)
	for i, lanes := range []uint32{0xff00, 0xf0f0, 0xcccc, 0xaaaa} {
		MOVL(U32(lanes), EAX)
		KMOVW(EAX, []Register{K1, K2, K3, K4}[i])
	}
	constant(1/math.Sqrt(32), Z31)
	Label("block")
	VMOVUPS(Mem{Base: RSI}, Z0)
	VMOVUPS(Mem{Base: RSI, Disp: 64}, Z2)
	VSUBPS(Z2, Z0, Z1)
	VADDPS(Z2, Z0, Z0)
	for i, k := range []Register{K1, K2, K3, K4} {
		for r := range 2 {
			switch i {
			case 0:
				VSHUFF32X4(U8(0x4e), z[r], z[r], z[4+r])
			case 1:
				VSHUFF32X4(U8(0xb1), z[r], z[r], z[4+r])
			case 2:
				VPERMILPS(U8(0x4e), z[r], z[4+r])
			default:
				VPERMILPS(U8(0xb1), z[r], z[4+r])
			}
			VADDPS(z[r], z[4+r], z[6+r])
			VSUBPS(z[r], z[4+r], k, z[6+r])
			VMOVAPS(z[6+r], z[r])
		}
	}
	for r := range 2 {
		VMULPS(Z31, z[r], z[r])
		VMOVUPS(z[r], Mem{Base: RSI, Disp: 64 * r})
	}
	ADDQ(U32(128), RSI)
	DECQ(RCX)
	JNZ(LabelRef("block"))
	VZEROUPPER()
	RET()
}

func rotateNarrow() {
	TEXT("avx2Rotate", NOSPLIT, "func(x *float32, blocks int)")
	Pragma("noescape")
	arg("x", RSI)
	arg("blocks", RCX)
	Label("block")
	for r := range 4 {
		VMOVUPS(Mem{Base: RSI, Disp: 32 * r}, y[r])
	}
	for _, pair := range [][2]int{{0, 2}, {1, 3}, {0, 1}, {2, 3}} {
		a, b := y[pair[0]], y[pair[1]]
		VSUBPS(b, a, Y4)
		VADDPS(b, a, a)
		VMOVAPS(Y4, b)
	}
	for i, lanes := range []uint8{0xf0, 0xcc, 0xaa} {
		for r := range 4 {
			switch i {
			case 0:
				VPERM2F128(U8(1), y[r], y[r], y[4+r])
			case 1:
				VPERMILPS(U8(0x4e), y[r], y[4+r])
			default:
				VPERMILPS(U8(0xb1), y[r], y[4+r])
			}
			VADDPS(y[r], y[4+r], y[8+r])
			VSUBPS(y[r], y[4+r], y[r])
			VBLENDPS(U8(lanes), y[r], y[8+r], y[r])
		}
	}
	for r := range 4 {
		VMULPS(singles(float32(1/math.Sqrt(32))), y[r], y[r])
		VMOVUPS(y[r], Mem{Base: RSI, Disp: 32 * r})
	}
	ADDQ(U32(128), RSI)
	DECQ(RCX)
	JNZ(LabelRef("block"))
	VZEROUPPER()
	RET()
}
