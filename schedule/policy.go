package schedule

import (
	"slices"
	"time"

	"serval"
)

// policy is how the calls of one priority wait.
type policy struct {
	limit   int           // most of them that wait; 0: Model.limit alone
	timeout time.Duration // longest that they wait; 0: as long as the request lets them
	delay   bool          // after that they wait on, behind all others, and are not refused
	deaf    bool          // the requests' own timeouts are ignored
}

// policies makes the policy of each level, and says whether any of them delays.
func policies(q serval.QueueSettings) (list []policy, delays bool) {
	for level := range q.PriorityLevels {
		p := policy{timeout: q.Timeout, delay: q.OnTimeout == "delay", deaf: q.ClientTimeout == "ignore"}
		if at := slices.IndexFunc(q.Priorities, func(o serval.PriorityPolicy) bool { return o.Priority == level+1 }); at >= 0 {
			own := &q.Priorities[at]
			p.limit = own.Limit
			if own.Timeout > 0 {
				p.timeout = own.Timeout
			}
			if own.OnTimeout != "" {
				p.delay = own.OnTimeout == "delay"
			}
			if own.ClientTimeout != "" {
				p.deaf = own.ClientTimeout == "ignore"
			}
		}
		delays = delays || p.delay
		list = append(list, p)
	}
	return list, delays
}

// patience is how long a call may wait, and what happens then: delay, it goes behind all others. 0: there is no limit but
// the request's deadline.
func (m *Model) patience(e *entry, req *serval.Request) (d time.Duration, delay bool) {
	p := &m.policies[e.level]
	d = p.timeout
	if req.Timeout > 0 && !p.deaf && (d == 0 || req.Timeout < d) {
		d = req.Timeout
	}
	return d, p.delay
}

// postpone puts a call that still waits behind all others.
func (m *Model) postpone(e *entry) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e.level != m.q.back && m.q.remove(e) {
		e.level = m.q.least()
		m.q.push(e)
	}
}
