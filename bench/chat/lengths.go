package chat

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"

	"serval"
)

// maxLength bounds words and tokens.
const maxLength = 1 << 20

// Lengths are a distribution of lengths, in words or tokens. The zero value is none.
type Lengths struct {
	Least, Most int     // uniform between them, both included; where there is a Sigma, the bounds
	Median      float64 // of a lognormal distribution
	Sigma       float64 // its standard deviation in natural logarithms; 0: uniform
}

// Fixed is always n.
func Fixed(n int) Lengths { return Lengths{Least: n, Most: n} }

// ParseLengths reads "60", "20-200" (uniform) or "lognormal:60,0.8,2000" (median, sigma, and at most; the last may be left out).
func ParseLengths(text string) (Lengths, error) {
	bad := func() (Lengths, error) {
		return Lengths{}, serval.Errorf(serval.InvalidArgument, "%q: write 60, 20-200 or lognormal:MEDIAN,SIGMA[,MOST]", text)
	}
	l := Lengths{Least: 1, Most: maxLength}
	var err error
	if rest, ok := strings.CutPrefix(text, "lognormal:"); ok {
		parts := strings.Split(rest, ",")
		if len(parts) != 2 && len(parts) != 3 {
			return bad()
		}
		if l.Median, err = strconv.ParseFloat(parts[0], 64); err != nil {
			return bad()
		}
		if l.Sigma, err = strconv.ParseFloat(parts[1], 64); err != nil {
			return bad()
		}
		if len(parts) == 3 {
			if l.Most, err = strconv.Atoi(parts[2]); err != nil {
				return bad()
			}
		}
		if l.Sigma == 0 { // or it would read as uniform
			return bad()
		}
		return l, l.check()
	}
	least, most, ranged := strings.Cut(text, "-")
	if l.Least, err = strconv.Atoi(least); err != nil {
		return bad()
	}
	l.Most = l.Least
	if ranged {
		if l.Most, err = strconv.Atoi(most); err != nil {
			return bad()
		}
	}
	return l, l.check()
}

func (l *Lengths) check() error {
	switch {
	case l.Least < 1 || l.Most < l.Least || l.Most > maxLength:
		return serval.Errorf(serval.InvalidArgument, "%s: lengths go from 1 to %d", l, maxLength)
	case l.Sigma != 0 && !(l.Sigma > 0 && l.Sigma <= 5 && l.Median >= 1 && l.Median <= maxLength):
		return serval.Errorf(serval.InvalidArgument, "%s: the median is 1 to %d, sigma above 0 and at most 5", l, maxLength)
	}
	return nil
}

// String is what ParseLengths reads.
func (l Lengths) String() string {
	switch {
	case l.Sigma != 0 && l.Most < maxLength:
		return fmt.Sprintf("lognormal:%g,%g,%d", l.Median, l.Sigma, l.Most)
	case l.Sigma != 0:
		return fmt.Sprintf("lognormal:%g,%g", l.Median, l.Sigma)
	case l.Least == l.Most:
		return strconv.Itoa(l.Least)
	}
	return fmt.Sprintf("%d-%d", l.Least, l.Most)
}

func (l *Lengths) draw(r *rand.Rand) int {
	if l.Sigma == 0 {
		return l.Least + r.IntN(l.Most-l.Least+1)
	}
	n := l.Median * math.Exp(l.Sigma*r.NormFloat64())
	return int(min(max(math.Round(n), float64(l.Least)), float64(l.Most)))
}
