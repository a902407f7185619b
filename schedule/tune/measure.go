package tune

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"serval"
	"serval/engine"
	"serval/schedule"
)

// Options say how candidates are measured.
type Options struct {
	Target time.Duration // p99 of a request; 0: none
	Load   Load
	Time   time.Duration // for each candidate; 0: 1 s
}

// earliest is the share of a candidate's time after which it may be stopped, and hopeless how much worse it must be.
const (
	earliest = 0.3
	hopeless = 0.75
)

// Measurer makes a Measure that opens the model with a candidate's settings, as a server would, and puts it under load.
func Measurer(eng engine.Engine, spec engine.Spec, o Options) Measure {
	if o.Time == 0 {
		o.Time = time.Second
	}
	o.Load = o.Load.withDefaults()
	return func(ctx context.Context, c Candidate, best *Trial) (Trial, error) {
		with := spec
		with.Settings.Instances, with.Settings.Threads, with.Settings.Batching.Max = c.Instances, c.Threads, c.MaxBatch
		with.Settings.Batching.Preferred = nil
		opened, err := schedule.Open(ctx, eng, with, c.Instances*c.Threads)
		if err != nil {
			return Trial{}, err
		}
		t, err := o.run(ctx, opened, c, best)
		if closed := opened.Loaded.Close(); err == nil {
			err = closed
		}
		return t, err
	}
}

// run drives the model until its time is over or it is clearly worse than best.
func (o *Options) run(ctx context.Context, opened *schedule.Opened, c Candidate, best *Trial) (Trial, error) {
	ctx, cancel := context.WithTimeout(ctx, o.Time+10*time.Second)
	defer cancel()
	var stop atomic.Bool
	var answered atomic.Int64
	var wg sync.WaitGroup
	times := make([][]time.Duration, o.Load.Callers)
	errs := make(chan error, o.Load.Callers)
	begun := time.Now()
	for i := range times {
		wg.Go(func() {
			in := &serval.Tensors{List: o.Load.Inputs(o.Load.Rows, uint64(i))}
			drop := serval.SinkFunc(func(*serval.Chunk) error { return nil })
			for !stop.Load() {
				start := time.Now()
				if err := opened.Loaded.Handle(ctx, &serval.Request{Input: in}, drop); err != nil {
					stop.Store(true)
					errs <- err
					return
				}
				times[i] = append(times[i], time.Since(start))
				answered.Add(1)
			}
		})
	}
	t := Trial{Candidate: c}
	for !stop.Load() {
		time.Sleep(min(50*time.Millisecond, o.Time/10))
		run := time.Since(begun)
		rate := float64(answered.Load()) * float64(o.Load.Rows) / run.Seconds()
		switch {
		case run >= o.Time || ctx.Err() != nil:
			stop.Store(true)
		case best != nil && best.Meets && run > time.Duration(earliest*float64(o.Time)) && rate < best.Throughput*hopeless:
			t.Stopped = true
			stop.Store(true)
		}
	}
	wg.Wait()
	took := time.Since(begun)
	select {
	case err := <-errs:
		return t, err
	default:
	}
	var all []time.Duration
	for _, mine := range times {
		all = append(all, mine[min(1, len(mine)):]...) // the first call warms
	}
	slices.Sort(all)
	t.P50, t.P99 = at(all, 0.50), at(all, 0.99)
	t.Throughput = float64(answered.Load()) * float64(o.Load.Rows) / took.Seconds()
	t.Meets = o.Target == 0 || t.P99 <= o.Target
	return t, nil
}
