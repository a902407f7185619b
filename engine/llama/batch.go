package llama

import (
	"runtime"
	"unsafe"
)

// batch is what one call to llama_decode computes: tokens, each with its place in a sequence. Its arrays are Go's, pinned for
// as long as it lives, so that C may read them; it belongs to one goroutine.
type batch struct {
	tokens  []int32
	pos     []int32
	nseq    []int32
	seqs    []uintptr // of each token the address of its entry in seq
	seq     []int32
	outputs []int8 // 1: its logits are wanted
	n       int
	wanted  int // outputs
	pin     runtime.Pinner
}

func newBatch(size int) *batch {
	b := &batch{
		tokens: make([]int32, size), pos: make([]int32, size), nseq: make([]int32, size), seqs: make([]uintptr, size),
		seq: make([]int32, size), outputs: make([]int8, size),
	}
	for _, p := range []any{&b.tokens[0], &b.pos[0], &b.nseq[0], &b.seqs[0], &b.seq[0], &b.outputs[0]} {
		b.pin.Pin(p)
	}
	for i := range size {
		b.nseq[i] = 1
		b.seqs[i] = uintptr(unsafe.Pointer(&b.seq[i]))
	}
	return b
}

func (b *batch) close() { b.pin.Unpin() }

func (b *batch) reset() { b.n, b.wanted = 0, 0 }

func (b *batch) room() int { return len(b.tokens) - b.n }

// add appends a token and returns its row.
func (b *batch) add(token, pos, seq int32, output bool) int {
	i := b.n
	b.tokens[i], b.pos[i], b.seq[i], b.outputs[i] = token, pos, seq, 0
	if output {
		b.outputs[i] = 1
		b.wanted++
	}
	b.n++
	return i
}

// raw is the batch as C sees it.
func (b *batch) raw() rawBatch {
	at := func(p unsafe.Pointer) uintptr { return uintptr(p) }
	return rawBatch{
		N: int32(b.n), Token: at(unsafe.Pointer(&b.tokens[0])), Pos: at(unsafe.Pointer(&b.pos[0])), NSeq: at(unsafe.Pointer(&b.nseq[0])),
		Seq: at(unsafe.Pointer(&b.seqs[0])), Output: at(unsafe.Pointer(&b.outputs[0])),
	}
}
