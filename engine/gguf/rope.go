package gguf

import (
	"math"

	"serval/llm/gguf"
)

// rope turns the keys and queries of a position (Su et al., "RoFormer", 2021).
type rope struct {
	dims  int       // values of a head that are turned
	freqs []float64 // of each pair, in radians a position
	apart int       // values between the two of a pair: 1, or half of dims
}

// read makes the frequencies from the header and, where there is one, the tensor that divides them (Llama 3).
func (r *rope) read(h *header, x *shape) {
	f := h.f
	r.dims = h.number("rope.dimension_count", x.head, maxWidth)
	if r.dims > x.head || r.dims%2 != 0 {
		h.decline("%d of the %d values of a head are turned", r.dims, x.head)
		return
	}
	r.apart = 1
	if x.halves {
		r.apart = r.dims / 2
	}
	base, scale := h.real("rope.freq_base", 10000), 1.0
	if base <= 0 {
		h.decline("its rope.freq_base is %g", base)
		return
	}
	factor := h.real("rope.scaling.factor", h.real("rope.scale_linear", 0))
	switch kind, said := f.String(h.key("rope.scaling.type")); {
	case kind == "linear" || !said:
		if factor > 0 {
			scale = 1 / factor
		}
	case kind == "none":
	default:
		h.decline("its rope is scaled by %q", kind)
	}
	for _, key := range []string{"rope.scaling.attn_factor", "rope.scaling.yarn_log_multiplier"} {
		if v := h.real(key, 0); v != 0 && v != 1 {
			h.decline("it has %s.%s", x.arch, key)
		}
	}
	factors := make([]float32, r.dims/2)
	for i := range factors {
		factors[i] = 1
	}
	if t := f.Tensor(freqsName); t != nil && x.factors {
		if t.Type != gguf.F32 || t.Elements() != int64(len(factors)) {
			h.decline("tensor %s is of type %s and has %d values", freqsName, t.Type, t.Elements())
			return
		}
		list, err := floats(f, t)
		if err != nil {
			h.decline("tensor %s: %v", freqsName, err)
			return
		}
		factors = list
	}
	r.freqs = make([]float64, len(factors))
	for i, factor := range factors {
		if !(factor > 0) {
			h.decline("tensor %s has the value %g", freqsName, factor)
			return
		}
		r.freqs[i] = scale * math.Pow(base, -2*float64(i)/float64(r.dims)) / float64(factor)
	}
}

// unscaled is a rope of the same pairs with another base.
func (r *rope) unscaled(base float64) rope {
	out := *r
	out.freqs = make([]float64, len(r.freqs))
	for i := range out.freqs {
		out.freqs[i] = math.Pow(base, -2*float64(i)/float64(r.dims))
	}
	return out
}

// angles writes the cosines and sines of a position, a pair for each frequency.
func (r *rope) angles(dst []float32, pos int) {
	for i, f := range r.freqs {
		sin, cos := math.Sincos(float64(pos) * f)
		dst[2*i], dst[2*i+1] = float32(cos), float32(sin)
	}
}

// turn turns one head in place.
func (r *rope) turn(head, angles []float32) {
	head = head[:r.dims]
	angles = angles[:r.dims]
	if r.apart > 1 {
		low, high := head[:r.apart], head[r.apart:]
		for i, a := range low {
			cos, sin, b := angles[2*i], angles[2*i+1], high[i]
			low[i], high[i] = a*cos-b*sin, a*sin+b*cos
		}
		return
	}
	for i := 0; i+1 < len(head); i += 2 {
		cos, sin := angles[i], angles[i+1]
		a, b := head[i], head[i+1]
		head[i], head[i+1] = a*cos-b*sin, a*sin+b*cos
	}
}
