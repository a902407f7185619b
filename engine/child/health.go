package child

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"google.golang.org/grpc"

	"serval"
	"serval/wire/worker"
)

// Health is how a process is watched. The zero value of a field means its default. What is asked is answered by the host's
// own goroutines, however long a step of the engine or a load takes.
type Health struct {
	Every time.Duration // between two questions; 0: 5 s
	Limit time.Duration // longest that an answer may take; 0: 30 s
	// Stuck is how long the engine may compute on for a call that nobody waits for any more; 0: 5 min.
	Stuck time.Duration
	// Open is how long a load may take; 0: 30 min.
	Open time.Duration
}

func (h Health) filled() Health {
	def := func(v *time.Duration, d time.Duration) {
		if *v == 0 {
			*v = d
		}
	}
	def(&h.Every, 5*time.Second)
	def(&h.Limit, 30*time.Second)
	def(&h.Stuck, 5*time.Minute)
	def(&h.Open, 30*time.Minute)
	return h
}

// pulse asks a process how it is until it ends, and ends it when it does not answer or its engine is stuck.
func (p *process) pulse(h Health) {
	defer p.guards.Done()
	tick := time.NewTicker(h.Every)
	defer tick.Stop()
	for {
		select {
		case <-p.reaped:
			return
		case <-tick.C:
		}
		ctx, cancel := context.WithTimeout(context.Background(), h.Limit)
		answer, err := p.client.Health(ctx, &worker.HealthRequest{}, grpc.WaitForReady(true))
		late := ctx.Err() != nil
		cancel()
		switch {
		case err == nil:
			p.heard(answer.Stats)
			if stuck := time.Duration(answer.Abandoned); stuck > h.Stuck {
				p.kill(fmt.Sprintf("killed since its engine was stuck: it did not let go of a call for %v after nobody waited for it any more", stuck.Round(time.Second)))
			}
		case late:
			p.kill(fmt.Sprintf("killed since it was hung: it said nothing for %v", h.Limit))
		}
	}
}

// heard keeps statistics that the process told.
func (p *process) heard(raw []byte) {
	var s serval.Stats
	if len(raw) > 0 && json.Unmarshal(raw, &s) == nil {
		p.stats.Store(&s)
	}
}

// weighEvery is how often a process with a limit is weighed.
const weighEvery = 250 * time.Millisecond

// weigh ends a process that takes too much memory.
func (p *process) weigh(limit int64) {
	defer p.guards.Done()
	tick := time.NewTicker(weighEvery)
	defer tick.Stop()
	for {
		select {
		case <-p.reaped:
			return
		case <-tick.C:
		}
		if has := resident(p.cmd.Process.Pid); has > limit {
			p.heavy.Store(true)
			p.kill(fmt.Sprintf("killed since it took %s of memory, and its settings allow %s (memory)", size(has), size(limit)))
		}
	}
}
