package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/ir"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// few is the most tokens of one kernel for AVX2: 4 sums, 4 integer sums of a block, 4 of 16 bits, and 4 registers for the rest.
const few = 4

const narrowSignature = "func(w *byte, tiles, blocks int, acts *byte, lanes int, y *float32, ld int)"

// multiplyNarrow writes the kernels of AVX2, with AVX-VNNI and without: for each form and number of tokens a run of tiles times some
// tokens of a lane group. Of each tile the upper 8 rows come first, then the lower.
//
// Y0 to Y3 hold a token's sums over the blocks, Y4 to Y7 the integer sums of one block, Y8 to Y11 those of 16 bits, Y12 weights, Y13 to
// Y15 are for the rest. R8 tile, SI weights, AX scales, R12 head, BX 0 or 16 for the upper or lower rows, DI activations,
// CX bytes of a block of all lanes, R9 blocks left, R10 tiles left, DX y.
func multiplyNarrow() {
	for _, vnni := range []bool{false, true} {
		for _, f := range forms {
			for n := 1; n <= few; n++ {
				(&narrow{form: f, tokens: n, vnni: vnni}).write()
			}
		}
	}
	for f := range wholes {
		for n := 1; n <= few; n++ {
			narrowFloats(f, n)
		}
	}
}

type narrow struct {
	form
	tokens int
	vnni   bool
}

func (k *narrow) write() {
	set := "avx2"
	if k.vnni {
		set = "vnni"
	}
	name := fmt.Sprintf("%sMul%sx%d", set, k.name, k.tokens)
	TEXT(name, NOSPLIT, narrowSignature)
	Pragma("noescape")
	Doc(fmt.Sprintf("%s multiplies tiles of %s by %d tokens of so many lanes; ld in bytes; whole tiles are stored.", name, k.name, k.tokens))
	arg("w", R8)
	arg("tiles", R10)
	arg("lanes", RCX)
	arg("y", RDX)
	SHLQ(U8(6), RCX) // records of 64
	Label("tile")
	XORQ(RBX, RBX)
	Label("half")
	for t := range k.tokens {
		VPXOR(y[t], y[t], y[t])
	}
	arg("acts", RDI)
	arg("blocks", R9)
	LEAQ(Mem{Base: R8, Index: RBX, Scale: 2}, RSI)
	LEAQ(Mem{Base: R8, Index: RBX, Scale: 1, Disp: k.scales}, RAX)
	if k.head > 0 {
		SHRQ(U8(1), RBX) // scales of a byte
		SUBQ(RBX, RAX)
		SHLQ(U8(1), RBX)
	}
	Label("block")
	if k.head > 0 {
		TESTQ(U32(7), R9)
		JNZ(LabelRef("within"))
		MOVQ(RSI, R12)
		SUBQ(RBX, R12)
		ADDQ(U8(uint8(k.head)), RSI)
		ADDQ(U8(uint8(k.head)), RAX)
		Label("within")
	}
	for at := 0; at < k.size && !k.near; at += 64 {
		PREFETCHT0(Mem{Base: RSI, Disp: ahead + at})
	}
	if k.bits == 6 {
		k.part(0, 4)
		k.part(4, 8)
	} else {
		k.part(0, 8)
	}
	ADDQ(U32(uint32(k.size)), RSI)
	ADDQ(U32(uint32(k.size)), RAX)
	ADDQ(RCX, RDI)
	DECQ(R9)
	JNZ(LabelRef("block"))
	arg("ld", R12)
	MOVQ(RDX, R9)
	for t := range k.tokens {
		VMOVUPS(y[t], Mem{Base: R9})
		if t < k.tokens-1 {
			ADDQ(R12, R9)
		}
	}
	ADDQ(U8(32), RDX)
	ADDQ(U8(16), RBX)
	CMPQ(RBX, U8(16))
	JE(LabelRef("half"))
	LEAQ(Mem{Base: RSI, Disp: -32}, R8)
	DECQ(R10)
	JNZ(LabelRef("tile"))
	VZEROUPPER()
	RET()
}

// part adds the share of the block's columns 4×from to 4×to.
func (k *narrow) part(from, to int) {
	if k.vnni {
		for t := range k.tokens {
			VPXOR(y[4+t], y[4+t], y[4+t])
		}
		for g := from; g < to; g++ {
			k.weights(g)
			for t := range k.tokens {
				VPBROADCASTD(Mem{Base: RDI, Disp: record*t + 4*g}, Y13)
				vpdpbusd(13, 12, 4+t)
			}
		}
	} else {
		// So many products of 16 bits can be added before they could overflow: of two activations up to 127 and weights up to 15, 31, 63, 128.
		run := map[int]int{4: 8, 5: 4, 6: 2, 8: 1}[k.bits]
		for g := from; g < to; g += run {
			k.run(g, g+run, g == from)
		}
	}
	k.factors(from)
	for t := range k.tokens {
		k.add(t, from, to)
	}
}

// run adds the products of some columns to the integer sums, or sets them.
func (k *narrow) run(from, to int, first bool) {
	for g := from; g < to; g++ {
		k.weights(g)
		if k.bits == 8 { // signed weights, whose signs the activations take
			VPXOR(repeated32(0x80), Y12, Y12)
			VPABSB(Y12, Y14)
		}
		for t := range k.tokens {
			VPBROADCASTD(Mem{Base: RDI, Disp: record*t + 4*g}, Y13)
			unsigned, into := VecPhysical(Y12), VecPhysical(Y13)
			if k.bits == 8 {
				VPSIGNB(Y12, Y13, Y13)
				unsigned = Y14
			}
			if g == from {
				into = y[8+t]
			}
			VPMADDUBSW(Y13, unsigned, into)
			if g > from {
				VPADDW(Y13, y[8+t], y[8+t])
			}
		}
	}
	for t := range k.tokens {
		if first {
			VPMADDWD(ones(), y[8+t], y[4+t])
		} else {
			VPMADDWD(ones(), y[8+t], y[8+t])
			VPADDD(y[8+t], y[4+t], y[4+t])
		}
	}
}

// weights unpacks the 8 rows' columns 4g to 4g+3 into Y12, as they are. It changes Y14.
func (k *narrow) weights(g int) {
	if k.bits == 8 {
		VMOVDQU(Mem{Base: RSI, Disp: 64 * g}, Y12)
		return
	}
	VMOVDQU(Mem{Base: RSI, Disp: 64 * (g % 4)}, Y12)
	if g >= 4 {
		VPSRLW(U8(4), Y12, Y12)
	}
	VPAND(repeated32(0x0f), Y12, Y12)
	if k.bits == 4 {
		return
	}
	at, up, mask := 256, 4-g, byte(0x10) // of the upper bits
	if k.bits == 6 {
		at, up, mask = 256+g/4*64, 4-2*(g%4), 0x30
	}
	VMOVDQU(Mem{Base: RSI, Disp: at}, Y14)
	if up > 0 {
		VPSLLW(U8(uint8(up)), Y14, Y14)
	} else if up < 0 {
		VPSRLW(U8(uint8(-up)), Y14, Y14)
	}
	VPAND(repeated32(mask), Y14, Y14)
	VPOR(Y14, Y12, Y12)
}

// factors puts the scales into Y12 and the minima into Y14. It changes Y15.
func (k *narrow) factors(from int) {
	switch {
	case k.head == 0:
		VCVTPH2PS(Mem{Base: RAX}, Y12)
		if k.minimum {
			VCVTPH2PS(Mem{Base: RAX, Disp: 32}, Y14)
		}
	case k.bits == 6:
		VPMOVSXBD(Mem{Base: RAX, Disp: from / 4 * 16}, Y12)
		VCVTDQ2PS(Y12, Y12)
		VCVTPH2PS(Mem{Base: R12}, Y15)
		VMULPS(Y15, Y12, Y12)
	default:
		VPMOVZXBD(Mem{Base: RAX}, Y12)
		VPMOVZXBD(Mem{Base: RAX, Disp: 16}, Y14)
		VCVTDQ2PS(Y12, Y12)
		VCVTDQ2PS(Y14, Y14)
		VCVTPH2PS(Mem{Base: R12}, Y15)
		VMULPS(Y15, Y12, Y12)
		VCVTPH2PS(Mem{Base: R12, Disp: 32}, Y15)
		VMULPS(Y15, Y14, Y14)
	}
}

// field is one of token t.
func field(i, t int) Mem { return Mem{Base: RDI, Disp: record*t + 32 + 4*i} }

// add adds what one token's integer sums are worth to its sum. It changes Y13 and Y15.
func (k *narrow) add(t, from, to int) {
	sum := y[4+t]
	switch {
	case k.minimum || k.bits == 8 && !k.vnni:
	case k.bits == 6: // 32 times the sum of the half, of which -128 times is known
		VPBROADCASTD(field(4, t), Y13)
		if from > 0 {
			VPBROADCASTD(field(3, t), Y15)
			VPSUBD(Y13, Y15, Y13)
		}
		VPSRAD(U8(2), Y13, Y13)
		VPADDD(Y13, sum, sum)
	case k.bits == 8:
		VPBROADCASTD(field(3, t), Y13)
		VPADDD(Y13, sum, sum)
	default:
		VPBROADCASTD(field(2, t), Y13)
		if k.bits == 5 {
			VPADDD(Y13, Y13, Y13)
		}
		VPADDD(Y13, sum, sum)
	}
	VCVTDQ2PS(sum, sum)
	VBROADCASTSS(field(0, t), Y13)
	VMULPS(Y13, Y12, Y13)
	VFMADD231PS(Y13, sum, y[t])
	if k.minimum {
		VBROADCASTSS(field(1, t), Y13)
		VFMADD231PS(Y13, Y14, y[t])
	}
}

// vpdpbusd is AVX-VNNI's, which the assembler has for AVX-512 only: adds to register to the products of the unsigned bytes of u
// with the signed ones of s. VEX.256.66.0F38.W0 50 /r.
func vpdpbusd(s, u, to int) {
	extend := func(r int) int { return (1 - r>>3) } // inverted
	for _, b := range []int{0xc4, extend(to)<<7 | 1<<6 | extend(s)<<5 | 2, (15-u)<<3 | 1<<2 | 1, 0x50, 3<<6 | to&7<<3 | s&7} {
		Instruction(&ir.Instruction{Opcode: "BYTE", Operands: []Op{U8(uint8(b))}})
	}
}

// repeated32 is a byte 32 times over, in memory.
func repeated32(b uint8) Mem { return static32(fmt.Sprintf("wide%x", b), uint32(b)*0x01010101) }

// ones are 16 times 1, of 16 bits.
func ones() Mem { return static32("ones", 0x00010001) }

// narrowFloats is floatsBy for AVX2: both halves of a tile at once.
//
// Y0 to Y7 hold the tokens' sums, Y8 and Y9 weights, Y10 an activation. SI weights, DI activations, R11 bytes of a column of
// all lanes, R9 columns left, R10 tiles left, DX y, R12 the bytes between its rows.
func narrowFloats(f, n int) {
	w := wholes[f]
	name := fmt.Sprintf("avx2Mul%sx%d", w.name, n)
	TEXT(name, NOSPLIT, narrowSignature)
	Pragma("noescape")
	Doc(fmt.Sprintf("%s multiplies tiles of %s by %d tokens of so many lanes; ld in bytes; whole tiles are stored.", name, w.name, n))
	arg("w", RSI)
	arg("tiles", R10)
	arg("lanes", R11)
	arg("y", RDX)
	arg("ld", R12)
	SHLQ(U8(2), R11)
	Label("tile")
	for i := range 2 * n {
		VPXOR(y[i], y[i], y[i])
	}
	arg("acts", RDI)
	arg("blocks", R9)
	SHLQ(U8(5), R9)
	Label("column")
	PREFETCHT0(Mem{Base: RSI, Disp: ahead})
	for h := range 2 {
		w.load(Mem{Base: RSI, Disp: 8 * w.size * h}, y[8+h])
	}
	for t := range n {
		VBROADCASTSS(Mem{Base: RDI, Disp: 4 * t}, Y10)
		for h := range 2 {
			VFMADD231PS(Y10, y[8+h], y[2*t+h])
		}
	}
	ADDQ(U8(uint8(16*w.size)), RSI)
	ADDQ(R11, RDI)
	DECQ(R9)
	JNZ(LabelRef("column"))
	MOVQ(RDX, R9)
	for t := range n {
		VMOVUPS(y[2*t], Mem{Base: R9})
		VMOVUPS(y[2*t+1], Mem{Base: R9, Disp: 32})
		if t < n-1 {
			ADDQ(R12, R9)
		}
	}
	ADDQ(U8(64), RDX)
	DECQ(R10)
	JNZ(LabelRef("tile"))
	VZEROUPPER()
	RET()
}
