package batch

import (
	"bytes"
	"context"
	"math/bits"
	"slices"
	"sync"
	"time"

	"serval"
)

// Pace keeps batch calls out of the way of online ones: it cuts them into pieces that compute for so long at most, and lets fewer
// of them run at a time while online calls come. It is safe for concurrent use; all jobs of a server share one, and its background streams ask it.
type Pace struct {
	// Quiet is how long ago the last online call came.
	Quiet func() time.Duration
	// Online is how many online calls are under way.
	Online func() int64
	// Block is how long a piece may compute on an idle server, Busy while online calls come. 0: 2 ms and 200 µs.
	Block, Busy time.Duration

	mu    sync.Mutex
	costs map[serval.Ref]*costs
	turn  chan struct{} // held while online calls come, so that one piece runs at a time
	once  sync.Once
}

// lull is how long after an online call others are still expected.
const lull = time.Second

// StandsAside says whether online calls come, which background work stands aside for.
func (p *Pace) StandsAside() bool { return p.Quiet() < lull }

func (p *Pace) block() (d time.Duration, busy bool) {
	if p.StandsAside() {
		if p.Busy > 0 {
			return p.Busy, true
		}
		return 200 * time.Microsecond, true
	}
	if p.Block > 0 {
		return p.Block, false
	}
	return 2 * time.Millisecond, false
}

// costs are the shortest times that pieces of 1, 2, 4, … rows took: what else runs on the machine only ever adds to them.
type costs struct {
	best [sizes]time.Duration // 0: not known
	seen [sizes]int
}

const (
	sizes     = 17  // up to 65,536 rows
	firstSize = 3   // 8 rows, to learn what they cost
	trials    = 4   // of a size before it counts as too long: the first ones meet cold caches
	remeasure = 256 // pieces of a size after which it is measured anew: the model, or the machine, may have changed
)

// most is how many rows compute for d. What a call takes whatever its rows are is not saved by smaller ones: the rows may take as
// long again.
func (p *Pace) most(m serval.Ref, d time.Duration) int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.costs[m]
	if c == nil {
		return 1 << firstSize
	}
	var fixed time.Duration // of a call: what twice the rows do not take twice
	for k := range sizes - 1 {
		if c.best[k] > 0 && c.best[k+1] > 0 {
			fixed = max(0, 2*c.best[k]-c.best[k+1])
			break
		}
	}
	k := firstSize
	for ; k > 0 && c.best[k] > d; k-- { // what a call costs by itself is seen with the fewest rows
		if c.seen[k] < trials {
			return 1 << k
		}
		if c.best[k-1] == 0 {
			return 1 << (k - 1)
		}
	}
	d = max(d, 2*fixed)
	for k+1 < sizes && c.best[k] > 0 && c.best[k] <= d && (c.best[k+1] <= d || c.seen[k+1] < trials) {
		k++
	}
	return 1 << k
}

// took takes in how long rows took.
func (p *Pace) took(m serval.Ref, rows int64, took time.Duration) {
	k := bits.Len64(uint64(rows)) - 1
	if rows != 1<<k || k >= sizes || took <= 0 { // the rest of a block
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.costs == nil {
		p.costs = map[serval.Ref]*costs{}
	}
	c := p.costs[m]
	if c == nil {
		c = &costs{}
		p.costs[m] = c
	}
	if c.seen[k]++; c.best[k] == 0 || took < c.best[k] || c.seen[k] > remeasure {
		c.best[k] = took
	}
	if c.seen[k] > remeasure {
		c.seen[k] = 0
	}
}

// Handler puts the pace before next. Requests of several rows must be of a model whose rows do not depend on one another, as all
// batch requests are.
func (p *Pace) Handler(next serval.Handler) serval.Handler {
	p.once.Do(func() { p.turn = make(chan struct{}, 1) })
	return serval.HandlerFunc(func(ctx context.Context, req *serval.Request, sink serval.Sink) error {
		in, ok := req.Input.(*serval.Tensors)
		if !ok || len(in.List) == 0 {
			return p.pass(ctx, next, req, sink)
		}
		rows := in.List[0].Rows()
		for i := range in.List {
			if len(in.List[i].Shape) == 0 || in.List[i].Rows() != rows {
				rows = 0 // they have no rows in common
			}
		}
		if rows <= 1 {
			return p.pass(ctx, next, req, sink)
		}
		return p.cut(ctx, next, req, in, rows, sink)
	})
}

// queue waits for the turn while online calls come; false if there are none any more, and none is needed.
func (p *Pace) queue(ctx context.Context) (mine bool, err error) {
	for {
		if _, busy := p.block(); !busy {
			return false, nil
		}
		look := time.NewTimer(lull / 4) // whoever holds it may take long, as with texts
		select {
		case p.turn <- struct{}{}:
		case <-look.C:
			continue
		case <-ctx.Done():
			err = ctx.Err()
		}
		look.Stop()
		return err == nil, err
	}
}

// pass sends one request, alone while online calls come.
func (p *Pace) pass(ctx context.Context, next serval.Handler, req *serval.Request, sink serval.Sink) error {
	mine, err := p.queue(ctx)
	if err != nil {
		return err
	}
	if mine {
		defer func() { <-p.turn }()
		if err := p.gap(ctx); err != nil {
			return err
		}
		began := time.Now()
		defer func() { // the turn is held meanwhile; an error: ctx has ended, which the next piece finds out
			_ = sleepFor(ctx, min(rest*time.Since(began), restMost))
		}()
	}
	return next.Handle(ctx, req, sink)
}

const (
	// rest is how many times as long as a piece took no other one runs while online calls come: most of them meet none.
	rest     = 99
	restMost = 50 * time.Millisecond
)

const (
	gapEvery = 200 * time.Microsecond
	// gapMost is how long a piece waits for a moment without online calls: where there are none it runs seldom, so that few of
	// them meet it.
	gapMost = 50 * time.Millisecond
)

// gap waits for a moment without online calls, but not for ever: a job gets on, however busy the server is.
func (p *Pace) gap(ctx context.Context) error {
	for began := time.Now(); p.Online() > 0 && time.Since(began) < gapMost; {
		if err := sleepFor(ctx, gapEvery); err != nil {
			return err
		}
	}
	return nil
}

// cut sends a request as several, and answers as one would have.
func (p *Pace) cut(ctx context.Context, next serval.Handler, req *serval.Request, in *serval.Tensors, rows int64, sink serval.Sink) error {
	var all joined
	for from := int64(0); from < rows; {
		d, _ := p.block()
		to := min(rows, from+p.most(req.Model, d))
		if from == 0 && to == rows {
			err := p.pass(ctx, next, req, sink)
			p.took(req.Model, rows, req.Timing.Compute)
			return err
		}
		part := *req
		list := make([]serval.Tensor, len(in.List))
		for i := range in.List {
			list[i] = cut(&in.List[i], int(from), int(to))
		}
		part.Input = &serval.Tensors{List: list, Want: in.Want}
		if err := p.pass(ctx, next, &part, serval.SinkFunc(all.add)); err != nil {
			return err
		}
		p.took(req.Model, to-from, part.Timing.Compute)
		if err := all.check(to); err != nil {
			return err
		}
		from = to
	}
	return sink.Send(&serval.Chunk{Output: &serval.Tensors{List: all.list}, Usage: all.usage, Finish: serval.Stop})
}

// joined puts answers together, row behind row.
type joined struct {
	list  []serval.Tensor
	usage serval.Usage
}

func (j *joined) add(c *serval.Chunk) error {
	j.usage.Add(c.Usage)
	out, ok := c.Output.(*serval.Tensors)
	if !ok {
		return serval.Errorf(serval.Unimplemented, "the model does not answer with tensors")
	}
	if j.list == nil {
		for _, t := range out.List {
			t.Data, t.Shape = bytes.Clone(t.Data), append([]int64(nil), t.Shape...)
			j.list = append(j.list, t)
		}
		return nil
	}
	for i := range out.List {
		if i >= len(j.list) || j.list[i].Name != out.List[i].Name || len(j.list[i].Shape) == 0 || len(out.List[i].Shape) == 0 ||
			!slices.Equal(j.list[i].Shape[1:], out.List[i].Shape[1:]) {
			return serval.Errorf(serval.Unimplemented, "output '%s' does not have one value of the same shape for each row", out.List[i].Name).At(out.List[i].Name)
		}
		j.list[i].Data = append(j.list[i].Data, out.List[i].Data...)
		j.list[i].Shape[0] += out.List[i].Shape[0]
	}
	return nil
}

// check sees to it that there is an answer for each row so far, and only those.
func (j *joined) check(rows int64) error {
	for i := range j.list {
		if t := &j.list[i]; len(t.Shape) == 0 || t.Shape[0] != rows {
			return serval.Errorf(serval.Unimplemented, "output '%s' has shape %s for %d rows: it is not one value a row, so the model cannot be used in batch; leave the output out with --want",
				t.Name, serval.ShapeString(t.Shape), rows).At(t.Name)
		}
	}
	return nil
}
