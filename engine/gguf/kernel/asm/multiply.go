package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// lanes is the most tokens of one kernel: 16 sums, 8 registers of weights, and 8 for the rest fill the 32.
const lanes = 16

// ahead is how many bytes the weights are prefetched before their use.
const ahead = 7680

// forms are the packed forms of matrix.go.
var forms = []struct {
	name    string
	size    int // of a block
	minimum bool
	wide    bool // 8 bits a weight
	start   int  // which of the acts' fields the accumulators start from; -1: zero
}{
	{name: "Q4", size: 288, start: 2},
	{name: "Q4M", size: 320, minimum: true, start: -1},
	{name: "Q8", size: 544, wide: true, start: 3},
}

// multiply writes one kernel for each form and number of tokens: a run of tiles of 16 rows times one lane group.
//
// Z0 to Z15 hold a token's sums over the blocks; Z16 to Z19 the integer sums of four tokens in one block, Z20 a product;
// Z21 to Z28 the block's weights, bytes of 16 rows × 4 columns each; Z29 minima, Z30 scales, Z31 the nibble mask.
// SI weights, DI activations, DX y, CX bytes between the rows of y, R8 blocks, R10 tiles.
func multiply() {
	for f := range forms {
		for n := 1; n <= lanes; n++ {
			multiplyBy(f, n)
		}
	}
}

func multiplyBy(f, n int) {
	form := forms[f]
	TEXT(fmt.Sprintf("mul%sx%d", form.name, n), NOSPLIT, "func(w *byte, tiles, blocks int, acts *byte, y *float32, ld int, mask uint64)")
	Pragma("noescape")
	Doc(fmt.Sprintf("mul%sx%d multiplies tiles of %s by %d tokens; ld in bytes; the rows of mask are stored.", form.name, n, form.name, n))
	arg("w", RSI)
	arg("tiles", R10)
	arg("blocks", R8)
	arg("acts", R11)
	arg("y", RDX)
	arg("ld", RCX)
	arg("mask", RAX)
	KMOVW(EAX, K1)
	if !form.wide {
		MOVL(U32(0x0f0f0f0f), EAX)
		VPBROADCASTD(EAX, Z31)
	}
	Label("tile")
	for t := range n {
		VPXORD(z[t], z[t], z[t])
	}
	MOVQ(R11, RDI)
	MOVQ(R8, R9)
	Label("block")
	for at := 0; at < form.size; at += 64 {
		PREFETCHT0(Mem{Base: RSI, Disp: ahead + at})
	}
	weights(f)
	for t := 0; t < n; t += 4 {
		products(f, n, t, min(4, n-t))
	}
	ADDQ(U32(form.size), RSI)
	ADDQ(U32(n*48), RDI)
	DECQ(R9)
	JNZ(LabelRef("block"))
	MOVQ(RDX, RBX)
	for t := range n {
		VMOVUPS(z[t], K1, Mem{Base: RBX})
		if t < n-1 {
			ADDQ(RCX, RBX)
		}
	}
	ADDQ(U8(64), RDX)
	DECQ(R10)
	JNZ(LabelRef("tile"))
	VZEROUPPER()
	RET()
}

// weights unpacks a block into Z21 to Z28, its scales into Z30 and its minima into Z29.
func weights(f int) {
	form := forms[f]
	scales := 256
	if form.wide {
		scales = 512
		for g := range 8 {
			VMOVDQU32(Mem{Base: RSI, Disp: 64 * g}, z[21+g])
		}
	} else {
		for g := range 4 {
			VMOVDQU32(Mem{Base: RSI, Disp: 64 * g}, z[21+g])
			VPSRLW(U8(4), z[21+g], z[25+g])
			VPANDD(z[31], z[21+g], z[21+g])
			VPANDD(z[31], z[25+g], z[25+g])
		}
	}
	VCVTPH2PS(Mem{Base: RSI, Disp: scales}, Z30)
	if form.minimum {
		VCVTPH2PS(Mem{Base: RSI, Disp: scales + 32}, Z29)
	}
}

// products adds the block's share for the tokens t to t+k of n: k chains of 8 VPDPBUSD side by side.
func products(f, n, t, k int) {
	form := forms[f]
	field := func(i, t int) Mem { return Mem{Base: RDI, Disp: n*(32+4*i) + 4*t} }
	for i := range k {
		if form.start < 0 {
			VPXORD(z[16+i], z[16+i], z[16+i])
		} else {
			VPBROADCASTD(field(form.start, t+i), z[16+i])
		}
	}
	for g := range 8 {
		for i := range k {
			raw("VPDPBUSD", "BCST", Mem{Base: RDI, Disp: 32*(t+i) + 4*g}, z[21+g], z[16+i])
		}
	}
	for i := range k {
		VCVTDQ2PS(z[16+i], z[16+i])
		VMULPS_BCST(field(0, t+i), Z30, Z20)
		VFMADD231PS(Z20, z[16+i], z[t+i])
		if form.minimum {
			VFMADD231PS_BCST(field(1, t+i), Z29, z[t+i])
		}
	}
}
