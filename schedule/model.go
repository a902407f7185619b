package schedule

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
	"time"

	"serval"
	"serval/engine"
)

// Model runs one version of a model: it queues calls, forms batches and hands them to the instances. It is a
// serval.Handler and safe for concurrent use. Open makes it; Close ends it once no call is in it.
type Model struct {
	what     string // "model 'm' version 1", for messages
	levels   int
	limit    int
	maxWait  time.Duration
	timeout  time.Duration
	policies []policy // by level
	usual    int      // level of calls that name no priority
	strict   bool     // a priority that there is not is the usual one, and not the last
	batching serval.Batching
	batchDim bool // inputs lead with the batch
	stats    stats
	entries  sync.Pool
	workers  sync.WaitGroup
	ctx      context.Context
	stop     context.CancelFunc

	mu       sync.Mutex // guards what follows; held only to decide
	q        queue
	idle     []*instance
	all      []*instance
	timer    *time.Timer // armed while a batch waits for max_delay
	cost     cost
	online   time.Time // when a call came that was not in the background
	draining bool
	quiet    *sync.Cond // told when an instance becomes idle
}

// instance is one copy of the model. Whoever took it from idle owns it.
type instance struct {
	model   engine.Batcher
	wake    chan struct{} // its worker takes over; has room for one
	entries []*entry
	calls   []*engine.Call
}

// laps is what a Batcher may offer: how much of the last Execute went into laying rows together and taking them apart.
type laps interface {
	Laps() (input, output time.Duration)
}

func (m *Model) start(copies []engine.Batcher) {
	m.ctx, m.stop = context.WithCancel(context.Background())
	m.quiet = sync.NewCond(&m.mu)
	m.stats.init()
	m.entries.New = func() any { return &entry{done: make(chan struct{}, 1)} }
	m.timer = time.AfterFunc(time.Hour, m.delayPassed)
	m.timer.Stop()
	for _, c := range copies {
		inst := &instance{model: c, wake: make(chan struct{}, 1)}
		m.all = append(m.all, inst)
		m.idle = append(m.idle, inst)
		m.workers.Add(1)
		go m.work(inst)
	}
}

// Handle runs one call. Its Input must be *serval.Tensors in the signature's order, as task/predict leaves it.
func (m *Model) Handle(ctx context.Context, req *serval.Request, sink serval.Sink) error {
	in, ok := req.Input.(*serval.Tensors)
	if !ok {
		return serval.Errorf(serval.InvalidArgument, "%s takes tensors", m.what)
	}
	e := m.entries.Get().(*entry)
	m.fill(e, req, in)
	inst, err := m.admit(ctx, e, req)
	if err == nil {
		if inst != nil {
			m.lead(inst)
		}
		err = m.wait(ctx, e, req)
	}
	if err != nil { // it never ran
		m.putBack(e)
		return err
	}
	req.Timing.Queue, req.Timing.Batch = e.timing.Queue, e.timing.Batch
	req.Timing.Input, req.Timing.Compute, req.Timing.Output = e.timing.Input, e.timing.Compute, e.timing.Output
	err = e.call.Err
	m.stats.call(e.timing, time.Since(e.enqueued), err == nil)
	if err == nil {
		e.out.List = e.call.Outputs
		e.chunk = serval.Chunk{Output: &e.out, Usage: serval.Usage{Rows: e.call.Rows}, Finish: serval.Stop}
		err = sink.Send(&e.chunk)
	}
	m.putBack(e)
	return err
}

func (m *Model) putBack(e *entry) {
	e.call.Reset()
	m.entries.Put(e)
}

func (m *Model) fill(e *entry, req *serval.Request, in *serval.Tensors) {
	e.call.Inputs = append(e.call.Inputs[:0], in.List...)
	e.call.Rows = 1
	e.key = 0
	if m.batchDim {
		if len(in.List) > 0 && len(in.List[0].Shape) > 0 {
			e.call.Rows = in.List[0].Shape[0]
		}
		e.key = shapeKey(in.List)
	}
	e.items = e.call.Rows
	e.level = m.level(req.Priority)
	e.timing = serval.Timing{}
	e.enqueued = time.Now()
}

// level maps Triton's priority (1 the most urgent, 0 the default) to a queue level.
func (m *Model) level(p int8) int {
	if p == serval.Background {
		return m.q.back // which never changes
	}
	if p <= 0 || m.strict && int(p) > m.levels {
		return m.usual
	}
	return min(int(p), m.levels) - 1
}

// shapeKey hashes (FNV-1a) all that must agree for rows to be laid together: types and dimensions after the first.
func shapeKey(list []serval.Tensor) uint64 {
	h := uint64(14695981039346656037)
	mix := func(v uint64) { h = (h ^ v) * 1099511628211 }
	for i := range list {
		t := &list[i]
		mix(uint64(t.DType)<<8 | uint64(len(t.Shape)))
		for j := 1; j < len(t.Shape); j++ {
			mix(uint64(t.Shape[j]))
		}
	}
	return h
}

// admit queues a call or refuses it. With an instance it returns, the caller leads the next batch.
func (m *Model) admit(ctx context.Context, e *entry, req *serval.Request) (*instance, error) {
	if err := ctx.Err(); err != nil {
		return nil, m.gaveUp(err, e)
	}
	if !req.Deadline.IsZero() && e.enqueued.After(req.Deadline) {
		return nil, m.gaveUp(context.DeadlineExceeded, e)
	}
	m.mu.Lock()
	if m.draining {
		m.mu.Unlock()
		m.stats.refuse(refusedClosed, 0)
		return nil, serval.ErrRetired
	}
	back := e.level == m.q.back
	if !back {
		m.online = e.enqueued
	}
	if n := len(m.idle); n > 0 && m.q.waiting() == 0 && (back && m.spare(e.enqueued) && m.q.calls == 0 || !back && m.q.rules.delay == 0) {
		inst := m.idle[n-1]
		m.idle = m.idle[:n-1]
		m.q.push(e)
		m.mu.Unlock()
		return inst, nil
	}
	if back && m.q.calls-m.q.waiting() < m.limit {
		m.q.push(e)
		m.mu.Unlock()
		return nil, nil
	}
	if own := m.policies[e.level].limit; m.q.waiting() >= m.limit || back || own > 0 && m.q.levels[e.level].calls >= own {
		wait, waiting := m.expectedWait(), m.q.waiting()
		m.mu.Unlock()
		m.stats.refuse(refusedFull, 0)
		if waiting < m.limit {
			return nil, serval.Errorf(serval.Unavailable, "%s is overloaded: %d requests of priority %d wait already, which is their limit; try again later", m.what, own, e.level+1).After(max(wait, time.Second))
		}
		return nil, serval.Errorf(serval.Unavailable, "%s is overloaded: %d requests wait already, which is its queue.limit; try again later", m.what, m.limit).After(max(wait, time.Second))
	}
	wait := m.expectedWait()
	if wait > m.maxWait {
		m.mu.Unlock()
		m.stats.refuse(refusedWait, 0)
		return nil, serval.Errorf(serval.Unavailable, "%s is overloaded: a request that comes now would wait about %v, over its queue.max_wait of %v; try again later", m.what, wait.Round(time.Millisecond), m.maxWait).After(wait)
	}
	if !req.Deadline.IsZero() && e.enqueued.Add(wait).After(req.Deadline) {
		m.mu.Unlock()
		m.stats.refuse(refusedDeadline, 0)
		return nil, serval.Errorf(serval.DeadlineExceeded, "%s: the request's deadline passes in %v, the queue takes about %v; give it more time or send less at once", m.what, time.Until(req.Deadline).Round(time.Microsecond), wait.Round(time.Microsecond)).After(wait)
	}
	m.q.push(e)
	if m.q.rules.delay > 0 { // else somebody leads already, or all instances are busy
		m.kick(e.enqueued)
	}
	m.mu.Unlock()
	return nil, nil
}

// expectedWait is how long a new call would wait, by the measured cost of batches. The lock is held.
func (m *Model) expectedWait() time.Duration {
	batches, rows := int64(m.q.waiting()), m.q.rows-m.q.behind
	if m.q.rules.batch {
		batches = (rows + m.q.rules.max - 1) / m.q.rules.max
	}
	return m.cost.of(batches, rows) / time.Duration(len(m.all))
}

// onlineFor is how long after a call others like it are expected.
const onlineFor = time.Second

// spare says whether a call in the background may take an instance: while others come, one of several stays free for them. The
// lock is held.
func (m *Model) spare(now time.Time) bool {
	return len(m.all) == 1 || len(m.idle) > 1 || now.Sub(m.online) > onlineFor
}

// take removes the next batch, if there is one that may run on an instance that was taken from idle already. The lock is held.
func (m *Model) take(now time.Time, into []*entry) ([]*entry, Closed, time.Duration) {
	if m.q.calls > 0 && m.q.waiting() == 0 && len(m.all) > 1 && len(m.idle) == 0 && now.Sub(m.online) <= onlineFor {
		return into, closedDrained, 0
	}
	return m.q.take(now, into)
}

// kick wakes an idle instance if a batch is due, else sees to it that one is woken in time. The lock is held.
func (m *Model) kick(now time.Time) {
	if len(m.idle) == 0 || m.q.waiting() == 0 && !m.spare(now) {
		return
	}
	wait, due := m.q.due(now)
	switch {
	case due:
		n := len(m.idle)
		inst := m.idle[n-1]
		m.idle = m.idle[:n-1]
		inst.wake <- struct{}{}
	case wait > 0:
		m.timer.Reset(wait)
	}
}

func (m *Model) delayPassed() {
	m.mu.Lock()
	m.kick(time.Now())
	m.mu.Unlock()
}

// wait returns nil once the call was executed, else why it never ran.
func (m *Model) wait(ctx context.Context, e *entry, req *serval.Request) error {
	select {
	case <-e.done: // it led its batch
		return nil
	default:
	}
	deadline, delay := req.Deadline, false
	if own, postpones := m.patience(e, req); own > 0 {
		if at := e.enqueued.Add(own); deadline.IsZero() || at.Before(deadline) {
			deadline, delay = at, postpones
		}
	}
	var passed <-chan time.Time // never, without a deadline
	if !deadline.IsZero() {
		timer := time.NewTimer(time.Until(deadline))
		defer timer.Stop()
		passed = timer.C
	}
	for {
		select {
		case <-e.done:
			return nil
		case <-ctx.Done():
			return m.leave(e, ctx.Err())
		case <-passed:
			if !delay {
				return m.leave(e, context.DeadlineExceeded)
			}
			m.postpone(e)
			delay, passed = false, nil
			if !req.Deadline.IsZero() {
				timer := time.NewTimer(time.Until(req.Deadline))
				defer timer.Stop()
				passed = timer.C
			}
		}
	}
}

// leave drops a call that still waits. One that is being executed is waited for, since the engine reads its inputs.
func (m *Model) leave(e *entry, why error) error {
	m.mu.Lock()
	waiting := m.q.remove(e)
	m.mu.Unlock()
	if !waiting {
		<-e.done
		return nil
	}
	return m.gaveUp(why, e)
}

func (m *Model) gaveUp(why error, e *entry) error {
	took := time.Since(e.enqueued)
	if why == context.DeadlineExceeded {
		m.stats.refuse(refusedDeadline, took)
		return serval.Errorf(serval.DeadlineExceeded, "%s: the deadline passed after %v in the queue; it was never computed", m.what, took.Round(time.Microsecond)).Because(why)
	}
	m.stats.refuse(refusedCanceled, took)
	return serval.AsError(why)
}

// lead runs the next batch on the caller's own goroutine: with a free instance that saves the hand-over to the instance's
// worker and back. First it steps aside for the goroutines that are ready to run: requests that have arrived, but were not
// read yet, join the batch. On an idle machine there are none and it goes on at once.
func (m *Model) lead(inst *instance) {
	if m.q.rules.batch {
		runtime.Gosched()
	}
	m.mu.Lock()
	var why Closed
	inst.entries, why, _ = m.take(time.Now(), inst.entries[:0])
	if len(inst.entries) > 0 { // else a worker that became free took it
		if why == closedDrained && len(inst.entries) == 1 {
			why = closedIdle
		}
		m.kick(time.Now()) // what this batch could not take is another instance's
		m.mu.Unlock()
		rows, timing := m.execute(inst, why)
		m.mu.Lock()
		m.cost.seen(rows, timing.Compute)
	}
	if m.q.calls > 0 {
		inst.wake <- struct{}{} // its worker goes on
	} else {
		m.rest(inst)
	}
	m.mu.Unlock()
}

// work is the goroutine of one instance: woken, it runs batches until nothing waits.
func (m *Model) work(inst *instance) {
	defer m.workers.Done()
	for {
		select {
		case <-inst.wake:
		case <-m.ctx.Done():
			return
		}
		m.mu.Lock()
		for {
			var why Closed
			var wait time.Duration
			inst.entries, why, wait = m.take(time.Now(), inst.entries[:0])
			if len(inst.entries) == 0 {
				m.rest(inst)
				if wait > 0 {
					m.timer.Reset(wait)
				}
				break
			}
			m.kick(time.Now()) // what this batch could not take is another instance's
			m.mu.Unlock()
			rows, timing := m.execute(inst, why)
			m.mu.Lock()
			m.cost.seen(rows, timing.Compute)
		}
		m.mu.Unlock()
	}
}

// rest makes an instance idle. The lock is held.
func (m *Model) rest(inst *instance) {
	m.idle = append(m.idle, inst)
	if m.draining {
		m.quiet.Broadcast()
	}
	if m.q.calls > 0 && m.q.waiting() == 0 { // in the background; it could not run while this one was busy
		m.kick(time.Now())
	}
}

// execute runs inst.entries as one batch and wakes their owners. The entries are not touched after that.
func (m *Model) execute(inst *instance, why Closed) (int64, serval.Timing) {
	start := time.Now()
	inst.calls = inst.calls[:0]
	items := int64(0)
	for _, e := range inst.entries {
		inst.calls = append(inst.calls, &e.call)
		items += e.items
	}
	rows := engine.Rows(inst.calls)
	err := protect(m.ctx, inst.model, inst.calls)
	end := time.Now()
	t := serval.Timing{Compute: end.Sub(start), Batch: int(items)}
	if l, ok := inst.model.(laps); ok {
		t.Input, t.Output = l.Laps()
		t.Compute -= t.Input + t.Output
	}
	answered := int64(0)
	for _, e := range inst.entries {
		if !e.call.Answered() {
			if err == nil {
				err = fmt.Errorf("%s: the engine left a call without an answer", m.what)
			}
			e.call.Fail(err)
		}
		if e.call.Err == nil {
			answered += e.items
		}
	}
	if answered > 0 || err == nil && items == 0 { // as Triton counts: what failed is no inference
		m.stats.batch(answered, why, t, end)
	}
	for i, e := range inst.entries {
		e.timing = t
		e.timing.Queue = start.Sub(e.enqueued)
		inst.entries[i], inst.calls[i] = nil, nil
		e.done <- struct{}{}
	}
	return rows, t
}

// protect turns a panic of an engine into an error.
func protect(ctx context.Context, b engine.Batcher, calls []*engine.Call) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the engine panicked: %v\n%s", p, debug.Stack())
		}
	}()
	return b.Execute(ctx, calls)
}

// Batching says whether calls share batches, and why.
func (m *Model) Batching() serval.Batching { return m.batching }

// Stats is what happened since Open.
func (m *Model) Stats() serval.Stats {
	s := m.stats.snapshot()
	m.mu.Lock()
	s.Waiting, s.Instances = m.q.calls, len(m.all)
	m.mu.Unlock()
	return s
}

// Close refuses new calls with ErrRetired, lets those inside finish, and closes the instances. It blocks until then.
func (m *Model) Close() error {
	m.mu.Lock()
	m.draining = true
	m.q.rules.delay = 0 // nobody waits for company any more
	m.kick(time.Now())
	for m.q.calls > 0 || len(m.idle) < len(m.all) {
		m.quiet.Wait()
	}
	m.mu.Unlock()
	m.stop()
	m.workers.Wait()
	m.timer.Stop()
	var first error
	for i := len(m.all) - 1; i >= 0; i-- { // the one that the others were made from last
		if err := m.all[i].model.Close(); err != nil && first == nil {
			first = err
		}
	}
	return first
}
