package kernel

import "math"

// Ops is an instruction set to compute with; a small value, safe for concurrent use. The zero value is plain Go.
type Ops struct{ isa isa }

type isa uint8

const (
	portable isa = iota
	avx2         // with FMA and F16C
	avxVNNI      // these and AVX-VNNI
	avx512       // F, BW, DQ, VL and VNNI
)

// Portable computes in plain Go, on every CPU.
func Portable() Ops { return Ops{portable} }

// String names the instruction set as a log line should.
func (o Ops) String() string {
	return [...]string{portable: "portable Go", avx2: "AVX2", avxVNNI: "AVX-VNNI", avx512: "AVX-512 VNNI"}[o.isa]
}

// RMSNorm sets dst[i] = x[i]·w[i] / sqrt(mean(x²) + eps). dst may be x; all three have one length.
func (o Ops) RMSNorm(dst, x, w []float32, eps float32) {
	n := len(x)
	if n == 0 {
		return
	}
	dst, w = dst[:n], w[:n]
	scale := float32(1 / math.Sqrt(float64(o.squares(x))/float64(n)+float64(eps)))
	if v := o.vectors(n); v > 0 {
		o.scaleMul(&dst[0], &x[0], &w[0], v, scale)
		dst, x, w = dst[v:], x[v:], w[v:]
	}
	for i, e := range x {
		dst[i] = e * scale * w[i]
	}
}

func (o Ops) squares(x []float32) float32 {
	var s float32
	if v := o.vectors(len(x)); v > 0 {
		s, x = o.sumSquares(&x[0], v), x[v:]
	}
	for _, e := range x {
		s += e * e
	}
	return s
}

// LayerNorm sets dst[i] = (x[i] - mean(x))·w[i] / sqrt(variance(x) + eps) + b[i] (Ba et al., "Layer Normalization", 2016). dst may be x; all
// have one length.
func (o Ops) LayerNorm(dst, x, w, b []float32, eps float32) {
	n := len(x)
	if n == 0 {
		return
	}
	dst, w, b = dst[:n], w[:n], b[:n]
	v := o.vectors(n)
	var sum, apart float32
	if v > 0 {
		sum = o.sumOf(&x[0], v)
	}
	for _, e := range x[v:] {
		sum += e
	}
	mean := sum / float32(n)
	if v > 0 {
		apart = o.sumApart(&x[0], v, mean)
	}
	for _, e := range x[v:] {
		apart += (e - mean) * (e - mean)
	}
	scale := float32(1 / math.Sqrt(float64(apart)/float64(n)+float64(eps)))
	if v > 0 {
		o.center(&dst[0], &x[0], &w[0], &b[0], v, mean, scale)
	}
	for i := v; i < n; i++ {
		dst[i] = (x[i]-mean)*scale*w[i] + b[i]
	}
}

// GELU sets x[i] = x[i]·Φ(x[i]), with the normal distribution itself (erf) and not the approximation by tanh (Hendrycks and Gimpel,
// "Gaussian Error Linear Units", 2016).
func (o Ops) GELU(x []float32) {
	if v := o.vectors(len(x)); v > 0 {
		o.gelu(&x[0], v)
		x = x[v:]
	}
	for i, e := range x {
		x[i] = float32(float64(e) / 2 * math.Erfc(-float64(e)/math.Sqrt2))
	}
}

// AddTo adds x to dst.
func (o Ops) AddTo(dst, x []float32) {
	dst = dst[:len(x)]
	if v := o.vectors(len(x)); v > 0 {
		o.addTo(&dst[0], &x[0], v)
		dst, x = dst[v:], x[v:]
	}
	for i, e := range x {
		dst[i] += e
	}
}

// SiLUMul sets dst[i] = gate[i]·up[i] / (1 + exp(-gate[i])): the SwiGLU of llama and qwen. dst may be either.
func (o Ops) SiLUMul(dst, gate, up []float32) {
	n := len(gate)
	dst, up = dst[:n], up[:n]
	if v := o.vectors(n); v > 0 {
		o.siluMul(&dst[0], &gate[0], &up[0], v)
		dst, gate, up = dst[v:], gate[v:], up[v:]
	}
	for i, g := range gate {
		dst[i] = float32(float64(g)/(1+math.Exp(-float64(g)))) * up[i]
	}
}

// Max is the largest element of x, which holds no NaN; -Inf when x is empty.
func (o Ops) Max(x []float32) float32 {
	m := float32(math.Inf(-1))
	if v := o.vectors(len(x)); v > 0 {
		m, x = o.maxOf(&x[0], v), x[v:]
	}
	for _, e := range x {
		m = max(m, e)
	}
	return m
}

// ExpSum sets x[i] = exp(x[i] - m) and returns their sum.
func (o Ops) ExpSum(x []float32, m float32) float32 {
	var s float32
	if v := o.vectors(len(x)); v > 0 {
		s, x = o.expSum(&x[0], v, m), x[v:]
	}
	for i, e := range x {
		x[i] = float32(math.Exp(float64(e - m)))
		s += x[i]
	}
	return s
}

// Scale multiplies x by s.
func (o Ops) Scale(x []float32, s float32) {
	if v := o.vectors(len(x)); v > 0 {
		o.scaleBy(&x[0], v, s)
		x = x[v:]
	}
	for i := range x {
		x[i] *= s
	}
}

// Softmax makes x sum to 1. Elements of -Inf become 0; at least one must be finite.
func (o Ops) Softmax(x []float32) {
	if len(x) > 0 {
		o.Scale(x, 1/o.ExpSum(x, o.Max(x)))
	}
}

// ToF16 rounds to the nearest f16, ties to even.
func (o Ops) ToF16(dst []uint16, src []float32) {
	dst = dst[:len(src)]
	if v := o.vectors(len(src)); v > 0 {
		o.toF16(&dst[0], &src[0], v)
		dst, src = dst[v:], src[v:]
	}
	for i, e := range src {
		dst[i] = narrow(e)
	}
}

// ArgMax is the index of the largest element, the first of equals; NaN counts as smallest. -1 when x is empty.
func (o Ops) ArgMax(x []float32) int {
	if len(x) == 0 {
		return -1
	}
	// Two passes, the second of which ends at the first hit: both read at the speed of the cache.
	best, at := float32(math.Inf(-1)), 0
	if v := o.vectors(len(x)); v > 0 {
		best = o.maxOf(&x[0], v)
		if i := o.indexOf(&x[0], v, best); i < v { // not so when all are NaN
			at = i
		} else {
			best = float32(math.Inf(-1))
		}
		for i, e := range x[v:] {
			if e > best {
				best, at = e, v+i
			}
		}
		return at
	}
	for i, e := range x {
		if e > best {
			best, at = e, i
		}
	}
	return at
}

// vectors is how many of n elements the assembly takes: a multiple of 16, or none.
func (o Ops) vectors(n int) int {
	if o.isa == portable {
		return 0
	}
	return n &^ 15
}
