package tune

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"serval"
	"serval/engine"
	"serval/schedule"
)

// Point is what one combination measured: Instances copies, each running batches of Rows rows with Threads threads.
type Point struct {
	Rows      int           `json:"rows"`
	Threads   int           `json:"threads"`
	Instances int           `json:"instances"`
	P50       time.Duration `json:"p50_ns"` // of one batch
	P99       time.Duration `json:"p99_ns"`
	RowsPerS  float64       `json:"rows_per_second"` // all instances together
	Memory    int64         `json:"memory_bytes"`    // of the model, as the engine measured it at load
}

// ProfileOptions say what to measure.
type ProfileOptions struct {
	Cores    int
	Rows     []int         // batch sizes; nil: 1, 2, 4, … 64
	Time     time.Duration // for each point; 0: 300 ms
	Progress func(done, total int)
}

// Profile measures an engine without queue or wire. A model that does not batch is measured at one row only.
func Profile(ctx context.Context, eng engine.Engine, spec engine.Spec, o ProfileOptions) ([]Point, error) {
	if o.Time == 0 {
		o.Time = 300 * time.Millisecond
	}
	if len(o.Rows) == 0 {
		o.Rows = []int{1, 2, 4, 8, 16, 32, 64}
	}
	var points []Point
	shapes := shapesFor(o.Cores)
	for i, shape := range shapes {
		more, err := profileShape(ctx, eng, spec, shape, &o, func(done int) {
			if o.Progress != nil {
				o.Progress(i*len(o.Rows)+done, len(shapes)*len(o.Rows))
			}
		})
		if err != nil {
			return points, err
		}
		points = append(points, more...)
	}
	return points, nil
}

// shape is a division of the cores.
type shape struct{ instances, threads int }

// shapesFor lists the divisions with instances × threads ≤ cores, for powers of two and the number of cores itself.
func shapesFor(cores int) []shape {
	var counts []int
	for n := 1; n < cores; n *= 2 {
		counts = append(counts, n)
	}
	counts = append(counts, max(cores, 1))
	var list []shape
	for _, instances := range counts {
		for _, threads := range counts {
			if instances*threads <= max(cores, 1) {
				list = append(list, shape{instances, threads})
			}
		}
	}
	return list
}

func profileShape(ctx context.Context, eng engine.Engine, spec engine.Spec, sh shape, o *ProfileOptions, step func(int)) ([]Point, error) {
	spec.Settings.Instances, spec.Settings.Threads = sh.instances, sh.threads
	copies, samples, batches, err := schedule.Copies(ctx, eng, spec)
	if err != nil {
		return nil, err
	}
	defer func() {
		for i := len(copies) - 1; i >= 0; i-- {
			_ = copies[i].Close() // it was only measured
		}
	}()
	var points []Point
	for i, rows := range o.Rows {
		if rows > 1 && !batches {
			break
		}
		p := Point{Rows: rows, Threads: sh.threads, Instances: sh.instances, Memory: copies[0].Memory().Bytes}
		if err := p.measure(ctx, copies, samples, o.Time); err != nil {
			return points, fmt.Errorf("%d rows, %d instances, %d threads: %w", rows, sh.instances, sh.threads, err)
		}
		points = append(points, p)
		step(i + 1)
	}
	return points, nil
}

// measure runs every copy on its own goroutine for a while.
func (p *Point) measure(ctx context.Context, copies []engine.Batcher, samples func(rows int, seed uint64) []*engine.Call, d time.Duration) error {
	var mu sync.Mutex
	var times []time.Duration
	var failed error
	var wg sync.WaitGroup
	begun := time.Now()
	for i, c := range copies {
		wg.Go(func() {
			calls := samples(p.Rows, uint64(i))
			mine, err := runFor(ctx, c, calls, d)
			mu.Lock()
			defer mu.Unlock()
			times = append(times, mine...)
			if failed == nil {
				failed = err
			}
		})
	}
	wg.Wait()
	if failed != nil {
		return failed
	}
	took := time.Since(begun)
	slices.Sort(times)
	p.P50, p.P99 = at(times, 0.50), at(times, 0.99)
	p.RowsPerS = float64(len(times)*p.Rows) / took.Seconds()
	return nil
}

// runFor executes the same batch again and again, and returns how long each took but for the first, which warms.
func runFor(ctx context.Context, c engine.Batcher, calls []*engine.Call, d time.Duration) ([]time.Duration, error) {
	var times []time.Duration
	for n, end := 0, time.Now().Add(d); n < 3 || time.Now().Before(end); n++ {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		start := time.Now()
		err := c.Execute(ctx, calls)
		took := time.Since(start)
		for _, call := range calls {
			if err == nil && call.Err != nil {
				err = call.Err
			}
			inputs, rows := slices.Clone(call.Inputs), call.Rows
			call.Reset()
			call.Inputs, call.Rows = inputs, rows
		}
		if err != nil {
			return nil, err
		}
		if n > 0 {
			times = append(times, took)
		}
	}
	return times, nil
}

// at is the q-quantile of sorted times.
func at(times []time.Duration, q float64) time.Duration {
	if len(times) == 0 {
		return 0
	}
	return times[min(len(times)-1, int(q*float64(len(times))))]
}

// Load is what settings are tried under: callers that each send their next request when the last one was answered.
type Load struct {
	Callers int // 0: 16
	Rows    int // of a request; 0: 1
	Inputs  func(rows int, seed uint64) []serval.Tensor
}

func (l Load) withDefaults() Load {
	if l.Callers == 0 {
		l.Callers = 16
	}
	l.Rows = max(l.Rows, 1)
	return l
}

// InFlight is how many rows there are at the same time at most.
func (l Load) InFlight() int {
	l = l.withDefaults()
	return l.Callers * l.Rows
}
