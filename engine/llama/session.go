package llama

import (
	"fmt"
	"unsafe"

	"serval"
)

// session is a llama_context: the state of sequences over a model's weights. It belongs to one goroutine.
type session struct {
	lib     *library
	ptr     uintptr
	mem     uintptr // its memory; 0 for encoders, which have none
	pool    uintptr // its threads
	batch   *batch
	threads int
}

// newSession makes a context; params came from the library's defaults.
func (w *weights) newSession(params contextParams, threads int) (*session, error) {
	l := w.lib
	params.Threads, params.ThreadsBatch = int32(threads), int32(threads)
	params.NoPerf = true
	l.words()
	ptr := l.contextNew(w.model, params)
	if ptr == 0 {
		return nil, serval.Errorf(serval.ResourceExhausted, "%s: llama.cpp cannot make a context of %d tokens: %s", w.name, params.Ctx, l.words())
	}
	c := &session{lib: l, ptr: ptr, mem: l.getMemory(ptr), threads: threads}
	if threads > 1 {
		if c.pool = l.threadpool(threads); c.pool != 0 {
			l.attachPool(ptr, c.pool, c.pool)
		}
	}
	c.batch = newBatch(int(params.Batch))
	return c, nil
}

// decodeError is what llama_decode returned that is not 0.
type decodeError int32

func (e decodeError) Error() string {
	switch e {
	case 1:
		return "no room in the key-value cache"
	case 2:
		return "aborted"
	case -1:
		return "invalid batch"
	}
	return fmt.Sprintf("code %d", int32(e))
}

// decode computes the batch and waits for it.
func (c *session) decode() error {
	if rc := c.lib.decode(c.ptr, c.batch.raw()); rc != 0 {
		return fmt.Errorf("llama.cpp could not compute a batch of %d tokens: %w (%s)", c.batch.n, decodeError(rc), c.lib.words())
	}
	c.lib.synchronize(c.ptr)
	return nil
}

// logits are those of the batch's row, in C's memory: valid until the next decode, and the caller may overwrite them. Nil if
// there are none.
func (c *session) logits(row, vocab int) []float32 {
	p := c.lib.logitsAt(c.ptr, int32(row))
	if p == 0 {
		return nil
	}
	return unsafe.Slice((*float32)(pointer(p)), vocab)
}

// vector is the pooled vector of a sequence of the batch, in C's memory.
func (c *session) vector(seq, width int) []float32 {
	p := c.lib.embeddingsOf(c.ptr, int32(seq))
	if p == 0 {
		return nil
	}
	return unsafe.Slice((*float32)(pointer(p)), width)
}

func (c *session) close() {
	if c == nil || c.ptr == 0 {
		return
	}
	c.lib.contextFree(c.ptr)
	c.lib.freeThreads(c.pool)
	c.batch.close()
	c.ptr = 0
}
