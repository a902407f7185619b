package gguf

import (
	"math"

	"serval/engine/gguf/kernel"
)

// geluMul sets gate to GELU(gate) × up, in the approximation by tanh (Hendrycks and Gimpel, "Gaussian Error Linear Units", 2016). up
// is overwritten. With q = 2√(2/π)·(1 + 0.044715·x²) it is x·up / (1 + exp(-x·q)): SiLU of x·q, times up/q.
func geluMul(ops kernel.Ops, gate, up []float32) {
	up = up[:len(gate)]
	for i, x := range gate {
		q := float32(2*math.Sqrt2/math.SqrtPi) * (1 + 0.044715*x*x)
		gate[i], up[i] = x*q, up[i]/q
	}
	ops.SiLUMul(gate, gate, up)
}

// softcap keeps each number between -most and most: most × tanh(x/most), which is most × (1 - e)/(1 + e) with e = exp(-2|x|/most) and
// x's sign. It is off by most/2²³ or so.
func softcap(ops kernel.Ops, x []float32, most float32) {
	const sign = 1 << 31
	var signs [256]uint32
	scale := 2 / most
	for len(x) > 0 {
		part := x[:min(len(x), len(signs))]
		for i, v := range part {
			bits := math.Float32bits(v * scale)
			signs[i&255], part[i] = bits&sign, math.Float32frombits(bits|sign)
		}
		ops.ExpSum(part, 0)
		for i, e := range part {
			part[i] = math.Float32frombits(math.Float32bits(most*(1-e)/(1+e)) | signs[i&255])
		}
		x = x[len(part):]
	}
}
