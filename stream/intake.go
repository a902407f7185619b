package stream

import (
	"container/heap"
	"context"
	"errors"
	"runtime"
	"time"

	"serval"
)

// reader reads when it is asked to.
func (r *run) reader() {
	for a := range r.asks {
		list, err := r.src.Read(a.ctx, a.max)
		select {
		case r.arrived <- arrival{list, err}:
		case <-r.over:
		}
	}
}

// read has more read where there is room. The reader is free whenever r.reading is nil.
func (r *run) read(now time.Time) {
	quiet := r.paused || r.drain || r.round.closed()
	if r.reading != nil {
		if quiet {
			r.reading() // it comes back with what there is
		}
		return
	}
	if quiet || now.Before(r.calm) {
		return
	}
	o := &r.w.opt
	room := int64(o.MaxInFlight - r.inFlight)
	if r.average > 0 {
		room = min(room, (o.MaxBytes-r.bytes)/r.average)
	}
	switch {
	case r.inFlight == 0:
		room = max(room, 1)
	case room < int64(max(1, o.MaxInFlight/16)) || r.bytes >= o.MaxBytes:
		return
	}
	if r.standsAside() { // so that a transaction, and what a lane that is given away has to finish, stays short
		if room = min(room, int64(2*r.aside.bite()-len(r.todo))); room <= 0 {
			return
		}
	}
	if r.round.on {
		room = min(room, int64(max(1, r.round.most-r.round.taken)))
	}
	ctx, cancel := context.WithCancel(context.Background())
	r.reading = cancel
	r.asks <- ask{ctx, int(room)}
}

// arrive takes what was read.
func (r *run) arrive(a arrival) error {
	stopped := errors.Is(a.err, context.Canceled) // by us
	r.reading()
	r.reading = nil
	if a.err != nil && !stopped {
		if broken(a.err) {
			return a.err
		}
		r.wait = r.w.opt.Retry.next(r.wait)
		r.calm = time.Now().Add(r.wait)
		r.w.trouble("read: " + a.err.Error())
	} else if a.err == nil && r.wait > 0 {
		r.wait = 0
		r.w.trouble("")
	}
	if r.round.failed != nil || r.hard.Err() != nil { // read in a transaction that is undone, or too late: it is given out again
		return nil
	}
	r.w.count.read.Add(uint64(len(a.list)))
	items := make([]item, len(a.list))
	for i := range a.list {
		it := &items[i]
		it.msg = a.list[i]
		it.size = int64(it.msg.size())
		r.average += (it.size - r.average + 15) / 16
		l := it.msg.Lane
		it.failed = r.round.condemned[it.msg.Position]
		if l != nil {
			if l.closed || l.gone.Load() { // revoked between the reading and now
				continue
			}
			l.queue = append(l.queue, it)
			r.lanes[l] = struct{}{}
		}
		r.inFlight++
		r.bytes += it.size
		r.todo = append(r.todo, it)
	}
	if len(a.list) > 0 {
		r.round.took(len(a.list))
	}
	return nil
}

// dispatch gives callers work: as many messages in a group as it takes to keep few callers busy, up to what one call holds.
func (r *run) dispatch(now time.Time) {
	bite := 0
	if len(r.todo) > 0 && r.standsAside() {
		if r.calling > 0 || now.Before(r.aside.next) {
			return
		}
		bite = r.aside.bite() // one caller's, whatever the model does with it
		r.aside.next = now.Add(biteRest)
	}
	for len(r.todo) > 0 && r.calling < r.w.opt.Calls {
		n := 1
		if most := int(r.group.Load()); most > 1 {
			const few = 4
			if n = min(most, max(1, len(r.todo)/few)); n < most && r.calling >= max(few, runtime.GOMAXPROCS(0)) {
				return // those are busy: what comes meanwhile makes the next group a full one
			}
			if n > 8 {
				n &^= 7 // engines take rows by eight
			}
		}
		if bite > 0 {
			n = bite
		}
		group := make([]*item, 0, n)
		for len(r.todo) > 0 && len(group) < n {
			if it := r.todo[0]; it.state != dropped {
				it.state = called
				it.attempts++
				it.passed = r.w.count.passed.Load()
				group = append(group, it)
			}
			r.todo[0] = nil
			r.todo = r.todo[1:]
		}
		if len(group) == 0 {
			return
		}
		r.calling++
		r.work <- group // it has room for every caller's
		if bite > 0 {
			return
		}
	}
}

// wake has what waited long enough called again, before all newer ones.
func (r *run) wake(now time.Time) {
	var due []*item
	for len(r.later) > 0 && !r.later[0].due.After(now) {
		it := heap.Pop(&r.later).(*item)
		if it.state != dropped {
			it.state = waiting
			due = append(due, it)
		}
	}
	if len(due) > 0 {
		r.todo = append(due, r.todo...)
	}
}

// finish takes back what callers did.
func (r *run) finish(group []*item) {
	r.calling--
	for _, it := range group {
		if it.state == dropped {
			continue
		}
		if it.after > 0 {
			if r.hard.Err() != nil && it.msg.Lane == nil { // the time to drain is over; dropAll did not know of it
				r.forget(it)
				continue
			}
			r.postpone(it)
			continue
		}
		it.state = answered
		if l := it.msg.Lane; l == nil {
			r.ready = append(r.ready, it)
		} else if l.queue[0] == it {
			r.advance(l)
		}
	}
}

// postpone has an item called again after a while; in a lane that is being given away it is dropped, and what follows it.
func (r *run) postpone(it *item) {
	it.state = waiting
	if l := it.msg.Lane; l != nil && l.closed {
		r.trim(l)
		return
	}
	it.state, it.due, it.wait = postponed, time.Now().Add(it.after), it.after
	it.failed, it.after = nil, 0
	heap.Push(&r.later, it)
}

// advance moves what is answered at the head of a lane to the writer's list.
func (r *run) advance(l *Lane) {
	n := 0
	for n < len(l.queue) && l.queue[n].state == answered {
		n++
	}
	r.ready = append(r.ready, l.queue[:n]...)
	clear(l.queue[:n])
	l.queue = l.queue[n:]
	l.held += n
	if len(l.queue) == 0 {
		l.queue = nil
	}
}

// forget takes an item that is neither called nor written out of the count.
func (r *run) forget(it *item) {
	if it.state == dropped {
		return
	}
	it.state = dropped
	r.inFlight--
	r.bytes -= it.size
}

// trim drops, of a lane that is being given away, what no caller has begun, and all that follows.
func (r *run) trim(l *Lane) {
	n := 0
	for n < len(l.queue) && (l.queue[n].state == answered || l.queue[n].state == called) {
		n++
	}
	for _, it := range l.queue[n:] {
		r.forget(it)
	}
	l.queue = l.queue[:n]
	r.vacate(l)
}

// vacate tells those who wait for a lane to be empty.
func (r *run) vacate(l *Lane) {
	if len(l.queue) > 0 || l.held > 0 {
		return
	}
	delete(r.lanes, l)
	for _, c := range l.empty {
		close(c)
	}
	l.empty = nil
}

// drop forgets all of a lane but what the writer has, which skips it.
func (r *run) drop(l *Lane) {
	l.closed = true
	l.gone.Store(true)
	for _, it := range l.queue {
		r.forget(it)
	}
	l.queue = nil
	kept := r.ready[:0]
	for _, it := range r.ready {
		if it.msg.Lane == l {
			l.held--
			r.forget(it)
			continue
		}
		kept = append(kept, it)
	}
	r.ready = kept
	r.vacate(l)
}

// dropAll forgets everything but what the writer has.
func (r *run) dropAll() {
	for _, list := range [][]*item{r.todo, r.later, r.ready} {
		for _, it := range list {
			r.forget(it)
		}
	}
	for _, it := range r.ready {
		if l := it.msg.Lane; l != nil {
			l.held--
		}
	}
	for l := range r.lanes {
		for _, it := range l.queue {
			r.forget(it)
		}
		l.queue = nil
		r.vacate(l)
	}
	r.todo, r.later, r.ready = nil, nil, nil
}

// Revoke implements Owner.
func (r *run) Revoke(ctx context.Context, lanes []*Lane) {
	r.w.count.handed.Add(uint64(len(lanes)))
	empty := make([]chan struct{}, len(lanes))
	if !r.do(func() {
		r.leaving++
		for i, l := range lanes {
			l.closed = true
			empty[i] = make(chan struct{})
			l.empty = append(l.empty, empty[i])
			r.trim(l)
		}
	}) {
		return
	}
	defer r.do(func() { r.leaving-- })
	defer r.Lost(lanes)
	// The loop made the channels before it took its next command.
	if !r.do(func() {}) {
		return
	}
	for _, c := range empty {
		select {
		case <-c:
		case <-ctx.Done():
			return
		case <-r.over:
			return
		}
	}
}

// Lost implements Owner.
func (r *run) Lost(lanes []*Lane) {
	for _, l := range lanes {
		l.gone.Store(true) // at once: the writer sees it
	}
	r.do(func() {
		for _, l := range lanes {
			r.drop(l)
		}
	})
}

// Trouble implements Owner.
func (r *run) Trouble(reason string) { r.w.trouble(reason) }

// delayed is a heap of items by when they are due.
type delayed []*item

func (d delayed) Len() int           { return len(d) }
func (d delayed) Less(i, j int) bool { return d[i].due.Before(d[j].due) }
func (d delayed) Swap(i, j int)      { d[i], d[j] = d[j], d[i] }
func (d *delayed) Push(x any)        { *d = append(*d, x.(*item)) }
func (d *delayed) Pop() any {
	old := *d
	it := old[len(old)-1]
	old[len(old)-1] = nil
	*d = old[:len(old)-1]
	return it
}

var _ Owner = (*run)(nil)

// tooLarge is the reason of a message above the limit.
func tooLarge(size int64, limit int) *serval.Error {
	return serval.Errorf(serval.TooLarge, "the message has %d bytes, the stream takes %d; raise max_message, or send smaller ones", size, limit)
}
