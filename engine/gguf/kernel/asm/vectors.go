package main

import (
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// vectors writes the element-wise operations; n is a multiple of 16, at least 16.
func vectors() {
	each("scaleMul", "func(dst, x, w *float32, n int, scale float32)", []string{"dst", "x", "w"}, func() {
		VBROADCASTSS(param("scale"), Z31)
	}, func() {
		VMULPS(at(RSI), Z31, Z0)
		VMULPS(at(RDX), Z0, Z0)
		VMOVUPS(Z0, at(RDI))
	}, nil)
	each("addTo", "func(dst, x *float32, n int)", []string{"dst", "x"}, nil, func() {
		VMOVUPS(at(RSI), Z0)
		VADDPS(at(RDI), Z0, Z0)
		VMOVUPS(Z0, at(RDI))
	}, nil)
	each("scaleBy", "func(x *float32, n int, s float32)", []string{"x"}, func() {
		VBROADCASTSS(param("s"), Z31)
	}, func() {
		VMULPS(at(RDI), Z31, Z0)
		VMOVUPS(Z0, at(RDI))
	}, nil)
	each("sumSquares", "func(x *float32, n int) float32", []string{"x"}, func() {
		VPXORD(Z1, Z1, Z1)
	}, func() {
		VMOVUPS(at(RDI), Z0)
		VFMADD231PS(Z0, Z0, Z1)
	}, func() {
		foldAdd(1, 2)
	})
	each("maxOf", "func(x *float32, n int) float32", []string{"x"}, func() {
		constant(math.Inf(-1), Z1)
	}, func() {
		VMOVUPS(at(RDI), Z0)
		VMAXPS(Z1, Z0, Z1) // of x and the maximum so far, the latter if x is NaN
	}, func() {
		foldMax(1, 2)
	})
	each("expSum", "func(x *float32, n int, m float32) float32", []string{"x"}, func() {
		exponent()
		VBROADCASTSS(param("m"), Z31)
		VPXORD(Z1, Z1, Z1)
	}, func() {
		VMOVUPS(at(RDI), Z0)
		VSUBPS(Z31, Z0, Z0)
		exp()
		VMOVUPS(Z0, at(RDI))
		VADDPS(Z0, Z1, Z1)
	}, func() {
		foldAdd(1, 2)
	})
	each("siluMul", "func(dst, gate, up *float32, n int)", []string{"dst", "gate", "up"}, exponent, func() {
		VMOVUPS(at(RSI), Z1)
		VPXORD(Z0, Z0, Z0)
		VSUBPS(Z1, Z0, Z0)
		gated()
	}, nil)
	encoding()
	toF16()
	indexOf()
}

// encoding writes the operations of encoders.
func encoding() {
	each("sumOf", "func(x *float32, n int) float32", []string{"x"}, func() {
		VPXORD(Z1, Z1, Z1)
	}, func() {
		VADDPS(at(RDI), Z1, Z1)
	}, func() {
		foldAdd(1, 2)
	})
	each("sumApart", "func(x *float32, n int, m float32) float32", []string{"x"}, func() {
		VBROADCASTSS(param("m"), Z31)
		VPXORD(Z1, Z1, Z1)
	}, func() {
		VMOVUPS(at(RDI), Z0)
		VSUBPS(Z31, Z0, Z0)
		VFMADD231PS(Z0, Z0, Z1)
	}, func() {
		foldAdd(1, 2)
	})
	each("center", "func(dst, x, w, b *float32, n int, m, scale float32)", []string{"dst", "x", "w", "b"}, func() {
		VBROADCASTSS(param("m"), Z31)
		VBROADCASTSS(param("scale"), Z30)
	}, func() {
		VMOVUPS(at(RSI), Z0)
		VSUBPS(Z31, Z0, Z0)
		VMULPS(Z30, Z0, Z0)
		VMOVUPS(at(RDX), Z1)
		VFMADD213PS(at(R8), Z1, Z0)
		VMOVUPS(Z0, at(RDI))
	}, nil)
	each("gelu", "func(x *float32, n int)", []string{"x"}, func() {
		exponent()
		MOVL(U32(0x7fffffff), EAX)
		VPBROADCASTD(EAX, Z28)
		constant(-0.5, Z29)
		constant(geluFactor, Z30)
		VPXORD(Z31, Z31, Z31)
		for i, c := range geluTerms {
			constant(c, z[10+i])
		}
	}, func() {
		VMOVUPS(at(RDI), Z1)
		VPANDD(Z28, Z1, Z5)
		VMOVAPS(Z5, Z6)
		VFMADD213PS(Z20, Z30, Z6)
		VDIVPS(Z6, Z20, Z6) // t
		VMULPS(Z1, Z1, Z0)
		VMULPS(Z29, Z0, Z0)
		exp()
		VMOVAPS(Z10, Z7)
		for i := 1; i < len(geluTerms); i++ {
			VFMADD213PS(z[10+i], Z6, Z7)
		}
		VMULPS(Z6, Z7, Z7)
		VMULPS(Z0, Z7, Z7)
		VMAXPS(Z31, Z1, Z1)
		VFNMADD231PS(Z7, Z5, Z1)
		VMOVUPS(Z1, at(RDI))
	}, nil)
}

// GELU is max(x, 0) - |x| erfc(|x|/√2)/2, and erfc(y) is t × a polynomial in t × exp(-y²), t being 1/(1 + 0.3275911 y), but for 1.5e-7 at
// most (Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.26). The terms are halved, the highest first.
const geluFactor = 0.3275911 / math.Sqrt2

var geluTerms = []float64{1.061405429 / 2, -1.453152027 / 2, 1.421413741 / 2, -0.284496736 / 2, 0.254829592 / 2}

// gated sets dst to Z1 / (1 + exp(Z0)) × up.
func gated() {
	exp()
	VADDPS(Z20, Z0, Z0)
	VDIVPS(Z0, Z1, Z0)
	VMULPS(at(RDX), Z0, Z0)
	VMOVUPS(Z0, at(RDI))
}

func each(name, signature string, pointers []string, before, body, after func()) {
	eachOf(name, signature, pointers, 64, before, body, after)
}

// eachOf writes a function over n floats, so many bytes a step: its pointers in DI, SI, DX, R8, in this order; BX counts bytes;
// what after leaves in X1 is the result.
func eachOf(name, signature string, pointers []string, step uint8, before, body, after func()) {
	TEXT(name, NOSPLIT, signature)
	Pragma("noescape")
	for i, p := range pointers {
		arg(p, []Register{RDI, RSI, RDX, R8}[i])
	}
	arg("n", RCX)
	if before != nil {
		before()
	}
	SHLQ(U8(2), RCX)
	XORQ(RBX, RBX)
	Label("loop")
	body()
	ADDQ(U8(step), RBX)
	CMPQ(RBX, RCX)
	JB(LabelRef("loop"))
	if after != nil {
		after()
	}
	VZEROUPPER()
	if after != nil {
		Store(X1, ReturnIndex(0))
	}
	RET()
}

func at(base Register) Mem { return Mem{Base: base, Index: RBX, Scale: 1} }

func param(name string) Mem {
	b, err := Param(name).Resolve()
	if err != nil {
		panic(err)
	}
	return b.Addr
}

// exponent loads exp's constants into Z16 to Z27.
func exponent() {
	for i, c := range []float64{
		16: -105, 17: 89, // beyond these float32's exp is 0 and infinity
		18: math.Log2E,
		19: 0.693359375, 20: 1, 21: -2.12194440e-4, // ln 2 = Z19 + Z21
		22: 1.9875691500e-4, 23: 1.3981999507e-3, 24: 8.3334519073e-3, 25: 4.1665795894e-2, 26: 1.6666665459e-1, 27: 5.0000001201e-1,
	} {
		if i >= 16 {
			constant(c, z[i])
		}
	}
}

// exp sets Z0 to its exp, to some 2 units in the last place: 2^n × the polynomial of Cephes' expf. It changes Z2 to Z4.
func exp() {
	VMAXPS(Z0, Z16, Z0) // in this order NaN stays NaN
	VMINPS(Z0, Z17, Z0)
	VMULPS(Z18, Z0, Z2)
	VRNDSCALEPS(U8(8), Z2, Z2) // n, to the nearest
	VFNMADD231PS(Z19, Z2, Z0)
	VFNMADD231PS(Z21, Z2, Z0) // the rest, |r| ≤ ln 2 / 2
	VMOVAPS(Z22, Z3)
	for i := 23; i <= 27; i++ {
		VFMADD213PS(z[i], Z0, Z3)
	}
	VMULPS(Z0, Z0, Z4)
	VFMADD213PS(Z0, Z4, Z3)
	VADDPS(Z20, Z3, Z3)
	VSCALEFPS(Z2, Z3, Z0)
}

func toF16() {
	TEXT("toF16", NOSPLIT, "func(dst *uint16, src *float32, n int)")
	Pragma("noescape")
	arg("dst", RDI)
	arg("src", RSI)
	arg("n", RCX)
	Label("loop")
	VMOVUPS(Mem{Base: RSI}, Z0)
	VCVTPS2PH(U8(0), Z0, Mem{Base: RDI})
	ADDQ(U8(64), RSI)
	ADDQ(U8(32), RDI)
	SUBQ(U8(16), RCX)
	JNZ(LabelRef("loop"))
	VZEROUPPER()
	RET()
}

func indexOf() {
	TEXT("indexOf", NOSPLIT, "func(x *float32, n int, e float32) int")
	Pragma("noescape")
	Doc("indexOf is the index of the first element equal to e, or n.")
	arg("x", RDI)
	arg("n", RCX)
	VBROADCASTSS(param("e"), Z1)
	XORQ(RBX, RBX)
	Label("loop")
	VCMPPS(U8(0), Mem{Base: RDI, Index: RBX, Scale: 4}, Z1, K1)
	KMOVW(K1, EAX)
	TESTL(EAX, EAX)
	JNZ(LabelRef("hit"))
	ADDQ(U8(16), RBX)
	CMPQ(RBX, RCX)
	JB(LabelRef("loop"))
	JMP(LabelRef("end"))
	Label("hit")
	BSFL(EAX, EAX)
	ADDQ(RAX, RBX)
	Label("end")
	Store(RBX, ReturnIndex(0))
	VZEROUPPER()
	RET()
}
