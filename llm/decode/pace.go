package decode

import "time"

// Pace learns what computing costs. The zero value knows nothing.
type Pace struct {
	perPrompt float64     // seconds for a token of a prompt; 0: not known
	rows      [65]float64 // seconds of a batch of running answers by its rows; 0: not known
}

const settled = 0.2 // weight of a new measurement

func mix(old *float64, v float64) {
	if *old == 0 {
		*old = v
	} else {
		*old += settled * (v - *old)
	}
}

// SawRows records a batch of n tokens of running answers.
func (p *Pace) SawRows(n int, took time.Duration) {
	if n < len(p.rows) {
		mix(&p.rows[n], took.Seconds())
	}
}

// SawPrompt records a batch of n tokens of prompts.
func (p *Pace) SawPrompt(n int, took time.Duration) { mix(&p.perPrompt, took.Seconds()/float64(n)) }

// PerPrompt is how many seconds a token of a prompt takes; 0: not known.
func (p *Pace) PerPrompt() float64 { return p.perPrompt }

// Cost is what a batch of n tokens of running answers takes in seconds: as measured, or in proportion between measurements; 0: not
// known.
func (p *Pace) Cost(n int) float64 {
	n = min(n, len(p.rows)-1)
	if n <= 0 || p.rows[n] > 0 {
		return p.rows[max(n, 0)]
	}
	low, high := 0, 0
	for i := n - 1; i > 0 && low == 0; i-- {
		if p.rows[i] > 0 {
			low = i
		}
	}
	for i := n + 1; i < len(p.rows) && high == 0; i++ {
		if p.rows[i] > 0 {
			high = i
		}
	}
	switch {
	case low > 0 && high > 0:
		return p.rows[low] + (p.rows[high]-p.rows[low])*float64(n-low)/float64(high-low)
	case low > 0:
		return p.rows[low] + p.perPrompt*float64(n-low)
	case high > 0:
		return p.rows[high] * float64(n) / float64(high)
	}
	return p.perPrompt * float64(n)
}
