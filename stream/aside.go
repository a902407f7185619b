package stream

import (
	"sync"
	"time"
)

// A background stream stands aside while online calls come: it takes messages in bites, and rests after each. What it costs the others is
// then how often a call meets a bite, which must be well below once in a hundred for their p99 not to show it; the work of the broker's client
// and of the broker, which cannot be stopped for a call, follows the bites. A bite comes every biteRest, but its calls wait in the model's
// queue for as long as others fill that. What must end (a stop, lanes that are given away, a transaction that is closing) does not stand
// aside.
const (
	biteTime = 300 * time.Microsecond // of a caller's work; where a call takes longer whatever its rows are, twice that
	biteMost = 128                    // messages: the others have to read and write them, too
	biteRest = 50 * time.Millisecond  // from the beginning of a bite to that of the next
)

// aside is what the loop, which owns next, and the callers know of it.
type aside struct {
	next time.Time // when the next bite may be taken

	mu     sync.Mutex    // guards what follows
	loaded time.Time     // when the model was that it is of: another one takes another time
	cost   time.Duration // of a caller's time that a message takes where it does not wait, about; 0: not known yet
	least  time.Duration // that the quickest group took
}

// spent takes in how long a group took its caller in which the model answered so many messages. One without any tells nothing: a message that
// cannot be read, and a model that is not there, take no time at all.
func (a *aside) spent(loaded time.Time, took time.Duration, answered int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if answered == 0 || loaded.Before(a.loaded) {
		return
	}
	if !loaded.Equal(a.loaded) {
		a.loaded, a.cost, a.least = loaded, 0, 0
	}
	each := took / time.Duration(answered)
	if a.cost > 0 && each > a.cost {
		each = a.cost + (each-a.cost)/64 // mostly it waited for others' calls, and few messages at once do not make that shorter
	}
	a.cost = max(each, 1)
	if a.least == 0 || took < a.least {
		a.least = max(took, 1)
	}
}

// bite is how many messages are taken at once.
func (a *aside) bite() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.cost == 0 {
		return 8 // to learn it
	}
	return int(min(max(max(biteTime, 2*a.least)/a.cost, 1), biteMost))
}

// standsAside says whether the stream takes bites now.
func (r *run) standsAside() bool {
	return r.w.opt.Busy != nil && !r.drain && r.leaving == 0 && !r.round.closed() && r.w.opt.Busy()
}
