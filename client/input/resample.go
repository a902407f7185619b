package input

import "math"

// resampler changes a sound's rate by the method of band-limited interpolation (Smith, "Digital Audio Resampling", 2002): each
// new sample is a sum over the old ones around it, weighted by a sinc under a Kaiser window. What the lower of the two rates
// cannot hold is filtered out.
type resampler struct {
	step  float64 // old samples for a new one
	cut   float64 // of the filter, as a part of the old rate's half
	reach float64 // of the filter to either side, in old samples
	table []float64
}

const (
	crossings   = 32   // zero crossings of the sinc to either side
	steps       = 1024 // entries of the table between two of them
	kaiserBeta  = 9.0  // about 90 dB of attenuation
	passed      = 0.95 // part of the lower rate's half that passes; the rest is the filter's slope
	tableLength = crossings*steps + 2
)

func newResampler(from, to int) *resampler {
	cut := passed * min(1, float64(to)/float64(from))
	r := &resampler{step: float64(from) / float64(to), cut: cut, reach: crossings / cut, table: make([]float64, tableLength)}
	for i := range crossings * steps {
		x := float64(i) / steps
		w := x / crossings
		v := bessel0(kaiserBeta*math.Sqrt(1-w*w)) / bessel0(kaiserBeta)
		if i > 0 {
			v *= math.Sin(math.Pi*x) / (math.Pi * x)
		}
		r.table[i] = cut * v
	}
	return r
}

// at is new sample n of a sound of old samples.
func (r *resampler) at(x []float32, n int) float32 {
	middle := float64(n) * r.step
	first := max(0, int(math.Ceil(middle-r.reach)))
	last := min(len(x)-1, int(math.Floor(middle+r.reach)))
	sum := 0.0
	for i := first; i <= last; i++ {
		where := math.Abs(middle-float64(i)) * r.cut * steps
		k := int(where)
		if k >= tableLength-1 {
			continue
		}
		a, b := r.table[k], r.table[k+1]
		sum += float64(x[i]) * (a + (b-a)*(where-float64(k)))
	}
	return float32(sum)
}

// bessel0 is the modified Bessel function of the first kind and order 0, by its series.
func bessel0(x float64) float64 {
	sum, term := 1.0, 1.0
	for k := 1.0; term > 1e-14*sum; k++ {
		term *= x / 2 / k * (x / 2 / k)
		sum += term
	}
	return sum
}
