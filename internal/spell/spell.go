package spell

import (
	"slices"
	"strings"
)

// Nearest is the known word that s was probably meant to be, or "".
func Nearest(s string, known []string) string {
	best, least := "", 1+max(1, len(s)/3)
	for _, k := range known {
		if d := distance(strings.ToLower(s), strings.ToLower(k), least); d < least {
			best, least = k, d
		}
	}
	return best
}

// distance counts the letters to insert, delete, change or swap with a neighbour to make b of a. It gives up at limit.
func distance(a, b string, limit int) int {
	if len(a)-len(b) >= limit || len(b)-len(a) >= limit || len(a) > 64 {
		return limit
	}
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		if slices.Min(row) >= limit && slices.Min(last) >= limit {
			return limit
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
