package stream

import (
	"sync/atomic"
	"time"
)

// A background stream stands aside while online calls come: it takes messages in bites, and rests after each. What it costs the others is
// then how often a call meets a bite, which must be well below once in a hundred for their p99 not to show it; the work of the broker's client
// and of the broker, which cannot be stopped for a call, follows the bites. Nobody waits for ever: a bite comes every biteRest, and what must
// end (a stop, lanes that are given away, a transaction that is closing) does not stand aside.
const (
	biteTime = 300 * time.Microsecond // of a caller's work; where a call takes longer whatever its rows are, twice that
	biteMost = 128                    // messages: the others have to read and write them, too
	biteRest = 50 * time.Millisecond  // from the beginning of a bite to that of the next
)

// aside is what the loop, which owns next, and the callers know of it.
type aside struct {
	cost  atomic.Int64 // nanoseconds of a caller's time that a message takes, a fading mean; 0: not known yet
	least atomic.Int64 // and that the quickest group took
	next  time.Time    // when the next bite may be taken
}

// spent takes in how long a group took its caller.
func (a *aside) spent(took time.Duration, messages int) {
	each, old, least := int64(took)/int64(messages), a.cost.Load(), a.least.Load()
	if old > 0 {
		each = old + (each-old)/8
	}
	a.cost.Store(max(each, 1)) // callers that do it at once lose one of two samples, which is no matter
	if least == 0 || int64(took) < least {
		a.least.Store(max(int64(took), 1))
	}
}

// bite is how many messages are taken at once.
func (a *aside) bite() int {
	cost := a.cost.Load()
	if cost == 0 {
		return 8 // to learn it
	}
	return int(min(max(max(int64(biteTime), 2*a.least.Load())/cost, 1), biteMost))
}

// standsAside says whether the stream takes bites now.
func (r *run) standsAside() bool {
	return r.w.opt.Busy != nil && !r.drain && r.leaving == 0 && !r.round.closed() && r.w.opt.Busy()
}
