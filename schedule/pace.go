package schedule

import "time"

// pace says how long a place in a queue of streams lasts: the usual time between two answers' ends while others waited.
type pace struct {
	last time.Time
	each time.Duration // a fading mean; 0: not known yet
}

// paceFade is the weight that one end has in the mean.
const paceFade = 8

// ended takes in the end of an answer; busy says that others wait, since a gap without them says nothing.
func (p *pace) ended(now time.Time, busy bool) {
	if gap := now.Sub(p.last); busy && !p.last.IsZero() {
		if p.each == 0 {
			p.each = gap
		} else {
			p.each += (gap - p.each) / paceFade
		}
	}
	p.last = now
}

// of is how long until that many answers have ended.
func (p *pace) of(n int) time.Duration { return time.Duration(n) * p.each }
