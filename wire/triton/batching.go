package triton

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"serval"
	"serval/wire/inference"
)

// maxLevels is how many priorities Serval keeps apart.
const maxLevels = 100

// MaxWait is the parameter in which Serval shows queue.max_wait, for which Triton has no field.
const MaxWait = OwnPrefix + "max_wait"

// unlimited stands for "no limit" where Serval has a default one.
const (
	unlimitedWait  = 24 * time.Hour
	unlimitedCalls = math.MaxInt32
)

// dynamic reads dynamic_batching. That every tensor leads with the batch is the configuration's word, so it holds against
// what Serval's own probe may say.
func (r *reader) dynamic(d *inference.ModelDynamicBatching) {
	const at = "dynamic_batching"
	most := r.c.MaxBatchSize
	for i, n := range d.PreferredBatchSize {
		if n < 1 || most > 0 && n > most {
			r.fail(fmt.Sprintf("%s.preferred_batch_size[%d]", at, i), "%d must be 1 to max_batch_size, which is %d", n, most)
		}
	}
	if r.batched() {
		r.s.Batching.Mode = "on"
	}
	if r.s.Batching.Mode != "off" {
		for _, n := range d.PreferredBatchSize {
			r.s.Batching.Preferred = append(r.s.Batching.Preferred, int(n))
		}
		r.s.Batching.MaxDelay = microseconds(d.MaxQueueDelayMicroseconds)
	}
	r.queue(d)
	if !d.PreserveOrdering {
		return
	}
	if d.PriorityLevels > 1 {
		r.fail(at+".preserve_ordering", "goes with one priority level only, as at Triton; there are %d", d.PriorityLevels)
	}
	for _, p := range append(slices.Collect(maps.Values(d.PriorityQueuePolicy)), d.DefaultQueuePolicy) {
		if p.GetDefaultTimeoutMicroseconds() != 0 && p.GetTimeoutAction() == inference.ModelQueuePolicy_DELAY {
			r.fail(at+".preserve_ordering", "does not go with the timeout_action DELAY, as at Triton")
			break
		}
	}
}

// queue reads priorities and queue policies; nil stands for a scheduler that has none, and so ignores the priorities and the
// timeouts that requests name.
func (r *reader) queue(d *inference.ModelDynamicBatching) {
	q := &r.s.Queue
	q.PriorityLevels, q.ClientTimeout = 1, "ignore"
	if d == nil {
		return
	}
	const at = "dynamic_batching"
	levels := d.PriorityLevels
	switch {
	case levels > maxLevels:
		r.fail(at+".priority_levels", "is %d; at most %d are kept apart", levels, maxLevels)
		return
	case levels > 0 && (d.DefaultPriorityLevel < 1 || d.DefaultPriorityLevel > levels):
		r.fail(at+".default_priority_level", "must be 1 to priority_levels, which is %d, and is %d", levels, d.DefaultPriorityLevel)
		return
	case levels > 0:
		q.PriorityLevels, q.DefaultPriority = int(levels), int(d.DefaultPriorityLevel)
	}
	for _, level := range slices.Sorted(maps.Keys(d.PriorityQueuePolicy)) {
		if level < 1 || level > levels {
			r.fail(fmt.Sprintf("%s.priority_queue_policy[%d]", at, level), "there is no such priority; there are 1 to priority_levels, which is %d", levels)
			return
		}
	}
	r.policies(d)
}

// policies reads the queue policies. A configuration with one says alone how long the queue may be: Serval's own limits do
// not apply then.
func (r *reader) policies(d *inference.ModelDynamicBatching) {
	if d.DefaultQueuePolicy == nil && len(d.PriorityQueuePolicy) == 0 {
		return
	}
	q := &r.s.Queue
	q.Limit, q.MaxWait = unlimitedCalls, unlimitedWait
	if own, err := time.ParseDuration(r.c.Parameters[MaxWait].GetStringValue()); err == nil && own > 0 {
		q.MaxWait = own
	}
	for level := 1; level <= q.PriorityLevels; level++ {
		p := d.PriorityQueuePolicy[uint64(level)]
		if p == nil {
			p = d.DefaultQueuePolicy
		}
		own := serval.PriorityPolicy{
			Priority: level, Limit: int(min(p.GetMaxQueueSize(), unlimitedCalls)), Timeout: microseconds(p.GetDefaultTimeoutMicroseconds()), OnTimeout: "reject", ClientTimeout: "ignore",
		}
		if p.GetAllowTimeoutOverride() {
			own.ClientTimeout = "honour"
		}
		if p.GetTimeoutAction() == inference.ModelQueuePolicy_DELAY {
			own.OnTimeout = "delay"
		}
		q.Priorities = append(q.Priorities, own)
	}
	if q.PriorityLevels == 1 { // one queue: the same, told shorter
		own := q.Priorities[0]
		q.Priorities, q.Timeout, q.OnTimeout, q.ClientTimeout = nil, own.Timeout, own.OnTimeout, own.ClientTimeout
		if own.Limit > 0 {
			q.Limit = own.Limit
		}
	}
}
