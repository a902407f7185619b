package main

import (
	"flag"
	"fmt"
	"math"

	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/ir"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// z, y and x are the vector registers by number, 512, 256 and 128 bits wide.
var (
	z = []VecPhysical{Z0, Z1, Z2, Z3, Z4, Z5, Z6, Z7, Z8, Z9, Z10, Z11, Z12, Z13, Z14, Z15,
		Z16, Z17, Z18, Z19, Z20, Z21, Z22, Z23, Z24, Z25, Z26, Z27, Z28, Z29, Z30, Z31}
	y = []VecPhysical{Y0, Y1, Y2, Y3, Y4, Y5, Y6, Y7, Y8, Y9, Y10, Y11, Y12, Y13, Y14, Y15,
		Y16, Y17, Y18, Y19, Y20, Y21, Y22, Y23, Y24, Y25, Y26, Y27, Y28, Y29, Y30, Y31}
	x = []VecPhysical{X0, X1, X2, X3, X4, X5, X6, X7, X8, X9, X10, X11, X12, X13, X14, X15,
		X16, X17, X18, X19, X20, X21, X22, X23, X24, X25, X26, X27, X28, X29, X30, X31}
)

func main() {
	_ = flag.Set("out", "../kernel_amd64.s")
	_ = flag.Set("stubs", "../kernel_amd64.go")
	_ = flag.Set("pkg", "kernel")
	ConstraintExpr("amd64")
	multiply()
	multiplyFloats()
	multiplyNarrow()
	quantize()
	quantizeNarrow()
	vectors()
	transpose()
	vectorsNarrow()
	attention()
	attentionNarrow()
	cellsOf8()
	rotate()
	rotateNarrow()
	toBF16()
	toBF16Narrow()
	spinning()
	prefetching()
	Generate()
}

// raw emits an instruction that avo does not know.
func raw(opcode, suffix string, ops ...Op) {
	i := &ir.Instruction{Opcode: opcode, Operands: ops, Inputs: ops, Outputs: ops[len(ops)-1:]}
	if suffix != "" {
		i.Suffixes = []string{suffix}
	}
	Instruction(i)
}

// arg loads an argument into a register.
func arg(name string, r Register) { Load(Param(name), r) }

// constant puts a float into all lanes of a register; it changes AX.
func constant(f float64, to VecPhysical) {
	MOVL(U32(math.Float32bits(float32(f))), EAX)
	VPBROADCASTD(EAX, to)
}

// statics are the constants in memory by their names.
var statics = map[string]Mem{}

func static(name string, value Constant) Mem {
	if _, made := statics[name]; !made {
		statics[name] = ConstData(name, value)
	}
	return statics[name]
}

// repeated is a byte four times over, in memory; single a float.
func repeated(b uint8) Mem { return static(fmt.Sprintf("bytes%x", b), U32(uint32(b)*0x01010101)) }
func single(f float32) Mem {
	bits := math.Float32bits(f)
	return static(fmt.Sprintf("single%x", bits), U32(bits))
}

// static32 is the same 32 bits eight times over.
func static32(name string, value uint32) Mem {
	return table(name, value, value, value, value, value, value, value, value)
}

// table is some numbers of 32 bits in memory.
func table(name string, values ...uint32) Mem {
	if _, made := statics[name]; !made {
		statics[name] = GLOBL(name, RODATA|NOPTR)
		for i, v := range values {
			DATA(4*i, U32(v))
		}
	}
	return statics[name]
}

// fold reduces the 16 lanes of register i to all lanes of its low 128 bits with a two-operand step; it changes register t.
func fold(i, t int, step func(from, to VecPhysical, width []VecPhysical)) {
	VEXTRACTF64X4(U8(1), z[i], y[t])
	step(y[t], y[i], y)
	VEXTRACTF32X4(U8(1), y[i], x[t])
	step(x[t], x[i], x)
	VPERMILPS(U8(0x4e), x[i], x[t])
	step(x[t], x[i], x)
	VPERMILPS(U8(0xb1), x[i], x[t])
	step(x[t], x[i], x)
}

func foldAdd(i, t int) { fold(i, t, func(f, to VecPhysical, _ []VecPhysical) { VADDPS(f, to, to) }) }
func foldMax(i, t int) { fold(i, t, func(f, to VecPhysical, _ []VecPhysical) { VMAXPS(f, to, to) }) }
func foldInt(i, t int) { fold(i, t, func(f, to VecPhysical, _ []VecPhysical) { VPADDD(f, to, to) }) }

// prefetching asks for lines of memory.
func prefetching() {
	TEXT("prefetch", NOSPLIT, "func(p *uint16, lines int)")
	Pragma("noescape")
	Doc("prefetch asks for so many lines of 64 bytes.")
	arg("p", RSI)
	arg("lines", RCX)
	Label("line")
	PREFETCHT0(Mem{Base: RSI})
	ADDQ(U8(64), RSI)
	DECQ(RCX)
	JNZ(LabelRef("line"))
	RET()
}

// spinning is the one that spinning threads call: PAUSE, n times.
func spinning() {
	TEXT("pause", NOSPLIT, "func(n int)")
	Doc("pause lets a spinning thread breathe.")
	arg("n", RAX)
	Label("loop")
	PAUSE()
	DECQ(RAX)
	JNZ(LabelRef("loop"))
	RET()
}
