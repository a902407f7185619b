package decode

// Guesser proposes how an answer goes on, from the text that it was given: models that quote, edit or summarise repeat long
// pieces of it (prompt lookup decoding, Saxena 2023). A guess is computed in the same batch as the token before it, and counts
// only if the model picks the same token, with the same random numbers as if there had been no guess. So the answer is the one
// that it would have been.
type Guesser struct {
	On   bool
	rate float64 // of guesses that were right, lately
	seen int
	skip int // chances that were let go since the last guess
}

const (
	longest   = 8  // guesses at once
	gram      = 3  // tokens that must be the same
	tryAgain  = 48 // chances after which one is taken though it does not seem worth it
	firstRate = 0.6
)

func (g *Guesser) saw(guessed, right int) {
	r := float64(right) / float64(guessed)
	if g.seen == 0 {
		g.rate = firstRate
	}
	g.seen++
	g.rate += settled * (r - g.rate)
}

// Guess sets the guesses of an answer that is running: at most so many, none where that costs more than it brings. running is how many
// answers are computed in the same batch.
func (a *Answer) Guess(p *Pace, running, most int) {
	a.Guesses = nil
	most = min(longest, most, a.In.Limit-a.Made()-1)
	if !a.Guesser.On || most < 1 {
		return
	}
	found := lookUp(a.Tokens, most)
	if len(found) == 0 {
		return
	}
	n := a.Guesser.worth(p, len(found), running)
	if n == 0 {
		if a.Guesser.skip++; a.Guesser.skip < tryAgain {
			return
		}
		n = 1
	}
	a.Guesser.skip = 0
	a.Guesses = found[:n]
}

// worth is how many of n guesses make the step's tokens cheapest: each costs a row, and is of use only if all before it were
// right.
func (g *Guesser) worth(p *Pace, n, running int) int {
	rate := g.rate
	if g.seen == 0 {
		rate = firstRate
	}
	base := p.Cost(running)
	if base == 0 {
		return 0
	}
	best, at := 1.05*float64(running)/base, 0
	gain, chance := float64(running), 1.0
	for i := 1; i <= n; i++ {
		chance *= rate
		gain += chance
		if v := gain / p.Cost(running+i); v > best {
			best, at = v, i
		}
	}
	return at
}

// lookUp finds the last place before the end where the list's last tokens stand too, and returns what follows there.
func lookUp(tokens []int32, most int) []int32 {
	n := len(tokens)
	if n <= gram {
		return nil
	}
	end := [gram]int32(tokens[n-gram:])
	for i := n - gram - 1; i >= 0; i-- {
		if [gram]int32(tokens[i:i+gram]) == end {
			return tokens[i+gram : min(i+gram+most, n)]
		}
	}
	return nil
}
