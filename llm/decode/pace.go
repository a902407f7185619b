package decode

import "time"

// Pace learns what computing costs. The zero value knows nothing.
type Pace struct {
	perPrompt float64 // seconds for a token of a prompt; 0: not known
	// A batch of n rows of running answers takes level*shape[n] seconds: what slows all of them, a busy machine or long texts, is in
	// the level, which follows fast, so that what was learned of a size long ago stays of use. 0: not known.
	level float64
	shape [129]float64
	times [129]int // it was measured
}

const (
	promptRate = 0.2 // weights of a new measurement
	levelRate  = 0.1
	shapeRate  = 0.01 // once there are as many measurements
	heldUp     = 2    // times what is expected: more is another's doing
)

// SawRows records a batch of n tokens of running answers.
func (p *Pace) SawRows(n int, took time.Duration) {
	if n < 1 || n >= len(p.shape) || took <= 0 {
		return
	}
	t := took.Seconds()
	if p.level == 0 {
		p.level = t
	}
	if p.times[n]++; p.times[n] == 1 {
		p.shape[n] = t / p.level
		return
	}
	t = min(t, heldUp*p.level*p.shape[n])
	p.level += levelRate * (t/p.shape[n] - p.level)
	p.shape[n] += max(shapeRate, 1/float64(p.times[n])) * (t/p.level - p.shape[n])
}

// SawPrompt records a batch of n tokens of prompts.
func (p *Pace) SawPrompt(n int, took time.Duration) {
	t := took.Seconds() / float64(n)
	if p.perPrompt == 0 {
		p.perPrompt = t
	}
	p.perPrompt += promptRate * (t - p.perPrompt)
}

// PerPrompt is how many seconds a token of a prompt takes; 0: not known.
func (p *Pace) PerPrompt() float64 { return p.perPrompt }

// Cost is what a batch of n tokens of running answers takes in seconds: as measured, no more than a larger one, in proportion
// between measurements, and with so much for each row as prompts take beyond them; 0: not known.
func (p *Pace) Cost(n int) float64 {
	if n <= 0 {
		return 0
	}
	low, high := min(n, len(p.shape)-1), n
	for low > 0 && p.shape[low] == 0 {
		low--
	}
	for high < len(p.shape) && p.shape[high] == 0 {
		high++
	}
	switch {
	case low == n:
		c := p.shape[n]
		for _, larger := range p.shape[n+1:] {
			if larger > 0 {
				c = min(c, larger)
			}
		}
		return p.level * c
	case low > 0 && high < len(p.shape):
		return p.level * (p.shape[low] + (p.shape[high]-p.shape[low])*float64(n-low)/float64(high-low))
	case low > 0:
		return p.level*p.shape[low] + p.perPrompt*float64(n-low)
	case high < len(p.shape):
		return p.level * p.shape[high] * float64(n) / float64(high)
	}
	return p.perPrompt * float64(n)
}
