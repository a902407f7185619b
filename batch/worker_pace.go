package batch

import (
	"bytes"
	"context"
	"slices"
	"sync"
	"time"

	"serval"
)

// Pace keeps batch calls out of the way of online ones: it cuts them into pieces that compute for so long at most, and lets fewer
// of them run at a time while online calls come. It is safe for concurrent use; all jobs of a server share one.
type Pace struct {
	// Quiet is how long ago the last online call came.
	Quiet func() time.Duration
	// Block is how long a piece may compute on an idle server, Busy while online calls come. 0: 2 ms and 200 µs.
	Block, Busy time.Duration

	mu    sync.Mutex
	costs map[serval.Ref]*line
	turn  chan struct{} // held while online calls come, so that one piece runs at a time
	once  sync.Once
}

// lull is how long after an online call others are still expected.
const lull = time.Second

func (p *Pace) block() (d time.Duration, busy bool) {
	if p.Quiet() < lull {
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

// line is how long a call takes by its rows, as fixed + row × rows: least squares over recent calls, older ones fading out.
type line struct{ n, rows, ns, rows2, rowsNs float64 }

const lineFade = 1 - 1.0/32

func (l *line) seen(rows, ns float64) {
	l.n, l.rows, l.ns = l.n*lineFade+1, l.rows*lineFade+rows, l.ns*lineFade+ns
	l.rows2, l.rowsNs = l.rows2*lineFade+rows*rows, l.rowsNs*lineFade+rows*ns
}

// fit is the line in nanoseconds.
func (l *line) fit() (fixed, row float64) {
	rows, ns := l.rows/l.n, l.ns/l.n
	if variance := l.rows2/l.n - rows*rows; variance > 1e-3*rows*rows+1e-9 {
		row = (l.rowsNs/l.n - rows*ns) / variance
		if fixed = ns - row*rows; row > 0 && fixed > 0 {
			return fixed, row
		}
		if row <= 0 {
			return ns, 0
		}
	}
	return 0, ns / rows
}

const (
	firstRows = 8       // to learn what they cost
	mostRows  = 1 << 16 // of a piece
)

// most is how many rows compute for d. What a call takes whatever its rows are is not saved by smaller ones: the rows may take as
// long again.
func (p *Pace) most(m serval.Ref, d time.Duration) int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.costs[m]
	if l == nil {
		return firstRows
	}
	if l.n < 2 { // two sizes make a line
		return 2 * firstRows
	}
	fixed, row := l.fit()
	if room := max(float64(d)-fixed, fixed); row*mostRows > room {
		return max(1, int64(room/row))
	}
	return mostRows
}

// seen takes in how long rows took.
func (p *Pace) seen(m serval.Ref, rows int64, took time.Duration) {
	if rows <= 0 || took <= 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.costs == nil {
		p.costs = map[serval.Ref]*line{}
	}
	if p.costs[m] == nil {
		p.costs[m] = &line{}
	}
	p.costs[m].seen(float64(rows), float64(took))
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

// pass sends one request, alone while online calls come.
func (p *Pace) pass(ctx context.Context, next serval.Handler, req *serval.Request, sink serval.Sink) error {
	if _, busy := p.block(); busy {
		select {
		case p.turn <- struct{}{}:
			defer func() { <-p.turn }()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return next.Handle(ctx, req, sink)
}

// cut sends a request as several, and answers as one would have.
func (p *Pace) cut(ctx context.Context, next serval.Handler, req *serval.Request, in *serval.Tensors, rows int64, sink serval.Sink) error {
	var all joined
	for from := int64(0); from < rows; {
		d, _ := p.block()
		to := min(rows, from+p.most(req.Model, d))
		if from == 0 && to == rows {
			err := p.pass(ctx, next, req, sink)
			p.seen(req.Model, rows, req.Timing.Compute)
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
		p.seen(req.Model, to-from, part.Timing.Compute)
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
