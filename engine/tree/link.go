package tree

import "math"

// apply32 turns margins into what a link says, as XGBoost computes it: in float32. out has the link's columns.
func apply32(e *ensemble, l link, in, out []float32) {
	switch l {
	case identity:
		copy(out, in)
	case sigmoid:
		for i, m := range in {
			out[i] = 1 / (exp32(min(-m, 88.7)) + 1 + 1e-16)
		}
	case softmax:
		top := in[0]
		for _, m := range in[1:] {
			top = max(top, m)
		}
		sum := 0.0
		for i, m := range in {
			out[i] = exp32(m - top)
			sum += float64(out[i])
		}
		for i := range out {
			out[i] /= float32(sum)
		}
	case argmax:
		out[0] = float32(best(in))
	case exponent:
		for i, m := range in {
			out[i] = exp32(m)
		}
	case hinge:
		for i, m := range in {
			out[i] = 0
			if m > 0 {
				out[i] = 1
			}
		}
	}
}

func exp32(v float32) float32 { return float32(math.Exp(float64(v))) }

// best is the index of the first of the largest margins.
func best[V float32 | float64](in []V) int {
	at := 0
	for i, m := range in {
		if m > in[at] {
			at = i
		}
	}
	return at
}

// apply64 does the same as LightGBM and CatBoost compute it: in float64.
func apply64(e *ensemble, l link, in, out []float64) {
	switch l {
	case identity:
		copy(out, in)
	case sigmoid:
		for i, m := range in {
			out[i] = 1 / (1 + math.Exp(-e.slope*m))
		}
	case softmax:
		top := in[0]
		for _, m := range in[1:] {
			top = max(top, m)
		}
		sum := 0.0
		for i, m := range in {
			out[i] = math.Exp(m - top)
			sum += out[i]
		}
		for i := range out {
			out[i] /= sum
		}
	case argmax:
		out[0] = float64(best(in))
	case exponent:
		for i, m := range in {
			out[i] = math.Exp(m)
		}
	case hinge:
		for i, m := range in {
			out[i] = 0
			if m > 0 {
				out[i] = 1
			}
		}
	case signedSquare:
		for i, m := range in {
			out[i] = math.Copysign(m*m, m)
		}
	case logOnePlusExp:
		for i, m := range in {
			out[i] = math.Log1p(math.Exp(m))
		}
	case variance:
		out[0], out[1] = in[0], math.Exp(2*in[1])
	case classLabel: // the number of the class; its label is put in later
		out[0] = 0
		switch {
		case len(in) > 1:
			out[0] = float64(best(in))
		case in[0] > e.border:
			out[0] = 1
		}
	}
}

// columns is how many values a link gives for n margins.
func (l link) columns(n int) int {
	if l == argmax || l == classLabel {
		return 1
	}
	return n
}
