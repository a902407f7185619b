package quantize

import "math"

// What follows finds the real numbers that a group of weights share: a scale d with x ≈ d·q, or a scale and a minimum with
// x ≈ d·q - m, q whole numbers of a range. The sum of w·(x - its approximation)² is to be small. For given q the best d (and m) are
// those of linear least squares, for given d (and m) the best q are those that rounding gives; going to and fro between both never makes it
// worse, and ends in the nearest local minimum (Lloyd 1957, in the form that fits a grid). The beginnings are ranges a little narrower
// and wider than the weights' own.

// group is a group of weights with what they weigh.
type group struct{ x, w []float64 }

// peak is the weight that is farthest from zero.
func (g group) peak() float64 {
	var p, most float64
	for _, x := range g.x {
		if a := abs(x); a > most {
			p, most = x, a
		}
	}
	return p
}

func abs(x float64) float64 { return max(x, -x) }

// clamp keeps a whole number in a range.
func clamp(q, lo, hi float64) float64 {
	if q < lo {
		return lo
	}
	if q > hi {
		return hi
	}
	return q
}

// scale finds d for x ≈ d·q, lo ≤ q ≤ hi, and returns what is left of the error's sum over Σ w·x² (which is not above 0).
func (g group) scale(lo, hi float64) (d, gain float64) {
	peak := g.peak()
	if abs(peak) < tiny {
		return 0, 0
	}
	// The largest weight on the end of the range that has more numbers, and a little inside and outside; and on the other end.
	for i := range scaleTries {
		at := lo + float64(scaleStep*float64(i-scaleTries/2))
		if try, better := g.step(peak/at, lo, hi); better > gain {
			d, gain = try, better
		}
	}
	if hi < -lo {
		if try, better := g.step(peak/hi, lo, hi); better > gain {
			d, gain = try, better
		}
	}
	for range 3 {
		try, better := g.step(d, lo, hi)
		if !(better > gain) {
			break
		}
		d, gain = try, better
	}
	return d, gain
}

const (
	tiny       = 1e-30 // weights below are zeros
	scaleTries = 9
	scaleStep  = 0.25
)

// step rounds with d, and returns the best scale for the numbers that gives, and by how much it lowers the error from that of d = 0.
func (g group) step(d, lo, hi float64) (best, gain float64) {
	inverse := 1 / d
	var xq, qq float64
	for i, x := range g.x {
		q := clamp(nearest(x*inverse), lo, hi)
		wq := float64(g.w[i] * q)
		xq += float64(wq * x)
		qq += float64(wq * q)
	}
	if qq <= 0 {
		return 0, 0
	}
	return xq / qq, xq * xq / qq
}

// line is x ≈ d·q - m.
type line struct{ d, m float64 }

// line finds d and m for x ≈ d·q - m, 0 ≤ q ≤ hi. With positive, m is not below 0.
func (g group) line(hi float64, positive bool) line {
	low, high := g.x[0], g.x[0]
	for _, x := range g.x {
		low, high = min(low, x), max(high, x)
	}
	if positive {
		low = min(low, 0)
	}
	span := high - low
	if !(span > tiny) {
		return line{0, -low}
	}
	var best line
	least := math.Inf(1)
	for i := range lineTries {
		// Outliers on both ends: the range is cut on both in the same way; least squares moves the ends apart.
		narrow := float64(lineStep * float64(i-1))
		l := line{span * (1 - narrow) / hi, -low - span*narrow/2}
		if positive {
			l.m = max(l.m, 0)
		}
		l, _ = g.turn(l, hi, positive)
		l, err := g.turn(l, hi, positive) // one more tells better which beginning is a good one
		if err < least {
			best, least = l, err
		}
	}
	for range 3 {
		l, err := g.turn(best, hi, positive)
		if !(err < least) {
			break
		}
		best, least = l, err
	}
	return best
}

const (
	lineTries = 6
	lineStep  = 0.06
)

// turn rounds with l, and returns the best line for the numbers that gives, with its error.
func (g group) turn(l line, hi float64, positive bool) (line, float64) {
	inverse := 1 / l.d
	var w1, wq, wqq, wx, wxq, wxx float64
	for i, x := range g.x {
		q := clamp(nearest((x+l.m)*inverse), 0, hi)
		w := g.w[i]
		a, b := float64(w*q), float64(w*x)
		w1 += w
		wq += a
		wqq += float64(a * q)
		wx += b
		wxq += float64(b * q)
		wxx += float64(b * x)
	}
	det := float64(w1*wqq) - float64(wq*wq)
	if !(det > 0) { // all the same number
		if w1 <= 0 {
			return l, 0
		}
		return line{l.d, l.m}, wxx
	}
	d := (float64(w1*wxq) - float64(wx*wq)) / det
	m := (float64(wq*wxq) - float64(wqq*wx)) / det
	if positive && m < 0 {
		m, d = 0, wxq/wqq
	}
	if !(d > 0) {
		return l, wxx
	}
	// Σ w (x - d q + m)²
	err := wxx + float64(d*d*wqq) + float64(m*m*w1) - 2*float64(d*wxq) + 2*float64(m*wx) - 2*float64(d*m*wq)
	return line{d, m}, err
}
