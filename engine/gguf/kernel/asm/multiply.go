package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// lanes is the most tokens of one kernel: 16 sums, 8 registers of weights, and 8 for the rest fill the 32.
const lanes = 16

// record is what one token's block of activations takes.
const record = 64

// ahead is how many bytes the weights are prefetched before their use.
const ahead = 7680

// form is a packed form of matrix.go.
type form struct {
	name    string
	bits    int  // of a weight
	scales  int  // where a block's scales stand
	size    int  // of a block
	head    int  // of what stands before eight blocks: their factors, which the scales, small integers, multiply
	minimum bool // and not a start
	near    bool // nothing is prefetched: it is a few blocks of a cache, which do not go on where they end
}

var forms = []form{
	{name: "Q4", bits: 4, scales: 256, size: 288},
	{name: "Q4M", bits: 4, scales: 256, size: 320, minimum: true},
	{name: "Q8", bits: 8, scales: 512, size: 544},
	{name: "Q5", bits: 5, scales: 320, size: 352},
	{name: "Q5M", bits: 5, scales: 320, size: 384, minimum: true},
	{name: "Q4K", bits: 4, scales: 256, size: 288, head: 64, minimum: true},
	{name: "Q5K", bits: 5, scales: 320, size: 352, head: 64, minimum: true},
	{name: "Q6K", bits: 6, scales: 384, size: 416, head: 32},
	{name: "Cells8", bits: 8, scales: 512, size: 544, near: true},
}

// multiply writes one kernel for each form and number of tokens: a run of tiles of 16 rows times one lane group.
//
// Z0 to Z15 hold a token's sums over the blocks; Z16 to Z19 the integer sums of four tokens in one block, Z20 a product;
// Z21 to Z28 the block's weights, bytes of 16 rows × 4 columns each; Z29 minima, or the scales of the second half, Z30 scales,
// Z31 the nibble mask. SI weights, DI activations, DX y, CX bytes between the rows of y, R8 blocks, R10 tiles, R12 the head.
func multiply() {
	for _, f := range forms {
		for n := 1; n <= lanes; n++ {
			multiplyBy(f, n)
		}
	}
}

func multiplyBy(f form, n int) {
	TEXT(fmt.Sprintf("mul%sx%d", f.name, n), NOSPLIT, "func(w *byte, tiles, blocks int, acts *byte, y *float32, ld int, mask uint64)")
	Pragma("noescape")
	Doc(fmt.Sprintf("mul%sx%d multiplies tiles of %s by %d tokens; ld in bytes; the rows of mask are stored.", f.name, n, f.name, n))
	arg("w", RSI)
	arg("tiles", R10)
	arg("blocks", R8)
	arg("acts", R11)
	ADDQ(U32(uint32(middle(n))), R11)
	arg("y", RDX)
	arg("ld", RCX)
	arg("mask", RAX)
	KMOVW(EAX, K1)
	if f.bits == 4 {
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
	if f.head > 0 { // before each eight blocks; their number is a multiple of it
		TESTQ(U32(7), R9)
		JNZ(LabelRef("within"))
		MOVQ(RSI, R12)
		ADDQ(U8(uint8(f.head)), RSI)
		Label("within")
	}
	for at := 0; at < f.size && !f.near; at += 64 {
		PREFETCHT0(Mem{Base: RSI, Disp: ahead + at})
	}
	f.weights()
	f.factors()
	for t := 0; t < n; t += 4 {
		if f.bits == 6 { // whose halves have scales of their own
			f.products(n, t, min(4, n-t), 0, 4, Z30)
			f.products(n, t, min(4, n-t), 4, 8, Z29)
		} else {
			f.products(n, t, min(4, n-t), 0, 8, Z30)
		}
	}
	ADDQ(U32(uint32(f.size)), RSI)
	ADDQ(U32(uint32(n*record)), RDI)
	DECQ(R9)
	JNZ(LabelRef("block"))
	store(n)
	ADDQ(U8(64), RDX)
	DECQ(R10)
	JNZ(LabelRef("tile"))
	VZEROUPPER()
	RET()
}

// middle is where DI points in a block's activations of n tokens: displacements from there fit a byte, times the four of an operand.
func middle(n int) int { return n / 2 * record }

// weights unpacks a block into Z21 to Z28; those of 5 and 6 bits at the upper end of a byte. It changes Z16 to Z20.
func (f form) weights() {
	if f.bits == 8 {
		for g := range 8 {
			VMOVDQU32(Mem{Base: RSI, Disp: 64 * g}, z[21+g])
		}
		return
	}
	up := 8 - f.bits // the nibbles' shift: up for those in the low half of a byte, down for those in the high half
	mask := Z31
	if up < 4 {
		mask = Z17
		VPBROADCASTD(repeated(0x0f<<up), Z17)
		VPBROADCASTD(repeated(0xff&(0xf0<<up)), Z18)
		VMOVDQU32(Mem{Base: RSI, Disp: 256}, Z16)
		if f.bits == 6 {
			VMOVDQU32(Mem{Base: RSI, Disp: 320}, Z20)
		}
	}
	for g := range 4 {
		VMOVDQU32(Mem{Base: RSI, Disp: 64 * g}, z[21+g])
		VPSRLW(U8(uint8(4-up%4)), z[21+g], z[25+g])
		if up < 4 {
			VPSLLW(U8(uint8(up)), z[21+g], z[21+g])
		}
		VPANDD(mask, z[21+g], z[21+g])
		VPANDD(mask, z[25+g], z[25+g])
	}
	if up == 4 {
		return
	}
	for g := range 8 {
		from, shift := Z16, 7-g
		if f.bits == 6 {
			shift = 6 - 2*(g%4)
			if g >= 4 {
				from = Z20
			}
		}
		if shift > 0 {
			VPSLLW(U8(uint8(shift)), from, Z19)
			from = Z19
		}
		VPTERNLOGD(U8(0xf8), Z18, from, z[21+g]) // or with those bits of it
	}
}

// factors puts the block's scales into Z30, and its minima or the scales of its second half into Z29. It changes Z16.
func (f form) factors() {
	second := f.minimum || f.bits == 6
	if f.head == 0 {
		VCVTPH2PS(Mem{Base: RSI, Disp: f.scales}, Z30)
		if second {
			VCVTPH2PS(Mem{Base: RSI, Disp: f.scales + 32}, Z29)
		}
	} else {
		widen := VPMOVZXBD
		if f.bits == 6 {
			widen = VPMOVSXBD
		}
		widen(Mem{Base: RSI, Disp: f.scales}, Z30)
		widen(Mem{Base: RSI, Disp: f.scales + 16}, Z29)
		VCVTDQ2PS(Z30, Z30)
		VCVTDQ2PS(Z29, Z29)
		VCVTPH2PS(Mem{Base: R12}, Z16)
		VMULPS(Z16, Z30, Z30)
		if f.minimum {
			VCVTPH2PS(Mem{Base: R12, Disp: 32}, Z16)
		}
		VMULPS(Z16, Z29, Z29)
	}
	switch f.bits {
	case 5: // the weights stand 8 times as large
		VMULPS_BCST(single(1.0/8), Z30, Z30)
	case 6:
		VMULPS_BCST(single(1.0/4), Z30, Z30)
		VMULPS_BCST(single(1.0/4), Z29, Z29)
	}
}

// products adds the share of the block's columns 4×from to 4×to for the tokens t to t+k of n: k chains of VPDPBUSD side by side.
func (f form) products(n, t, k, from, to int, scale Register) {
	at := func(t, byte int) Mem { return Mem{Base: RDI, Disp: record*t + byte - middle(n)} }
	field := func(i, t int) Mem { return at(t, 32+4*i) }
	for i := range k {
		switch {
		case f.minimum:
			VPXORD(z[16+i], z[16+i], z[16+i])
		case f.bits == 4:
			VPBROADCASTD(field(2, t+i), z[16+i])
		case to == 4:
			VPBROADCASTD(field(4, t+i), z[16+i])
		default:
			VPBROADCASTD(field(3, t+i), z[16+i])
			if from == 4 {
				VPSUBD_BCST(field(4, t+i), z[16+i], z[16+i])
			}
		}
	}
	for g := from; g < to; g++ {
		for i := range k {
			raw("VPDPBUSD", "BCST", at(t+i, 4*g), z[21+g], z[16+i])
		}
	}
	for i := range k {
		VCVTDQ2PS(z[16+i], z[16+i])
		VMULPS_BCST(field(0, t+i), scale, Z20)
		VFMADD231PS(Z20, z[16+i], z[t+i])
		if f.minimum {
			VFMADD231PS_BCST(field(1, t+i), Z29, z[t+i])
		}
	}
}
