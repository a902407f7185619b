package llama

import "time"

// pace learns what computing costs, and says how much of prompts may be read while others wait for their next token.
type pace struct {
	patience  time.Duration // within which a piece is as long as the kernel for long prompts wants it
	perPrompt float64       // seconds for a token of a prompt; 0: not known
	rows      [65]float64   // seconds of a batch of running sequences by its rows; 0: not known
}

const (
	settled    = 0.2                   // weight of a new measurement
	addition   = 50 * time.Millisecond // for which prompts may be read in a step, or for as long as the running sequences take
	patience   = 250 * time.Millisecond
	leastPiece = 16
)

func mix(old *float64, v float64) {
	if *old == 0 {
		*old = v
	} else {
		*old += settled * (v - *old)
	}
}

// sawRows records a batch of n tokens of running sequences.
func (p *pace) sawRows(n int, took time.Duration) {
	if n < len(p.rows) {
		mix(&p.rows[n], took.Seconds())
	}
}

// sawPrompt records a batch of n tokens of prompts.
func (p *pace) sawPrompt(n int, took time.Duration) { mix(&p.perPrompt, took.Seconds()/float64(n)) }

// cost is what a step of n rows takes in seconds: as measured, or in proportion between measurements; 0: not known.
func (p *pace) cost(n int) float64 {
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

// cheap says whether a piece of tiled tokens takes no longer than one waits gladly.
func (p *pace) cheap() bool { return tiled*p.perPrompt < p.patience.Seconds() }

// piece is how many tokens of prompts may be read in a step with running sequences; most bounds it, fixed (if not 0) is what
// the settings say.
func (p *pace) piece(running, most, fixed int) int {
	switch {
	case running == 0:
		return most
	case fixed > 0:
		return min(fixed, most)
	case p.perPrompt == 0:
		return min(tiled, most)
	}
	least := leastPiece
	if p.cheap() {
		least = tiled
	}
	longer := max(p.cost(running), addition.Seconds())
	return min(max(int(longer/p.perPrompt), least), most)
}
