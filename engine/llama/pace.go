package llama

import (
	"time"

	"serval/llm/decode"
)

// pace learns what computing costs, and says how much of prompts may be read while others wait for their next token.
type pace struct {
	decode.Pace
	patience time.Duration // within which a piece is as long as the kernel for long prompts wants it
}

const (
	addition   = 50 * time.Millisecond // for which prompts may be read in a step, or for as long as the running sequences take
	patience   = 250 * time.Millisecond
	leastPiece = 16
)

// cheap says whether a piece of tiled tokens takes no longer than one waits gladly.
func (p *pace) cheap() bool { return tiled*p.PerPrompt() < p.patience.Seconds() }

// piece is how many tokens of prompts may be read in a step with running sequences; most bounds it, fixed (if not 0) is what
// the settings say.
func (p *pace) piece(running, most, fixed int) int {
	switch {
	case running == 0:
		return most
	case fixed > 0:
		return min(fixed, most)
	case p.PerPrompt() == 0:
		return min(tiled, most)
	}
	least := leastPiece
	if p.cheap() {
		least = tiled
	}
	longer := max(p.Cost(running), addition.Seconds())
	return min(max(int(longer/p.PerPrompt()), least), most)
}
