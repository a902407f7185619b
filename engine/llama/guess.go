package llama

// guesser proposes how an answer goes on, from the text that it was given: models that quote, edit or summarise repeat long
// pieces of it (prompt lookup decoding, Saxena 2023). A guess is computed in the same batch as the token before it, and counts
// only if the model picks the same token, with the same random numbers as if there had been no guess. So the answer is the one
// that it would have been.
type guesser struct {
	on   bool
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

func (g *guesser) saw(guessed, right int) {
	r := float64(right) / float64(guessed)
	if g.seen == 0 {
		g.rate = firstRate
	}
	g.seen++
	g.rate += settled * (r - g.rate)
}

// guesses are the tokens that may follow the last one of s; none where that costs more than it brings.
func (d *decoder) guesses(s *sequence, running int) []int32 {
	if !s.guess.on || d.plan.Stream > 0 && running > 1 { // of streams, llama.cpp computes as many tokens of each together
		return nil
	}
	b := d.main.batch
	most := min(longest, s.in.Limit-s.made()-1, d.plan.Outputs-b.wanted-running, b.room()-running, len(d.cells.free)-running)
	if most < 1 {
		return nil
	}
	found := lookUp(s.tokens, most)
	if len(found) == 0 {
		return nil
	}
	n := d.worth(&s.guess, len(found), running)
	if n == 0 {
		if s.guess.skip++; s.guess.skip < tryAgain {
			return nil
		}
		n = 1
	}
	s.guess.skip = 0
	return found[:n]
}

// worth is how many of n guesses make the step's tokens cheapest: each costs a row, and is of use only if all before it were
// right.
func (d *decoder) worth(g *guesser, n, running int) int {
	rate := g.rate
	if g.seen == 0 {
		rate = firstRate
	}
	base := d.pace.cost(running)
	if base == 0 {
		return 0
	}
	best, at := 1.05*float64(running)/base, 0
	gain, chance := float64(running), 1.0
	for i := 1; i <= n; i++ {
		chance *= rate
		gain += chance
		if v := gain / d.pace.cost(running+i); v > best {
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
