package stream

import (
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
	commit
	abort
)

// result is what came of it.
type result struct {
	job
	err       error
	committed bool
	condemned map[Position]*serval.Error
}

// writer writes, commits and acks, one job after the other.
func (r *run) writer() {
	for j := range r.writes {
		res := result{job: j}
		switch j.kind {
		case write:
			res.condemned, res.err = r.deliver(j.items)
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

// write has the writer write what is ready.
func (r *run) write() {
	if r.writing || len(r.ready) == 0 {
		return
	}
	r.writing = true
	r.writes <- job{kind: write, items: r.ready}
	r.ready = nil
}

// wrote takes back what the writer did.
func (r *run) wrote(res result) error {
	r.writing = false
	if res.kind != write {
		return r.ended(res)
	}
	for _, it := range res.items {
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
		r.round.done = append(r.round.done, res.items...)
	default:
		r.w.count.wrote(res.items)
	}
	return nil
}

// deliver writes results and dead letters, and acks. It tries until all is written; with exactly-once an error undoes the
// round instead, and condemned are the messages that it failed for.
func (r *run) deliver(items []*item) (condemned map[Position]*serval.Error, err error) {
	live, results, dead := items[:0:0], items[:0:0], items[:0:0]
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
	fatal, err := r.put(r.dst, results, func(it *item) *Message { return &it.out })
	if r.session != nil && len(fatal) > 0 {
		condemned = map[Position]*serval.Error{}
		for _, it := range fatal {
			condemned[it.msg.Position] = it.failed
		}
		return condemned, fmt.Errorf("write: %w", fatal[0].failed)
	}
	if err != nil {
		return nil, err
	}
	for _, it := range fatal {
		if r.dead != nil {
			dead = append(dead, it)
		} else {
			it.dropped = true
		}
	}
	if err := r.bury(dead); err != nil {
		return nil, err
	}
	if r.session != nil {
		return nil, nil
	}
	acked := make([]*Message, 0, len(live))
	for _, it := range live {
		if l := it.msg.Lane; l == nil || !l.gone.Load() {
			acked = append(acked, &it.msg)
		}
	}
	if err := r.src.Ack(r.hard, acked); err != nil {
		r.w.opt.Log.Warn("stream: messages could not be acked, and may come again", "stream", r.w.opt.Name, "messages", len(acked), "error", err)
	}
	return nil, nil
}

// put writes to a target until all is written. It returns the items that the target will never take; their failed says why.
// With exactly-once it gives up at the first failure.
func (r *run) put(to Target, items []*item, of func(*item) *Message) (fatal []*item, err error) {
	// Where nobody may die, even what fails for good is tried on: an operator may change the target.
	mortal := r.dead != nil || r.w.opt.OnError == "drop"
	wait, troubled := time.Duration(0), false
	for len(items) > 0 {
		messages := make([]*Message, len(items))
		for i, it := range items {
			messages[i] = of(it)
		}
		err := to.Write(r.hard, messages)
		if err == nil {
			break
		}
		if broken(err) || r.hard.Err() != nil {
			return fatal, err
		}
		var rest []*item
		for i, e := range failures(items, err) {
			switch {
			case e == nil:
			case mortal && IsPermanent(e):
				items[i].failed = reason(e)
				fatal = append(fatal, items[i])
			default:
				rest = append(rest, items[i])
			}
		}
		if len(rest) == 0 {
			break
		}
		if r.session != nil {
			return fatal, fmt.Errorf("write: %w", err)
		}
		items = slices.DeleteFunc(rest, func(it *item) bool { return it.msg.Lane != nil && it.msg.Lane.gone.Load() })
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
		fatal, err := r.put(r.dead, items, func(it *item) *Message { return &it.out })
		for _, it := range fatal {
			refused := it.failed
			it.failed = bare[it] // why the message is dead, not why its letter was not taken
			if round > 0 {
				return fmt.Errorf("dead letter of %s: %w", it.msg.Position, refused)
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
