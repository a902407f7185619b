package kernel

import "testing"

// TestChoose: each processor has the kernels whose instructions it has all of.
func TestChoose(t *testing.T) {
	old := features{avx2: true, fma: true, f16c: true} // Haswell, Zen 1 to 3
	with := func(c features, set func(*features)) features {
		set(&c)
		return c
	}
	wide := with(old, func(c *features) { c.f, c.bw, c.dq, c.vl, c.vnni = true, true, true, true, true }) // Cascade Lake, Zen 4
	for name, c := range map[string]struct {
		has  features
		want Ops
	}{
		"nothing":                      {features{}, Portable()},
		"AVX2 alone":                   {features{avx2: true}, Portable()},
		"AVX2 without FMA":             {with(old, func(c *features) { c.fma = false }), Portable()},
		"AVX2 without F16C":            {with(old, func(c *features) { c.f16c = false }), Portable()},
		"FMA and F16C without AVX2":    {with(old, func(c *features) { c.avx2 = false }), Portable()},
		"Haswell":                      {old, Ops{avx2}},
		"Alder Lake":                   {with(old, func(c *features) { c.avxVNNI = true }), Ops{avxVNNI}},
		"AVX-VNNI without FMA":         {features{avx2: true, f16c: true, avxVNNI: true}, Portable()},
		"Knights Landing":              {with(old, func(c *features) { c.f = true }), Ops{avx2}},
		"Skylake-SP":                   {with(wide, func(c *features) { c.vnni = false }), Ops{avx2}},
		"Cascade Lake":                 {wide, Ops{avx512}},
		"Sapphire Rapids":              {with(wide, func(c *features) { c.avxVNNI = true }), Ops{avx512}},
		"AVX-512 without BW":           {with(wide, func(c *features) { c.bw = false }), Ops{avx2}},
		"AVX-512 without DQ":           {with(wide, func(c *features) { c.dq = false }), Ops{avx2}},
		"AVX-512 without VL, AVX-VNNI": {with(wide, func(c *features) { c.vl, c.avxVNNI = false, true }), Ops{avxVNNI}},
		"AVX-512 without F":            {with(wide, func(c *features) { c.f = false }), Ops{avx2}},
		"AVX-512 without AVX2":         {with(wide, func(c *features) { c.avx2 = false }), Portable()},
	} {
		if got := choose(c.has); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}
