package schedule

import "time"

// cost estimates how long batches take as a + b × rows, by least squares over recent batches, older ones fading out. Until
// batches of different sizes were seen, all of it counts as a: an estimate that is too low lets the queue grow until it is
// known better, one that is too high would refuse calls for no reason.
type cost struct {
	weight, rows, ns, rows2, rowsNs float64 // sums, faded
}

// costFade is the weight that one batch leaves to those before it.
const costFade = 1 - 1.0/32

// seen takes in a batch.
func (c *cost) seen(rows int64, took time.Duration) {
	n, t := float64(rows), float64(took)
	c.weight = c.weight*costFade + 1
	c.rows = c.rows*costFade + n
	c.ns = c.ns*costFade + t
	c.rows2 = c.rows2*costFade + n*n
	c.rowsNs = c.rowsNs*costFade + n*t
}

// of is how long that many batches with that many rows together would take, one after another.
func (c *cost) of(batches, rows int64) time.Duration {
	if c.weight == 0 {
		return 0
	}
	n, t := c.rows/c.weight, c.ns/c.weight
	a, b := t, 0.0
	if variance := c.rows2/c.weight - n*n; variance > 1e-3 {
		b = max(0, (c.rowsNs/c.weight-n*t)/variance)
		if a = t - b*n; a < 0 {
			a, b = 0, t/n
		}
	}
	return time.Duration(a*float64(batches) + b*float64(rows))
}
