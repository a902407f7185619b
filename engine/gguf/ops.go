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

// softcap keeps each number between -most and most.
func softcap(x []float32, most float32) {
	for i, v := range x {
		x[i] = most * float32(math.Tanh(float64(v/most)))
	}
}
