package main

import (
	"fmt"
	"strings"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// cell is how a number of a cache is stored: its bytes, and its shift; bf16 and float32 have other names than f16. For 8 bits see cells.go.
type cell struct {
	name  string
	bytes int
	shift uint8
}

var cells = []cell{{"", 2, 1}, {"Brain", 2, 1}, {"Whole", 4, 2}}

// of is the name of a function for it.
func (c cell) of(set, name string, rows int) string {
	name = set + c.name + name
	return fmt.Sprintf("%s%s%d", strings.ToLower(name[:1]), name[1:], rows)
}

// element is the type in Go.
func (c cell) element() string { return map[int]string{2: "uint16", 4: "float32"}[c.bytes] }

// load makes float32 of what is stored.
func (c cell) load(m Mem, to VecPhysical) {
	switch c.name {
	case "":
		VCVTPH2PS(m, to)
	case "Brain":
		VPMOVZXWD(m, to)
		VPSLLD(U8(16), to, to)
	default:
		VMOVUPS(m, to)
	}
}

// attention writes the two products of attention for 1, 2, 3, 4, 6 and 8 rows of queries at once.
func attention() {
	for _, c := range cells {
		for _, rows := range []int{1, 2, 3, 4, 6, 8} {
			c.scores(rows)
		}
		for _, rows := range []int{1, 2, 3, 4, 6} {
			c.weigh(rows)
		}
	}
}

// scores writes q·k for groups of 16 cells, several side by side where few rows would leave the multipliers waiting.
//
// Z0 to Z15 hold the sums, row after row; Z16 to Z19 the keys; Z31 the scale. SI keys, DI queries, R8 bytes between queries,
// DX scores, CX bytes between rows of them, R9 dimensions, R10 groups left, R11 bytes of a group of keys.
func (c cell) scores(rows int) {
	TEXT(c.of("", "Scores", rows), NOSPLIT,
		"func(dst *float32, dstStride int, q *float32, qStride int, k *"+c.element()+", groups, dim int, scale float32, mask uint64)")
	Pragma("noescape")
	arg("dst", RDX)
	arg("dstStride", RCX)
	arg("q", RDI)
	arg("qStride", R8)
	arg("k", RSI)
	arg("groups", R10)
	arg("dim", R9)
	VBROADCASTSS(param("scale"), Z31)
	arg("mask", RAX)
	KMOVW(EAX, K1)
	MOVQ(R9, R11)
	SHLQ(U8(4+c.shift), R11)
	first := 2
	if rows <= 3 {
		first = 4
	}
	for side := first; side >= 1; side /= 2 {
		loop, next := fmt.Sprintf("by%d", side), fmt.Sprintf("past%d", side)
		Label(loop)
		CMPQ(R10, U8(uint8(side)))
		JB(LabelRef(next))
		c.scoreGroups(rows, side)
		SUBQ(U8(uint8(side)), R10)
		JMP(LabelRef(loop))
		Label(next)
	}
	VZEROUPPER()
	RET()
}

// scoreGroups is one step: side groups for all rows. R12 and R13 point at queries, AX is three groups of
// keys, BX three strides, R15 counts.
func (c cell) scoreGroups(rows, side int) {
	for i := range rows * side {
		VPXORD(z[i], z[i], z[i])
	}
	LEAQ(Mem{Base: R11, Index: R11, Scale: 2}, RAX)
	MOVQ(RDI, R12)
	LEAQ(Mem{Base: R8, Index: R8, Scale: 2}, RBX)
	LEAQ(Mem{Base: RDI, Index: R8, Scale: 4}, R13)
	MOVQ(R9, R15)
	inner := fmt.Sprintf("dim%d", side)
	Label(inner)
	for s, m := range []Mem{{Base: RSI}, {Base: RSI, Index: R11, Scale: 1}, {Base: RSI, Index: R11, Scale: 2}, {Base: RSI, Index: RAX, Scale: 1}}[:side] {
		c.load(m, z[16+s])
	}
	for r := range rows {
		for s := range side {
			VFMADD231PS_BCST(strided(r), z[16+s], z[r*side+s])
		}
	}
	ADDQ(U8(uint8(16*c.bytes)), RSI) // and after all dimensions it is at the next group
	ADDQ(U8(4), R12)
	ADDQ(U8(4), R13)
	DECQ(R15)
	JNZ(LabelRef(inner))
	MOVQ(RDX, RAX)
	for r := range rows {
		for s := range side {
			VMULPS(Z31, z[r*side+s], z[r*side+s])
			VMOVUPS(z[r*side+s], K1, Mem{Base: RAX, Disp: 64 * s})
		}
		if r < rows-1 {
			ADDQ(RCX, RAX)
		}
	}
	ADDQ(U32(uint32(64*side)), RDX)
	for range side - 1 {
		ADDQ(R11, RSI)
	}
}

// strided is row r at R12, whose stride is R8, with three strides in BX and R13 four strides ahead.
func strided(r int) Mem {
	m := Mem{Base: R12}
	if r >= 4 {
		m.Base = R13
	}
	switch r % 4 {
	case 1:
		m.Index, m.Scale = R8, 1
	case 2:
		m.Index, m.Scale = R8, 2
	case 3:
		m.Index, m.Scale = RBX, 1
	}
	return m
}

// weigh writes dst += p·v, 64 dimensions at a time, then 32 and 16.
//
// Z0 to Z23 hold the sums, row after row; Z24 to Z27 a value. SI values, R9 bytes between cells, DI weights, R8 bytes between
// their rows, DX dst, CX bytes between its rows, R10 cells, R11 dimensions left.
func (c cell) weigh(rows int) {
	TEXT(c.of("", "Weigh", rows), NOSPLIT,
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
	for side := 4; side >= 1; side /= 2 {
		loop, next := fmt.Sprintf("by%d", side), fmt.Sprintf("past%d", side)
		Label(loop)
		CMPQ(R11, U8(uint8(16*side)))
		JB(LabelRef(next))
		c.weighStep(rows, side)
		SUBQ(U8(uint8(16*side)), R11)
		JMP(LabelRef(loop))
		Label(next)
	}
	VZEROUPPER()
	RET()
}

func (c cell) weighStep(rows, side int) {
	each := func(f func(sum VecPhysical, m Mem)) {
		MOVQ(RDX, RAX)
		for r := range rows {
			for s := range side {
				f(z[r*side+s], Mem{Base: RAX, Disp: 64 * s})
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
		c.load(Mem{Base: RAX, Disp: 16 * c.bytes * s}, z[24+s])
	}
	for r := range rows {
		for s := range side {
			VFMADD231PS_BCST(strided(r), z[24+s], z[r*side+s])
		}
	}
	ADDQ(R9, RAX)
	ADDQ(U8(4), R12)
	ADDQ(U8(4), R13)
	DECQ(R15)
	JNZ(LabelRef(inner))
	each(func(sum VecPhysical, m Mem) { VMOVUPS(sum, m) })
	ADDQ(U32(uint32(64*side)), RDX)
	ADDQ(U32(uint32(16*c.bytes*side)), RSI)
}
