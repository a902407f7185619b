package stream

import (
	"errors"
	"time"

	"serval"
)

// round is one transaction of an exactly-once stream: messages are read for a while, then what was read is finished and
// written, then all of it is committed. The loop owns it; the zero round is that of a stream without transactions.
type round struct {
	on      bool
	used    bool // something was read
	taken   int
	since   time.Time // the first was read
	length  time.Duration
	most    int // messages that it takes; less than roundMost after one that took too long
	closing bool
	failed  error   // it can only be undone
	done    []*item // written in it
	// condemned are messages whose results the target will never take: met again, they are dead letters at once.
	condemned map[Position]*serval.Error
}

const (
	roundMost  = 1 << 17          // messages in a transaction
	roundLimit = 20 * time.Second // it is undone when it takes longer: brokers undo it themselves a little later
	condemnMax = 1 << 12
)

// closed says whether no more is to be read now.
func (o *round) closed() bool { return o.on && (o.closing || o.failed != nil) }

// took counts what was read.
func (o *round) took(n int) {
	if !o.on {
		return
	}
	if !o.used {
		o.used, o.since = true, time.Now()
	}
	o.taken += n
}

// alarm is when the round needs attention; zero: it does not.
func (o *round) alarm(now time.Time) time.Time {
	switch {
	case !o.on || !o.used || o.failed != nil:
	case !o.closing:
		return o.since.Add(o.length)
	case now.Before(o.since.Add(roundLimit)):
		return o.since.Add(roundLimit)
	}
	return time.Time{}
}

// begin opens the first transaction.
func (r *run) begin() error {
	if r.session == nil {
		return nil
	}
	r.round = round{on: true, length: r.w.opt.Transaction, most: roundMost, condemned: map[Position]*serval.Error{}}
	return r.session.Begin(r.hard)
}

// turn closes the round when it is time, and has it committed, or undone, when nothing is under way any more.
func (r *run) turn(now time.Time) {
	o := &r.round
	if !o.on || !o.used {
		return
	}
	if !o.closing && (o.taken >= o.most || !now.Before(o.since.Add(o.length)) || r.paused || r.drain) {
		o.closing = true
	}
	if o.closing && o.failed == nil && !now.Before(o.since.Add(roundLimit)) {
		o.most = max(1, len(o.done)/2) // else the next one takes as much, and is never finished, either
		r.fail(errors.New("the transaction could not be finished in time; the next one has fewer messages"))
	}
	if r.reading != nil && o.closed() {
		r.reading()
		return
	}
	switch {
	case r.writing || r.calling > 0 || !o.closed():
	case o.failed != nil:
		r.writing = true
		r.writes <- job{kind: abort}
	case r.inFlight == 0:
		r.writing = true
		r.writes <- job{kind: commit}
	}
}

// fail has the round undone.
func (r *run) fail(err error) {
	if r.round.failed == nil {
		r.round.failed = err
	}
	r.dropAll()
}

// ended takes the end of a round.
func (r *run) ended(res result) error {
	o := &r.round
	if res.err != nil {
		return errors.Join(ErrBroken, res.err)
	}
	if res.committed {
		r.w.count.wrote(o.done)
		r.w.trouble("")
		r.wait = 0
		if o.taken >= o.most && time.Since(o.since) < roundLimit/4 {
			o.most = min(2*o.most, roundMost)
		}
	} else {
		r.w.count.aborted.Add(1)
		reason := "a transaction was undone: its partitions were moved"
		if o.failed != nil {
			reason = o.failed.Error()
			r.wait = r.w.opt.Retry.next(r.wait)
			r.calm = time.Now().Add(r.wait)
		}
		r.w.opt.Log.Warn("stream: transaction undone", "stream", r.w.opt.Name, "reason", reason)
		if o.failed != nil {
			r.w.trouble(reason)
		}
	}
	clear(o.done)
	*o = round{on: true, length: o.length, most: o.most, condemned: o.condemned, done: o.done[:0]}
	return nil
}

// condemn remembers messages whose results the target refused for good.
func (r *run) condemn(list map[Position]*serval.Error) {
	if len(r.round.condemned)+len(list) > condemnMax {
		clear(r.round.condemned)
	}
	for p, err := range list {
		r.round.condemned[p] = err
	}
}
