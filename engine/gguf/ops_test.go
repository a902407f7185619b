package gguf

import (
	"math"
	"testing"

	"serval/engine/gguf/kernel"
)

// GELU is that of the definition, on the kernels too, and for whatever a net computes.
func TestGELU(t *testing.T) {
	var list []float32
	for x := -12.0; x < 12; x += 0.03 {
		list = append(list, float32(x))
	}
	list = append(list, 0, -1e-20, 1e-20, -100, 100, -1e4, 1e4, -1e6, 1e6)
	for _, ops := range []kernel.Ops{kernel.Best(), kernel.Portable()} {
		gate, up := append([]float32(nil), list...), make([]float32, len(list))
		for i := range up {
			up[i] = 1.5
		}
		geluMul(ops, gate, up)
		for i, v := range list {
			x := float64(v)
			want := 0.75 * x * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x)))
			if got := float64(gate[i]); !(math.Abs(got-want) <= 3e-6*math.Max(1, math.Abs(want))) {
				t.Errorf("%v: GELU of %g is %g, want %g", ops, v, got, want)
			}
		}
	}
}

// A cap is that of the definition, on the kernels too, and whatever a net computes.
func TestSoftcap(t *testing.T) {
	var list []float32
	for x := -300.0; x < 300; x += 0.7 {
		list = append(list, float32(x))
	}
	list = append(list, 0, float32(math.Copysign(0, -1)), 1e-45, -1e-40, -1e-20, 1e-20, 1e-3, -1e4, 1e4, -1e30, 1e30)
	for _, ops := range []kernel.Ops{kernel.Best(), kernel.Portable()} {
		for _, most := range []float32{30, 50} {
			x := append([]float32(nil), list...)
			softcap(ops, x, most)
			for i, v := range list {
				want := float64(most) * math.Tanh(float64(v)/float64(most))
				if got := float64(x[i]); !(math.Abs(got-want) <= 4e-7*float64(most)) {
					t.Errorf("%v: %g capped by %g is %g, want %g", ops, v, most, got, want)
				}
			}
		}
	}
}

func BenchmarkSoftcap(b *testing.B) {
	x := make([]float32, 4096)
	for b.Loop() {
		for i := range x {
			x[i] = float32(i%200 - 100)
		}
		softcap(kernel.Best(), x, 50)
	}
}
