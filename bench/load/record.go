package load

import (
	"sync"
	"time"
)

const maxRecorders = 16

// recorder counts the calls of some of a run's callers. It is safe for concurrent use; callers are spread over several so
// that they do not wait for each other.
type recorder struct {
	mu         sync.Mutex
	latency    *Times // ns, successes, from the intended send time
	service    *Times // ns, successes, from the time of sending; open loop only
	requests   uint64
	errors     map[string]uint64
	first      string // detail of the first failure
	reconnects uint64
	sent       uint64
	received   uint64
	last       time.Time // when the last call ended
	_          [64]byte  // keeps two recorders off one cache line
}

func newRecorder(open bool) *recorder {
	r := &recorder{latency: NewTimes(), errors: map[string]uint64{}}
	if open {
		r.service = NewTimes()
	}
	return r
}

// add counts a call that was due at intended, went out at sent and ended at end.
func (r *recorder) add(o *outcome, intended, sent, end time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.requests++
	r.reconnects += uint64(o.reconnects)
	r.sent += uint64(o.sent)
	r.received += uint64(o.received)
	if end.After(r.last) {
		r.last = end
	}
	if o.failure != "" {
		r.errors[o.failure]++
		if r.first == "" {
			r.first = o.failure + ": " + o.detail
		}
		return
	}
	r.latency.Add(end.Sub(intended))
	if r.service != nil {
		r.service.Add(end.Sub(sent))
	}
}

// counts is what Progress shows.
func (r *recorder) counts() (requests, errors uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, n := range r.errors {
		errors += n
	}
	return r.requests, errors
}

// merge adds other, which is no longer written to.
func (r *recorder) merge(other *recorder) {
	r.requests += other.requests
	r.reconnects += other.reconnects
	r.sent += other.sent
	r.received += other.received
	for name, n := range other.errors {
		r.errors[name] += n
	}
	if r.first == "" {
		r.first = other.first
	}
	if other.last.After(r.last) {
		r.last = other.last
	}
	r.latency.Merge(other.latency)
	if r.service != nil {
		r.service.Merge(other.service)
	}
}
