package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// columns is how many columns a step of the products of floats takes.
const columns = 4

// wholes are the forms whose weights are floats, and how 16 of them become float32.
var wholes = []struct {
	name string
	size int // of a weight
	load func(m Mem, to VecPhysical)
}{
	{"F16", 2, func(m Mem, to VecPhysical) { VCVTPH2PS(m, to) }},
	{"BF16", 2, func(m Mem, to VecPhysical) {
		VPMOVZXWD(m, to)
		VPSLLD(U8(16), to, to)
	}},
	{"F32", 4, func(m Mem, to VecPhysical) { VMOVUPS(m, to) }},
}

// multiplyFloats writes one kernel for each of these forms and number of tokens. Z0 to Z15 hold a token's sums, Z16 to Z19 the weights
// of a column each. SI weights, DI activations, DX y, CX bytes between the rows of y, R8 steps, R10 tiles.
func multiplyFloats() {
	for f := range wholes {
		for n := 1; n <= lanes; n++ {
			floatsBy(f, n)
		}
	}
}

func floatsBy(f, n int) {
	form := wholes[f]
	name := fmt.Sprintf("mul%sx%d", form.name, n)
	TEXT(name, NOSPLIT, "func(w *byte, tiles, blocks int, acts *byte, y *float32, ld int, mask uint64)")
	Pragma("noescape")
	Doc(fmt.Sprintf("%s multiplies tiles of %s by %d tokens of floats; ld in bytes; the rows of mask are stored.", name, form.name, n))
	arg("w", RSI)
	arg("tiles", R10)
	arg("blocks", R8)
	SHLQ(U8(3), R8) // 32 columns
	arg("acts", R11)
	arg("y", RDX)
	arg("ld", RCX)
	arg("mask", RAX)
	KMOVW(EAX, K1)
	Label("tile")
	for t := range n {
		VPXORD(z[t], z[t], z[t])
	}
	MOVQ(R11, RDI)
	MOVQ(R8, R9)
	Label("columns")
	for at := 0; at < columns*16*form.size; at += 64 {
		PREFETCHT0(Mem{Base: RSI, Disp: ahead + at})
	}
	for c := range columns {
		form.load(Mem{Base: RSI, Disp: 16 * form.size * c}, z[16+c])
	}
	for c := range columns {
		for t := range n {
			VFMADD231PS_BCST(Mem{Base: RDI, Disp: 4 * (c*n + t)}, z[16+c], z[t])
		}
	}
	ADDQ(U32(uint32(columns*16*form.size)), RSI)
	ADDQ(U32(uint32(columns*4*n)), RDI)
	DECQ(R9)
	JNZ(LabelRef("columns"))
	store(n)
	ADDQ(U8(64), RDX)
	DECQ(R10)
	JNZ(LabelRef("tile"))
	VZEROUPPER()
	RET()
}

// store writes the sums of n tokens to y.
func store(n int) {
	MOVQ(RDX, RBX)
	for t := range n {
		VMOVUPS(z[t], K1, Mem{Base: RBX})
		if t < n-1 {
			ADDQ(RCX, RBX)
		}
	}
}
