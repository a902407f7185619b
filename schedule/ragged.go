package schedule

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"time"

	"serval"
	"serval/engine"
)

// ragged is one instance of an encoder: a Batcher of texts made of one of tensors. The texts of its calls, which are of any
// length, are laid together in a few tensors of the engine's, each padded to its own longest text. It is an engine.Language;
// a call's Input is a *serval.Encode, its answer one FP32 tensor [texts, width].
type ragged struct {
	engine.Batcher
	open     func(context.Context) (engine.Batcher, error) // another of the engine's instances
	plan     *textPlan
	dtypes   []serval.DType // of the inputs
	alone    bool           // texts do not share a tensor, since they would not have the same vectors
	overhead int            // tokens in whose time the engine could begin another tensor
	more     [2]time.Duration

	// Scratch of the batch at work.
	texts         []ragText
	call          engine.Call
	one           []*engine.Call
	data          [roleNone][]byte
	shape         []int64
	best          []int // see groups
	from, ends    []int
	input, output time.Duration // see Laps
}

// ragText is a text of a batch.
type ragText struct {
	tokens, types []int32
	pooling       string
	row           int // of the answer
}

func newRagged(ctx context.Context, b engine.Batcher, plan *textPlan) (*ragged, error) {
	sig := b.Signature()
	r := &ragged{Batcher: b, plan: plan, alone: plan.single}
	for i := range sig.Inputs {
		r.dtypes = append(r.dtypes, sig.Inputs[i].DType)
	}
	r.fresh()
	if plan.lang.Width > 0 {
		return r, nil
	}
	if err := r.tensor(ctx, []ragText{{tokens: []int32{1, 2}}}, nil); err != nil { // tells the width
		return nil, err
	}
	return r, ctx.Err()
}

// fresh gives the instance scratch of its own.
func (r *ragged) fresh() {
	r.texts, r.call, r.data = nil, engine.Call{Inputs: make([]serval.Tensor, len(r.dtypes))}, [roleNone][]byte{}
	r.one, r.shape, r.best, r.from, r.ends = []*engine.Call{&r.call}, nil, nil, nil, nil
}

// Language says what it can do.
func (r *ragged) Language() serval.Language { return r.plan.lang }

// Laps says how much of the last Execute went into making tensors, and into pooling.
func (r *ragged) Laps() (input, output time.Duration) { return r.input, r.output }

// Share makes another instance.
func (r *ragged) Share(ctx context.Context) (engine.Batcher, error) {
	b, err := r.open(ctx)
	if err != nil {
		return nil, err
	}
	n := *r
	n.Batcher = b
	n.one = nil
	n.fresh()
	return &n, nil
}

// Execute answers every call. Where a batch fails, each call is run alone, so that only those fail that must.
func (r *ragged) Execute(ctx context.Context, calls []*engine.Call) error {
	r.input, r.output = 0, 0
	err := r.run(ctx, calls)
	if err == nil || len(calls) == 1 {
		return err
	}
	input, output := r.input, r.output
	for _, c := range calls {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := r.run(ctx, []*engine.Call{c}); err != nil {
			c.Fail(err)
		}
	}
	r.input, r.output = r.input+input, r.output+output
	return nil
}

// run computes one batch; with an error, no call was answered.
func (r *ragged) run(ctx context.Context, calls []*engine.Call) error {
	r.texts = r.texts[:0]
	for _, c := range calls {
		in, ok := c.Input.(*serval.Encode)
		if !ok {
			return serval.Errorf(serval.InvalidArgument, "the model takes tokens, not tensors")
		}
		for i, tokens := range in.List {
			t := ragText{tokens: tokens, pooling: in.Pooling, row: len(r.texts)}
			if in.Types != nil {
				t.types = in.Types[i]
			}
			r.texts = append(r.texts, t)
		}
	}
	defer clear(r.texts) // they are the requests'
	width := r.plan.lang.Width
	hold := engine.NewBuffer(len(r.texts) * width * 4)
	defer hold.Release()
	slices.SortStableFunc(r.texts, func(a, b ragText) int { return len(b.tokens) - len(a.tokens) })
	begin := 0
	for _, end := range r.groups() {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := r.tensor(ctx, r.texts[begin:end], hold.Data); err != nil {
			return err
		}
		begin = end
	}
	row := 0
	for _, c := range calls {
		n := len(c.Input.(*serval.Encode).List)
		out := serval.Tensor{Name: "embedding", DType: serval.FP32, Shape: []int64{int64(n), int64(width)}, Data: hold.Data[row*width*4 : (row+n)*width*4]}
		c.Answer([]serval.Tensor{out}, hold)
		row += n
	}
	return nil
}

// groups cuts r.texts, which are ordered from the longest to the shortest, into tensors: where the cuts cost least, counting
// every place of a tensor and what it takes to begin one, by dynamic programming. It returns the ends.
func (r *ragged) groups() []int {
	n := len(r.texts)
	r.best = slices.Grow(r.best[:0], n+1)[:n+1]
	r.from = slices.Grow(r.from[:0], n+1)[:n+1]
	r.best[0] = 0
	for i := 1; i <= n; i++ {
		r.best[i] = math.MaxInt
		for j := i - 1; j >= 0; j-- { // the tensor of texts j to i-1
			long := len(r.texts[j].tokens)
			if i-j > 1 && (r.alone || !r.plan.masked && long != len(r.texts[i-1].tokens) || (i-j)*r.padded(long) > r.plan.budget) {
				break
			}
			if cost := r.best[j] + r.overhead + (i-j)*r.padded(long); cost < r.best[i] {
				r.best[i], r.from[i] = cost, j
			}
		}
	}
	r.ends = r.ends[:0]
	for i := n; i > 0; i = r.from[i] {
		r.ends = append(r.ends, i)
	}
	slices.Reverse(r.ends)
	return r.ends
}

// padded is how many places a text has in a tensor whose longest text has so many tokens.
func (r *ragged) padded(longest int) int {
	if r.plan.length > 0 {
		return r.plan.length
	}
	return longest
}

// tensor computes texts in one tensor, the first of them the longest, and puts each vector to its row of into. With no into it
// only learns the width.
func (r *ragged) tensor(ctx context.Context, texts []ragText, into []byte) error {
	begun := time.Now()
	places := r.padded(len(texts[0].tokens))
	r.shape = append(r.shape[:0], int64(len(texts)), int64(places))
	r.call.Inputs = r.call.Inputs[:len(r.plan.inputs)]
	for i, role := range r.plan.inputs {
		if role == roleNone {
			r.call.Inputs[i] = serval.Tensor{}
			continue
		}
		r.lay(role, r.dtypes[i].Size(), texts, places)
		r.call.Inputs[i] = serval.Tensor{DType: r.dtypes[i], Shape: r.shape, Data: r.data[role]}
	}
	r.call.Rows = int64(len(texts))
	r.input += time.Since(begun)
	err := r.Batcher.Execute(ctx, r.one)
	if err == nil {
		err = r.call.Err
	}
	if err == nil {
		begun = time.Now()
		err = r.pool(texts, places, into)
		r.output += time.Since(begun)
	}
	r.call.Reset()
	return err
}

// lay writes the tensor of one input.
func (r *ragged) lay(role, size int, texts []ragText, places int) {
	data := slices.Grow(r.data[role][:0], len(texts)*places*size)
	put := func(v int64) {
		if size == 4 {
			data = binary.LittleEndian.AppendUint32(data, uint32(v))
		} else {
			data = binary.LittleEndian.AppendUint64(data, uint64(v))
		}
	}
	for i := range texts {
		t := &texts[i]
		for k, token := range t.tokens {
			switch {
			case role == roleIDs:
				put(int64(token))
			case role == roleMask:
				put(1)
			case t.types != nil:
				put(int64(t.types[k]))
			default:
				put(0)
			}
		}
		for range places - len(t.tokens) {
			if role == roleIDs {
				put(r.plan.pad)
			} else {
				put(0)
			}
		}
	}
	r.data[role] = data
}

// pool makes one vector of each text's, and puts it to its row of into.
func (r *ragged) pool(texts []ragText, places int, into []byte) error {
	if r.plan.output >= len(r.call.Outputs) {
		return fmt.Errorf("the engine gave %d outputs, the model has more", len(r.call.Outputs))
	}
	out := &r.call.Outputs[r.plan.output]
	rank := 2
	if r.plan.kind == tokenVectors {
		rank = 3
	}
	if len(out.Shape) != rank || out.Shape[0] != int64(len(texts)) || rank == 3 && out.Shape[1] != int64(places) || out.Check() != nil {
		return fmt.Errorf("output '%s' has shape %s for %d texts of %d tokens", out.Name, serval.ShapeString(out.Shape), len(texts), places)
	}
	width := int(out.Shape[rank-1])
	if into == nil {
		r.plan.lang.Width = width
		return nil
	}
	if width != r.plan.lang.Width || width == 0 {
		return fmt.Errorf("output '%s' has vectors of %d, and had %d before", out.Name, width, r.plan.lang.Width)
	}
	read := reader(out)
	sum := make([]float32, width)
	for i := range texts {
		first, last := i, i
		if rank == 3 {
			first, last = i*places, i*places+len(texts[i].tokens)-1
			switch r.pooling(texts[i].pooling) {
			case "cls":
				last = first
			case "last":
				first = last
			}
		}
		clear(sum)
		for at := first; at <= last; at++ {
			read(sum, at*width)
		}
		n := float32(last - first + 1)
		row := into[texts[i].row*width*4:]
		for k, v := range sum {
			binary.LittleEndian.PutUint32(row[k*4:], math.Float32bits(v/n))
		}
	}
	return nil
}

func (r *ragged) pooling(asked string) string {
	if asked == "" {
		return r.plan.lang.Pooling
	}
	return asked
}

// reader gives a function that adds the numbers of a tensor from an index on to sum.
func reader(t *serval.Tensor) func(sum []float32, at int) {
	if t.DType == serval.FP32 {
		return func(sum []float32, at int) {
			data := t.Data[at*4 : (at+len(sum))*4]
			for k := range sum {
				sum[k] += math.Float32frombits(binary.LittleEndian.Uint32(data[k*4:]))
			}
		}
	}
	number := t.DType.Numbers()
	return func(sum []float32, at int) {
		for k := range sum {
			sum[k] += float32(number(t.Data, at+k))
		}
	}
}
