package gguf

import (
	"serval/engine/gguf/kernel"
)

// net computes batches of tokens over loaded weights: rows, each with its sequence's place in the cache and its position. A row's
// numbers do not depend on the other rows. It belongs to one goroutine, which shares the work with a team.
//
// What a piece of work needs is in the fields, and the functions that compute pieces are made once: nothing is allocated in a pass.
type net struct {
	*weights
	*crew
	ops    kernel.Ops
	cell   kernel.KV
	kv     []uint16 // block by block; in a block layer by layer, head by head, keys before values, as cell stores them
	freeKV func() error
	limit  int // rows

	spans  []span
	tokens []int32
	outs   []int32 // rows whose logits are wanted
	whole  bool    // no logits are wanted, but the last layer's output of every row

	x, delta []float32 // [rows][width]: the residual stream, and what a layer adds to it
	qkv      []float32 // [rows][heads and twice kvHeads][head]
	mixed    []float32 // [rows][heads][head]: what attention gives
	gate, up []float32 // [rows][inner]
	angles   []float32 // [rows][rope.dims and near.dims]
	out      []float32 // [outputs][vocab]
	scratch  []scratch // of each worker
	works    []work
	at       *layer // that is computed, and its number
	number   int
	by       []float32 // weights of the norm that is computed
	more     bool      // delta is added first,
	post     []float32 // and before that normed by these weights, if there are some

	embedRow, normRow, ropeRow, attendPiece, mixedRow, gluRow, capRow func(worker, i int)
}

// span is a run of a sequence's tokens: rows from, from+1, … at the positions pos, pos+1, …
type span struct {
	from, n, pos int
	table        []int32
}

// scratch belongs to a worker.
type scratch struct {
	row    []float32 // of the widest
	bytes  []byte    // of a row of the embedding
	query  []float32 // [tile][head]
	mixed  []float32 // [tile][head]
	scores []float32 // [tile][context]
	room   *kernel.KVRoom
}

func newNet(w *weights, p *plan, team *kernel.Team) (*net, error) {
	x := w.shape
	n := &net{weights: w, crew: newCrew(team, w.arena, w.mapped), ops: w.ops, cell: kernel.NewKV(w.ops, p.store, x.kvHeads, x.head), limit: p.rows}
	var err error
	if n.kv, n.freeKV, err = kernel.Halves(p.blocks * n.blockSize()); err != nil {
		return nil, err
	}
	floats := func(cols int) []float32 { return make([]float32, p.rows*cols) }
	n.x, n.delta = floats(x.width), floats(x.width)
	n.qkv, n.mixed = floats((x.heads+2*x.kvHeads)*x.head), floats(x.heads*x.head)
	n.gate, n.up, n.angles = floats(x.inner), floats(x.inner), floats(x.rope.dims+x.near.dims)
	n.out = make([]float32, p.outputs*x.vocab)
	n.tokens, n.outs = make([]int32, 0, p.rows), make([]int32, 0, p.outputs)
	n.spans = make([]span, 0, p.slots)
	n.scratch = make([]scratch, team.Size())
	for i := range n.scratch {
		n.scratch[i] = scratch{
			row: make([]float32, max(x.width, x.inner)), bytes: make([]byte, w.embed.bytes), query: make([]float32, x.tile()*x.head),
			mixed: make([]float32, x.tile()*x.head), scores: make([]float32, x.tile()*p.seen()), room: n.cell.Room(x.tile()),
		}
	}
	n.embedRow, n.normRow, n.ropeRow, n.attendPiece = n.embedOne, n.normOne, n.ropeOne, n.attend
	n.mixedRow, n.gluRow, n.capRow = n.mixedOne, n.gluOne, n.capOne
	return n, nil
}

func (n *net) free() error { return n.freeKV() }

// reset begins a batch.
func (n *net) reset() {
	n.spans, n.tokens, n.outs, n.whole = n.spans[:0], n.tokens[:0], n.outs[:0], false
}

func (n *net) rows() int { return len(n.tokens) }

func (n *net) outputs() int { return len(n.outs) }

// add adds a run of a sequence's tokens, whose first is at position pos; table has blocks for them and all before. wants says
// which of them have logits. table is read until run has returned.
func (n *net) add(tokens []int32, pos int, table []int32, wants func(i int) bool) {
	from := len(n.tokens)
	n.tokens = append(n.tokens, tokens...)
	n.spans = append(n.spans, span{from: from, n: len(tokens), pos: pos, table: table})
	for i := range tokens {
		if wants(i) {
			n.outs = append(n.outs, int32(from+i))
		}
	}
}

// logits are those of the i-th row that wanted some, valid until the next run; the caller may change them.
func (n *net) logits(i int) []float32 { return n.out[i*n.vocab : (i+1)*n.vocab] }

// vector is the last layer's normed output for a row, valid until the next call; whole was set before the run.
func (n *net) vector(row int) []float32 {
	out := n.scratch[0].row[:n.width]
	n.ops.RMSNorm(out, n.summed(row), n.norm, n.eps)
	return out
}

// pass computes the batch; what its workers found out since the embeddings is for run to ask.
func (n *net) pass() error {
	rows := len(n.tokens)
	n.divide()
	n.each(rows, n.width, n.embedRow)
	if err := n.failed(); err != nil {
		return err
	}
	n.more = false
	for i := range n.layer {
		l := &n.layer[i]
		n.at, n.number = l, i
		n.normalize(rows, l.norm)
		ld := (n.heads + 2*n.kvHeads) * n.head
		q, k := n.heads*n.head, n.kvHeads*n.head
		n.multiply(mul{m: l.q, y: n.qkv, ld: ld}, mul{m: l.k, y: n.qkv[q:], ld: ld}, mul{m: l.v, y: n.qkv[q+k:], ld: ld})
		n.each(rows, ld*4, n.ropeRow) // a turn costs about as much as four sums
		last := i == len(n.layer)-1 && !n.whole
		if last {
			n.narrow()
		}
		n.attention()
		if last {
			if rows = n.gather(); rows == 0 {
				return nil
			}
		}
		n.acts.Resize(rows, n.heads*n.head)
		n.each(rows, n.heads*n.head, n.mixedRow)
		n.multiply(mul{m: l.o, y: n.delta, ld: n.width})
		n.more, n.post = true, l.post
		n.normalize(rows, l.ffnNorm)
		n.multiply(mul{m: l.gate, y: n.gate, ld: n.inner}, mul{m: l.up, y: n.up, ld: n.inner})
		n.acts.Resize(rows, n.inner)
		n.each(rows, n.inner, n.gluRow)
		n.multiply(mul{m: l.down, y: n.delta, ld: n.width})
		n.post = l.ffnPost
	}
	if n.whole {
		return nil
	}
	n.normalize(rows, n.norm)
	n.multiply(mul{m: n.output, y: n.out, ld: n.vocab})
	if n.outCap > 0 {
		n.each(rows, n.vocab, n.capRow)
	}
	return nil
}
