package child

import (
	"math/rand/v2"
	"time"
)

// Pace is when a process that died is started again. The zero value of a field means its default.
type Pace struct {
	First time.Duration // pause after the first death; it doubles with each further one; 0: 100 ms
	Most  time.Duration // longest pause; 0: 30 s
	// Long is how long a process must have served to count as sound; 0: 1 min. After Deaths that came sooner, one after
	// another, the model is given up; 0: 5.
	Long   time.Duration
	Deaths int
}

func (p Pace) filled() Pace {
	def := func(v *time.Duration, d time.Duration) {
		if *v == 0 {
			*v = d
		}
	}
	def(&p.First, 100*time.Millisecond)
	def(&p.Most, 30*time.Second)
	def(&p.Long, time.Minute)
	if p.Deaths == 0 {
		p.Deaths = 5
	}
	return p
}

// lives counts a model's processes that died young. It decides only; one goroutine owns it.
type lives struct {
	pace  Pace
	short int // deaths in a row
}

// died takes in that a process ended which had served for so long; one that never came to serve has served 0. It says after
// what pause the next is started, or that there should be none.
func (l *lives) died(served time.Duration) (pause time.Duration, again bool) {
	if served >= l.pace.Long {
		l.short = 0
	}
	l.short++
	if l.short >= l.pace.Deaths {
		return 0, false
	}
	pause = l.pace.Most
	if double := l.pace.First << (l.short - 1); l.short < 32 && double > 0 && double < pause {
		pause = double
	}
	return pause - time.Duration(rand.Int64N(int64(pause)/4+1)), true // children that died together do not start together
}
