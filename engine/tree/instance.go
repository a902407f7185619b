package tree

import (
	"context"
	"sync"

	"serval"
	"serval/engine"
)

// instance runs a model for one batch at a time, on as many goroutines as it may use. It owns their memory.
type instance struct {
	*model
	workers []scorer
	batch   batch
	good    []*engine.Call
	answer  []serval.Tensor // scratch for Scatter, which copies it
	wait    sync.WaitGroup
}

// rowsForHelp is the number of rows from which a second goroutine is worth its start.
const rowsForHelp = 64

func newInstance(m *model, threads int) *instance {
	in := &instance{model: m, answer: make([]serval.Tensor, len(m.outputs))}
	for range max(threads, 1) {
		in.workers = append(in.workers, m.newScorer())
	}
	in.batch = batch{width: m.ensemble.features * m.reader.size, texts: len(m.categories), asks: m.asks, outputs: in.answer, leaf: -1, trees: m.count()}
	for i := range m.outputs {
		if m.outputs[i].what == leafNumber {
			in.batch.leaf = i
		}
	}
	return in
}

// Signature is the inputs and outputs that the model's options ask for.
func (in *instance) Signature() serval.Signature { return in.signature }

// Memory is what the trees take; all instances share them.
func (in *instance) Memory() engine.Memory { return engine.Memory{Bytes: in.bytes} }

// Close lets go of the memory.
func (in *instance) Close() error { return nil }

// Share makes an instance over the same trees.
func (in *instance) Share(context.Context) (engine.Batcher, error) {
	return newInstance(in.model, len(in.workers)), nil
}

// Execute computes the calls as one batch.
func (in *instance) Execute(ctx context.Context, calls []*engine.Call) error {
	in.good = in.good[:0]
	b := &in.batch
	b.rows = 0
	for _, c := range calls {
		if err := in.check(c, len(calls) > 1); err != nil {
			c.Fail(err)
			continue
		}
		in.good = append(in.good, c)
		b.rows += rowsOf(c)
	}
	if len(in.good) == 0 {
		return nil
	}
	b.ctx, b.calls = ctx, in.good
	hold := in.room()
	defer hold.Release()
	in.compute()
	err := ctx.Err()
	if err == nil {
		in.labels()
		err = engine.Scatter(in.good, in.answer, hold)
	}
	clear(in.good)
	clear(in.answer)
	b.ctx, b.calls = nil, nil
	return err
}

// check says whether a call's inputs are what the model takes; together, whether they can share a batch.
func (in *instance) check(c *engine.Call, together bool) error {
	if len(c.Inputs) != len(in.signature.Inputs) {
		return serval.Errorf(serval.InvalidArgument, "the model takes %d inputs; there are %d", len(in.signature.Inputs), len(c.Inputs))
	}
	for i := range c.Inputs {
		t, want := &c.Inputs[i], &in.signature.Inputs[i]
		if t.DType != want.DType {
			return serval.Errorf(serval.InvalidArgument, "input '%s' is %s, the model takes %s", want.Name, t.DType, want.DType).At(want.Name)
		}
		if len(t.Shape) != 2 || t.Shape[1] != want.Shape[1] {
			return serval.Errorf(serval.InvalidArgument, "input '%s' has shape %s, the model takes %s", want.Name, serval.ShapeString(t.Shape), serval.ShapeString(want.Shape)).At(want.Name)
		}
		if t.Shape[0] != c.Inputs[0].Shape[0] || together && t.Shape[0] != c.Rows {
			return serval.Errorf(serval.InvalidArgument, "input '%s' has %d rows, the call %d", want.Name, t.Shape[0], c.Rows).At(want.Name)
		}
		if err := t.Check(); err != nil {
			return err
		}
	}
	return nil
}

// room lays the outputs out in one buffer.
func (in *instance) room() *engine.Buffer {
	size := 0
	for i := range in.outputs {
		size += in.spread(i)
	}
	hold := engine.NewBuffer(size)
	if need := 2 * len(in.outputs) * (1 + len(in.good)); cap(hold.Dims) < need { // Scatter adds each call's shapes
		hold.Dims = make([]int64, 0, need)
	}
	at := 0
	for i := range in.outputs {
		o := &in.outputs[i]
		end := at + in.batch.rows*o.columns*o.size
		d := len(hold.Dims)
		hold.Dims = append(hold.Dims, int64(in.batch.rows), int64(o.columns))
		in.answer[i] = serval.Tensor{Name: o.info.Name, DType: o.info.DType, Shape: hold.Dims[d : d+2 : d+2], Data: hold.Data[at:end:end], Labels: o.info.Labels}
		if o.size == 0 {
			in.batch.classes = grow(in.batch.classes, in.batch.rows)
			in.answer[i].Data = hold.Data[at : at : at+in.batch.rows*(4+in.longest)]
		}
		at += in.spread(i)
	}
	return hold
}

// spread is the room that output i takes, rounded up so that the next one starts aligned.
func (in *instance) spread(i int) int {
	o := &in.outputs[i]
	n := in.batch.rows * o.columns * o.size
	if o.size == 0 {
		n = in.batch.rows * (4 + in.longest)
	}
	return (n + 15) &^ 15
}

func grow(s []int32, n int) []int32 {
	if cap(s) < n {
		return make([]int32, n)
	}
	return s[:n]
}

// compute shares the rows out.
func (in *instance) compute() {
	b := &in.batch
	parts := min(len(in.workers), max(b.rows/rowsForHelp, 1))
	per := (b.rows/parts + group - 1) / group * group
	for i := 1; i < parts; i++ {
		lo, hi := min(i*per, b.rows), min((i+1)*per, b.rows)
		if i == parts-1 {
			hi = b.rows
		}
		in.wait.Add(1)
		go in.help(in.workers[i], lo, hi)
	}
	hi := b.rows
	if parts > 1 {
		hi = min(per, b.rows)
	}
	if hi > 0 {
		in.workers[0].score(b, 0, hi)
	}
	in.wait.Wait()
}

func (in *instance) help(s scorer, lo, hi int) {
	defer in.wait.Done()
	if lo < hi {
		s.score(&in.batch, lo, hi)
	}
}

// labels writes the text of classes, whose lengths differ.
func (in *instance) labels() {
	for i := range in.outputs {
		if in.outputs[i].size != 0 {
			continue
		}
		for _, class := range in.batch.classes[:in.batch.rows] {
			in.answer[i].Data = serval.AppendString(in.answer[i].Data, in.classes[class])
		}
	}
}
