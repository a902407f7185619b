package batch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"serval"
)

// work reads, asks and writes until the input's end.
func (r *run) work(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	from := r.point.Reader
	if from == nil && r.point.Input == 0 {
		from = r.o.From
	}
	first, err := r.object(ctx, r.point.Input, from)
	if err != nil {
		cancel(nil)
		return err
	}
	r.prepare(first)
	order := make(chan *flight, r.flights())
	var working sync.WaitGroup
	var readErr error
	working.Go(func() {
		defer close(order)
		readErr = r.read(ctx, first, order, &working)
	})
	r.saved = r.started
	for f := range order { // to the last one, as others fill it
		<-f.asked
		if ctx.Err() != nil {
			continue
		}
		err := f.err
		if err == nil {
			err = r.write(f)
		}
		if err != nil {
			cancel(err)
		}
		r.free.Put(f)
	}
	working.Wait()
	defer cancel(nil)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return readErr
}

// source is an object that is read.
type source struct {
	reader Reader
	plan   *plan
	texts  *texts // nil: the model takes tensors
}

// object opens an input and plans it, to be read from a Mark on. Only one goroutine at a time is in it.
func (r *run) object(ctx context.Context, i int, from Mark) (*source, error) {
	reader, err := r.in[i].Open(ctx, r.plain[i], r.o.Job.InputOptions)
	if err != nil {
		return nil, err
	}
	s := &source{reader: reader}
	if err := r.plan(s, from); err != nil {
		return nil, errors.Join(r.placed(i, err), reader.Close())
	}
	return s, nil
}

func (r *run) plan(s *source, from Mark) (err error) {
	have := s.reader.Columns()
	if r.o.Model.Language != nil {
		s.plan, s.texts, err = planText(&r.o.Model, &r.o.Job, have)
	} else {
		s.plan, err = planTensors(&r.o.Model, &r.o.Job, have)
	}
	if err != nil {
		return err
	}
	if r.point.Kept == nil {
		r.point.Kept = append([]Column{}, s.plan.selected[s.plan.pass:]...)
	} else if err := s.plan.keep(r.point.Kept, have); err != nil {
		return err
	}
	if r.asked == nil {
		r.asked = append([]string{}, s.plan.texts...)
	} else if !slices.Equal(r.asked, s.plan.texts) {
		return serval.Errorf(serval.InvalidArgument, "the prompt is in the columns %q, where the first object has it in %q", s.plan.texts, r.asked).At("prompt")
	}
	return s.reader.Select(s.plan.selected, from)
}

// placed names the object that an error is of.
func (r *run) placed(i int, err error) error {
	e := serval.AsError(err)
	if e.Code == serval.Internal {
		return fmt.Errorf("%s: %w", r.o.Inputs[i].Name(), err)
	}
	return serval.Errorf(e.Code, "%s: %s", r.o.Inputs[i].Name(), e.Message).At(e.Param).Because(e)
}

// prepare settles how the first object's plan is asked about.
func (r *run) prepare(s *source) {
	m, j := &r.o.Model, &r.o.Job
	if r.point.Rows == 0 {
		r.point.Rows = textRows
		if s.texts == nil {
			r.point.Rows = blockRows(s.plan)
		}
	}
	parallel := j.Parallel
	if parallel == 0 {
		parallel = 2 * max(1, m.Settings.Instances) // so that each finds the next one waiting
		if m.Language != nil {
			parallel = max(1, m.Language.Slots) + 2 // so that a place that becomes free is taken at once
		}
	}
	r.front = &front{
		o: r.o, ref: serval.Ref{Name: m.Name, Version: m.Version}, id: r.o.ID, slots: make(chan struct{}, parallel), sleep: sleepFor,
		answered: r.begun.Rows - r.begun.Bad,
	}
	if r.o.Part > 1 { // where the larger job begins is another's to judge
		r.front.answered++
	}
	if s.texts != nil {
		r.front.asker, r.layout.texts, r.layout.embeds = s.texts, true, s.texts.task == "embed"
	} else {
		r.front.asker = &tensors{rows: rowsOf(m, r.point.Rows), want: j.Want}
	}
}

// flights is how many blocks are under way: enough to keep all slots busy while the oldest is written, and where a block is one
// request, while the disk is waited for.
func (r *run) flights() int {
	slots, requests := cap(r.front.slots), max(1, r.point.Rows/max(1, r.front.most()))
	if requests == 1 {
		return slots + 4
	}
	return slots/requests + 1
}

// blockRows is a number of rows that takes about blockBytes.
func blockRows(p *plan) int {
	row := int64(0)
	for i := range p.inputs {
		size := max(16, p.inputs[i].info.DType.Size()) // a text takes more than its length
		if p.inputs[i].info.DType != serval.Bytes {
			size = p.inputs[i].info.DType.Size()
		}
		row += p.inputs[i].size * int64(size)
	}
	rows := minRows
	for rows < maxRows && int64(2*rows)*row <= blockBytes {
		rows *= 2
	}
	for rows > 1 && int64(rows)*row > 16*blockBytes { // pictures
		rows /= 2
	}
	return rows
}

// read fills flights, has them asked, and hands them on in order.
func (r *run) read(ctx context.Context, s *source, order chan<- *flight, working *sync.WaitGroup) (err error) {
	defer func() { err = errors.Join(err, s.reader.Close()) }()
	left := r.o.Job.Limit
	if left > 0 {
		if left -= r.point.Count.Rows; left <= 0 {
			return nil
		}
	}
	i := r.point.Input
	part := func() float64 {
		if r.o.Part > 0 && r.o.Job.Limit > 0 { // of an object
			return -1
		}
		return r.fraction(i, s.reader)
	}
	begin := part()
	var b Block
	for {
		n := r.point.Rows
		if r.o.Job.Limit > 0 {
			n = int(min(int64(n), left))
		}
		err := s.reader.Read(ctx, &b, n)
		if err == io.EOF {
			if i++; i == len(r.in) {
				return nil
			}
			next, err := r.object(ctx, i, nil)
			if err != nil {
				return err
			}
			if err := s.reader.Close(); err != nil {
				_ = next.reader.Close() // the first error is the one to tell
				s.reader = next.reader
				return err
			}
			s = next
			continue
		} else if err != nil {
			return r.placed(i, err)
		}
		f := r.free.Get().(*flight)
		f.object, f.mark = i, s.reader.Mark()
		f.begin, f.done = begin, part()
		f.fill(s.plan, &b)
		select {
		case order <- f:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		working.Go(func() {
			r.front.fly(ctx, f)
			close(f.asked)
		})
		if left -= f.rows; r.o.Job.Limit > 0 && left <= 0 {
			return nil
		}
	}
}

// fraction is the part of the whole that is read, with object i as far as its reader is; -1: not known.
func (r *run) fraction(i int, reader Reader) float64 {
	c, ok := reader.(Counter)
	if !ok {
		return -1
	}
	done, of := c.Progress()
	if of <= 0 {
		return -1
	}
	own := min(1, float64(done)/float64(of))
	var before, all float64
	for at, o := range r.o.Inputs {
		size := float64(o.Size())
		if size < 0 {
			return -1
		}
		all += size
		if at < i {
			before += size
		} else if at == i {
			before += own * size
		}
	}
	if all <= 0 {
		return -1
	}
	return before / all
}
