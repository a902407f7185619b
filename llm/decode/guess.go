package decode

import "slices"

// Guesses come from the text that is there: models that quote, edit or summarise repeat long pieces of it (prompt lookup decoding,
// Saxena 2023). A guess is computed in the same batch as the token before it, and counts only if the same token is picked, with the
// same random numbers as if there had been no guess. So the answer is the one that it would have been.
//
// What stands behind the longest repetition is compared with every token that is picked, whether it was computed as a guess or not:
// so how often it is right, by how much was repeated before, is learned for nothing, and a guess is computed only where by that
// and by what a row costs it makes the batch's tokens cheaper.

const (
	longest = 15   // guesses of one answer at once
	gram    = 2    // tokens that must be repeated, at least
	far     = 16   // and how many are looked at
	classes = 6    // of repetitions, by their length; see class
	least   = 0.05 // chance below which no guess is looked at
	gain    = 1.05 // by how much more tokens a second there must be, since costs are not exact
	ownRate = 0.2  // weight of a token in what an answer knows
	allRate = 0.02 // and in what an answer begins with
)

// rates are how often what follows a repetition is right, by its class.
type rates [classes]float64

// usual is what they are taken for before anything was seen.
func usual() rates { return rates{0.2, 0.35, 0.45, 0.6, 0.75, 0.9} }

func class(match int) int {
	switch {
	case match < 4:
		return match - gram
	case match < 6:
		return 2
	case match < 9:
		return 3
	case match < far:
		return 4
	}
	return 5
}

// guesser knows what may follow an answer's last token.
type guesser struct {
	from  int   // of its tokens: the one that may follow; 0: nothing is repeated
	match int   // tokens before that are as those at the end
	rates rates // of this answer
	seen  [classes]int32
	right [classes]int32 // of those seen, since Offer told the model
	list  [longest]int32
}

// saw learns from the token that was picked last.
func (g *guesser) saw(tokens []int32) {
	n := len(tokens) - 1
	if g.from > 0 {
		c, hit := class(g.match), tokens[g.from] == tokens[n]
		g.seen[c]++
		right := 0.0
		if hit {
			right = 1
			g.right[c]++
		}
		g.rates[c] += ownRate * (right - g.rates[c])
		if hit {
			g.from++
			g.match++
			return
		}
	}
	g.from, g.match = repeated(tokens)
}

// repeated finds the longest of the last tokens that stand elsewhere, too, the last such place, and returns where that goes on and how
// many they are; 0 if they are fewer than gram. Longer ones than far are as good as each other.
func repeated(tokens []int32) (from, match int) {
	n := len(tokens)
	if n <= gram {
		return 0, 0
	}
	last, before := tokens[n-1], tokens[n-2]
	for i := n - 2; i > 0; i-- {
		if tokens[i] != last || tokens[i-1] != before {
			continue
		}
		m := gram
		for m < far && i-m >= 0 && tokens[i-m] == tokens[n-1-m] {
			m++
		}
		if m > match {
			if from, match = i+1, m; m == far {
				break
			}
		}
	}
	return from, match
}

// Guesses choose for the answers of a batch what of them to compute beside their next tokens. The zero value is ready; it belongs to one
// goroutine.
type Guesses struct {
	chances []chance
}

// chance is that a guess, and all before it, are right.
type chance struct {
	of    *Answer
	value float64
}

// Offer takes a running answer that is computed in the next batch, with room for so many guesses.
func (s *Guesses) Offer(a *Answer, room int) {
	a.Guesses = nil
	if !a.speculate {
		return
	}
	g := &a.guesser
	all := a.model.ratesOf(a)
	for c, n := range g.seen {
		if n > 0 {
			r := &all[c]
			*r += min(float64(n)*allRate, 1) * (float64(g.right[c])/float64(n) - *r)
		}
	}
	g.seen, g.right = [classes]int32{}, [classes]int32{}
	if g.from == 0 {
		return
	}
	value := 1.0
	for i := range min(longest, room, a.In.Limit-a.Made()-1) {
		if value *= g.rates[class(g.match+i)]; value < least {
			break
		}
		s.chances = append(s.chances, chance{a, value})
	}
}

// Choose sets the guesses of those that were offered, in a batch with so many rows without them, at most so many together: those that make
// tokens cheapest. It forgets what was offered.
func (s *Guesses) Choose(p *Pace, rows, most int) {
	// Of one answer each is less likely than the one before, so that order among them stays.
	slices.SortStableFunc(s.chances, func(a, b chance) int {
		switch {
		case a.value > b.value:
			return -1
		case a.value < b.value:
			return 1
		}
		return 0
	})
	if base := p.Cost(rows); base > 0 {
		best, at := gain*float64(rows)/base, 0
		tokens := float64(rows)
		for i := range min(most, len(s.chances)) {
			tokens += s.chances[i].value
			if v := tokens / p.Cost(rows+i+1); v > best {
				best, at = v, i+1
			}
		}
		for _, c := range s.chances[:at] {
			a := c.of
			n := len(a.Guesses)
			a.guesser.list[n] = a.ahead(n)
			a.Guesses = a.guesser.list[:n+1]
		}
	}
	clear(s.chances)
	s.chances = s.chances[:0]
}

// ahead is the i-th guess; those before it are made. A repetition that reaches the end goes on with itself.
func (a *Answer) ahead(i int) int32 {
	at := a.guesser.from + i
	if at < len(a.Tokens) {
		return a.Tokens[at]
	}
	return a.guesser.list[at-len(a.Tokens)]
}
