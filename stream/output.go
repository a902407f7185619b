package stream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"serval"
)

// job is what the writer is asked for.
type job struct {
	kind  jobKind
	items []*item
}

type jobKind uint8

const (
	write jobKind = iota
	flush
	commit
	abort
)

// result is what came of it.
type result struct {
	job
	done      []*item   // with which nothing more is to be done
	due       time.Time // when what else was taken is to be flushed; zero: there is none
	err       error
	committed bool
	condemned map[Position]*serval.Error
}

// writer writes, commits and acks, one job after the other.
func (r *run) writer() {
	deferred, _ := r.dst.(Deferred)
	var held []*item // taken by a Deferred, in the order of their lanes
	for j := range r.writes {
		res := result{job: j}
		switch j.kind {
		case write:
			var live []*item
			live, res.condemned, res.err = r.deliver(j.items)
			res.done = j.items
			switch {
			case deferred != nil:
				if res.err == nil {
					held, res.done = append(held, live...), without(j.items, live)
				}
				res.due = deferred.Due()
			case res.err == nil && r.session == nil:
				r.ack(live)
			}
		case flush:
			res.err = r.flush(deferred, held)
			res.done, held = held, nil
		case commit:
			if res.committed, res.err = r.session.Commit(r.hard); res.err == nil {
				res.err = r.session.Begin(r.hard)
			}
		case abort:
			if res.err = r.session.Abort(r.hard); res.err == nil {
				res.err = r.session.Begin(r.hard)
			}
		}
		r.written <- res
	}
}

// without are the items that are not in some, which are in the same order.
func without(items, some []*item) (rest []*item) {
	for _, it := range items {
		if len(some) > 0 && some[0] == it {
			some = some[1:]
		} else {
			rest = append(rest, it)
		}
	}
	return rest
}

// held is what an item that waits in a target takes: its answer may be much larger than what was asked.
func (it *item) held() int64 { return it.size + int64(len(it.out.Value)) }

// gathered is what a Deferred took and was not asked to flush yet. The loop owns it.
type gathered struct {
	count  int
	bytes  int64
	due    time.Time
	oldest time.Time // when the oldest of it was made, or a little earlier
}

// write has the writer write what is ready, or flush what is due.
func (r *run) write(now time.Time) {
	switch {
	case r.writing:
	case r.ripe(now):
		r.writing = true
		r.writes <- job{kind: flush}
	case len(r.ready) > 0:
		r.writing = true
		r.writes <- job{kind: write, items: r.ready}
		r.ready = nil
	}
}

// ripe says whether what is gathered is to be flushed: it is time, half of what may be in memory waits for it, or somebody
// waits for all to be finished.
func (r *run) ripe(now time.Time) bool {
	g, o := &r.gathered, &r.w.opt
	return g.count > 0 && (!now.Before(g.due) || g.count >= o.MaxInFlight/2 || g.bytes >= o.MaxBytes/2 || r.leaving > 0 ||
		(r.drain || r.paused) && r.inFlight == g.count && r.calling == 0 && r.reading == nil)
}

// wrote takes back what the writer did.
func (r *run) wrote(res result) error {
	r.writing = false
	switch res.kind {
	case write:
		r.gathered.count += len(res.items) - len(res.done)
		for _, it := range res.items {
			r.gathered.bytes += it.held()
			if m := it.msg.Time; r.gathered.count > 0 && !m.IsZero() && (r.gathered.oldest.IsZero() || m.Before(r.gathered.oldest)) {
				r.gathered.oldest = m
			}
		}
		for _, it := range res.done {
			r.gathered.bytes -= it.held()
		}
		r.gathered.due = res.due
	case flush:
		r.gathered = gathered{}
	default:
		return r.ended(res)
	}
	for _, it := range res.done {
		r.forget(it)
		if l := it.msg.Lane; l != nil {
			l.held--
			r.vacate(l)
		}
	}
	r.condemn(res.condemned)
	switch {
	case res.err != nil && broken(res.err):
		return res.err
	case res.err != nil && r.round.on:
		r.fail(res.err)
	case res.err != nil: // the time to drain is over
	case r.round.on:
		r.round.done = append(r.round.done, res.done...)
	default:
		r.w.count.wrote(res.done)
	}
	return nil
}

// deliver writes results and dead letters. It tries until all is written; with exactly-once an error undoes the round instead,
// and condemned are the messages that it failed for. What it returns as live is written, the rest is somebody else's.
func (r *run) deliver(items []*item) (live []*item, condemned map[Position]*serval.Error, err error) {
	results, dead := items[:0:0], items[:0:0]
	live = results
	for _, it := range items {
		switch {
		case it.msg.Lane != nil && it.msg.Lane.gone.Load():
			continue
		case it.dropped:
		case it.failed != nil:
			dead = append(dead, it)
		default:
			results = append(results, it)
		}
		live = append(live, it)
	}
	// Dead letters first: a target that keeps positions counts them as done with once a later result is written.
	if err := r.bury(dead); err != nil {
		return nil, nil, err
	}
	to := r.dst.Write
	if d, ok := r.dst.(Deferred); ok {
		to = d.Take
	}
	lost := func(list []*item) error {
		if r.dead != nil {
			return r.bury(list)
		}
		for _, it := range list {
			it.dropped = true
		}
		return nil
	}
	if r.session != nil {
		lost = nil
	}
	fatal, err := r.put(to, results, lost)
	if r.session != nil && len(fatal) > 0 {
		condemned = map[Position]*serval.Error{}
		for _, it := range fatal {
			condemned[it.msg.Position] = it.failed
		}
		return nil, condemned, fmt.Errorf("write: %w", fatal[0].failed)
	}
	return live, nil, err
}

// flush has a Deferred finish what it took, however long it takes, and acks it.
func (r *run) flush(to Deferred, held []*item) error {
	wait := time.Duration(0)
	for {
		err := r.hard.Err()
		if err == nil {
			err = to.Flush(r.hard)
		}
		if err == nil {
			break
		}
		if broken(err) || r.hard.Err() != nil {
			return err
		}
		r.w.count.retried(reason(err).Code, len(held))
		r.w.trouble("write: " + err.Error())
		wait = r.w.opt.Retry.next(wait)
		sleep(r.hard, wait)
	}
	if wait > 0 {
		r.w.trouble("")
	}
	r.ack(held)
	return nil
}

// ack tells the source that it is done with what was written.
func (r *run) ack(live []*item) {
	acked := make([]*Message, 0, len(live))
	for _, it := range live {
		if l := it.msg.Lane; l == nil || !l.gone.Load() {
			acked = append(acked, &it.msg)
		}
	}
	if err := r.src.Ack(r.hard, acked); err != nil {
		r.w.opt.Log.Warn("stream: messages could not be acked, and may come again", "stream", r.w.opt.Name, "messages", len(acked), "error", err)
	}
}

// put writes the results of items to a target until all is written. It returns the items that the target will never take; their
// failed says why. They are given to lost, unless that is nil, before any of the others is tried again. With exactly-once it
// gives up at the first failure.
func (r *run) put(to func(context.Context, []*Message) error, items []*item, lost func([]*item) error) (fatal []*item, err error) {
	// Where nobody may die, even what fails for good is tried on: an operator may change the target.
	mortal := r.dead != nil || r.w.opt.OnError == "drop"
	wait, troubled := time.Duration(0), false
	for len(items) > 0 {
		messages := make([]*Message, len(items))
		for i, it := range items {
			messages[i] = &it.out
		}
		err := to(r.hard, messages)
		if err == nil {
			break
		}
		if broken(err) || r.hard.Err() != nil {
			return fatal, err
		}
		var rest, dying []*item
		settled := true // nothing is wrong with the rest but what is settled now
		for i, e := range failures(items, err) {
			switch {
			case e == nil:
			case mortal && IsPermanent(e):
				items[i].failed = reason(e)
				dying = append(dying, items[i])
			default:
				rest = append(rest, items[i])
				settled = settled && errors.Is(e, ErrBehind)
			}
		}
		fatal = append(fatal, dying...)
		if lost != nil && len(dying) > 0 {
			if err := lost(dying); err != nil {
				return fatal, err
			}
		}
		if len(rest) == 0 {
			break
		}
		if r.session != nil {
			return fatal, fmt.Errorf("write: %w", err)
		}
		items = slices.DeleteFunc(rest, func(it *item) bool { return it.msg.Lane != nil && it.msg.Lane.gone.Load() })
		if settled && len(dying) > 0 {
			continue
		}
		r.w.count.retried(reason(err).Code, len(items))
		r.w.trouble("write: " + err.Error())
		troubled = true
		wait = r.w.opt.Retry.next(wait)
		sleep(r.hard, wait)
	}
	if troubled {
		r.w.trouble("")
	}
	return fatal, nil
}

// failures says of each item why it must be written again, or not at all; nil: it was written. Behind one that is written
// again all of its lane are, so that they end in order.
func failures(items []*item, err error) []error {
	list := make([]error, len(items))
	var partly *WriteError
	if !errors.As(err, &partly) {
		for i := range list {
			list[i] = err
			if IsPermanent(err) && len(items) > 1 { // whose fault it is shows when each is written alone
				list[i] = errors.New(err.Error())
			}
		}
		return list
	}
	behind := map[*Lane]error{}
	for i, it := range items {
		e := partly.Failed[i]
		l := it.msg.Lane
		if e == nil && l != nil {
			e = behind[l]
		}
		if e != nil && l != nil && !IsPermanent(e) {
			behind[l] = e
		}
		list[i] = e
	}
	return list
}

// reason is an error of a target as one of ours.
func reason(err error) *serval.Error {
	var e *serval.Error
	if errors.As(err, &e) {
		return e
	}
	return serval.Errorf(serval.Unavailable, "%w", err)
}

// bury writes dead letters. One that is too large is written without its value.
func (r *run) bury(items []*item) error {
	if len(items) == 0 {
		return nil
	}
	for _, it := range items {
		it.out = *r.letter(it)
	}
	for round := 0; len(items) > 0; round++ {
		bare := map[*item]*serval.Error{}
		for _, it := range items {
			bare[it] = it.failed
		}
		fatal, err := r.put(r.dead.Write, items, nil)
		for _, it := range fatal {
			refused := it.failed
			it.failed = bare[it] // why the message is dead, not why its letter was not taken
			if round > 0 {
				// The stream waits, and says why: to go on would lose it.
				return fmt.Errorf("dead letter of %s: %w", it.msg.Position, errors.Join(ErrBroken, refused))
			}
			it.out.Value = nil
			it.out.Headers = append(it.out.Headers, Header{HeaderCut, fmt.Appendf(nil, "%d", len(it.msg.Value))})
		}
		if err != nil {
			return err
		}
		items = fatal
	}
	return nil
}
