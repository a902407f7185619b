package engine

import (
	"sync"
	"sync/atomic"

	"serval"
)

// Call is one request as an engine sees it. Its owner is schedule, which reuses it once it was answered and delivered.
type Call struct {
	// Inputs stand in the signature's order, checked against it; an optional input that was not given has InvalidType.
	// The data is the request's and must not be changed.
	Inputs []serval.Tensor
	// Rows is the leading dimension that the batched inputs share; 1 where the model does not batch.
	Rows int64
	// Input is what a Decoder of text is given instead of Inputs: a *serval.Generate or *serval.Encode; else nil.
	Input serval.Input

	// Outputs and Err are the answer, set by Answer or Fail.
	Outputs []serval.Tensor
	Err     error
	hold    *Buffer
	done    bool

	// Stream receives a Decoder's chunks; nil for a Batcher.
	Stream Stream
}

// Stream is where a Decoder puts what it generates for one call. Nothing here blocks.
type Stream interface {
	// Emit hands over a chunk, whose Output must not be reused. It reports false when the buffer is full: the chunk was
	// not taken, the sequence pauses and tries again at a later Step.
	Emit(serval.Chunk) bool
	// End is the last word on the call; err may be nil.
	End(err error)
	// Canceled says that nobody listens any more; the engine then drops the sequence and calls End.
	Canceled() bool
}

// Answer gives the call its outputs, in the signature's order. The slice is copied, the data is not: hold, which may be
// nil, is retained until the answer was delivered.
func (c *Call) Answer(outputs []serval.Tensor, hold *Buffer) {
	c.Outputs = append(c.Outputs[:0], outputs...)
	c.Err = nil
	c.done = true
	if hold != nil {
		hold.Retain()
	}
	c.hold = hold
}

// Fail gives the call an error.
func (c *Call) Fail(err error) {
	c.Outputs = c.Outputs[:0]
	c.Err = err
	c.done = true
}

// Answered says whether Answer or Fail was called.
func (c *Call) Answered() bool { return c.done }

// Reset makes the call ready for another use and lets go of its answer.
func (c *Call) Reset() {
	clear(c.Outputs)
	clear(c.Inputs)
	hold := c.hold
	*c = Call{Inputs: c.Inputs[:0], Outputs: c.Outputs[:0]}
	if hold != nil {
		hold.Release()
	}
}

// Buffer is memory for the outputs of a batch, shared by the calls of that batch: it goes back to its pool when the maker
// and every call have released it.
type Buffer struct {
	Data  []byte
	Dims  []int64 // room for the shapes of the outputs
	refs  atomic.Int32
	class int
}

const (
	minClass = 10 // 1 KiB
	maxClass = 24 // 16 MiB; larger buffers are left to the garbage collector
)

var pools [maxClass + 1]sync.Pool // by power of two; a cache, not state

// NewBuffer returns a buffer whose Data has length n and any content, and whose Dims is empty. The caller holds it.
func NewBuffer(n int) *Buffer {
	class := minClass
	for class <= maxClass && n > 1<<class {
		class++
	}
	if class > maxClass {
		b := &Buffer{Data: make([]byte, n), class: class}
		b.refs.Store(1)
		return b
	}
	b, _ := pools[class].Get().(*Buffer)
	if b == nil {
		b = &Buffer{Data: make([]byte, 1<<class), class: class}
	}
	b.Data = b.Data[:n]
	b.Dims = b.Dims[:0]
	b.refs.Store(1)
	return b
}

// Retain adds a holder.
func (b *Buffer) Retain() { b.refs.Add(1) }

// Release takes a holder away; the last one gives the memory back.
func (b *Buffer) Release() {
	n := b.refs.Add(-1)
	if n < 0 {
		panic("engine: Buffer released more often than retained")
	}
	if n == 0 && b.class <= maxClass {
		b.Data = b.Data[:cap(b.Data)]
		pools[b.class].Put(b)
	}
}
