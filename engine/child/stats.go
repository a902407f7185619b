package child

import (
	"context"
	"maps"
	"slices"
	"time"

	"serval"
	"serval/wire/worker"
)

// statsLimit is how long statistics are waited for; after that the last known are told.
const statsLimit = 2 * time.Second

// Stats is what happened since the model was opened, in all its processes. Of one that died, what it did in its last seconds
// may be missing.
func (m *Model) Stats() serval.Stats {
	m.mu.Lock()
	p := m.now
	m.mu.Unlock()
	if p != nil {
		ctx, cancel := context.WithTimeout(context.Background(), statsLimit)
		if answer, err := p.client.Stats(ctx, &worker.StatsRequest{}); err == nil {
			p.heard(answer.Stats)
		}
		cancel()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	var s serval.Stats
	if m.now != nil && m.now.stats.Load() != nil {
		s = *m.now.stats.Load()
	}
	s = sum(m.before, s)
	s.Fail.Count += m.lost.Count
	s.Fail.Total += m.lost.Total
	s.Process = serval.ProcessStats{Restarts: m.ends}
	if m.now != nil {
		s.Process.PID = m.now.cmd.Process.Pid
		s.Process.Memory = resident(s.Process.PID)
	}
	return s
}

// bury adds what a process did to what those before it did.
func (m *Model) bury(p *process) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ends++
	if s := p.stats.Load(); s != nil {
		m.before = sum(m.before, *s)
	}
	m.before.Waiting, m.before.Instances, m.before.Sequences = 0, 0, 0
}

// sum adds statistics; what is a state and no count is the later one's.
func sum(a, b serval.Stats) serval.Stats {
	add := func(to *serval.StatDuration, d serval.StatDuration) {
		to.Count += d.Count
		to.Total += d.Total
	}
	if b.LastInference.IsZero() {
		b.LastInference = a.LastInference
	}
	b.Inferences += a.Inferences
	b.Executions += a.Executions
	add(&b.Success, a.Success)
	add(&b.Fail, a.Fail)
	add(&b.Queue, a.Queue)
	add(&b.Input, a.Input)
	add(&b.Compute, a.Compute)
	add(&b.Output, a.Output)
	b.Tokens.Add(a.Tokens)
	b.Closed, b.Rejected = sumCounts(a.Closed, b.Closed), sumCounts(a.Rejected, b.Rejected)
	batches := slices.Clone(b.Batches)
	for _, x := range a.Batches {
		at, found := slices.BinarySearchFunc(batches, x.Size, func(y serval.BatchStat, size int) int { return y.Size - size })
		if !found {
			batches = slices.Insert(batches, at, x)
			continue
		}
		add(&batches[at].Input, x.Input)
		add(&batches[at].Compute, x.Compute)
		add(&batches[at].Output, x.Output)
	}
	b.Batches = batches
	return b
}

func sumCounts(a, b map[string]uint64) map[string]uint64 {
	out := maps.Clone(a)
	if out == nil {
		out = map[string]uint64{}
	}
	for why, n := range b {
		out[why] += n
	}
	return out
}
