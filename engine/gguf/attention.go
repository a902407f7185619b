package gguf

import (
	"math"

	"serval/engine/gguf/kernel"
)

// tileRows is how many queries the kernels take at once, at best.
const tileRows = 12

// tile is how many queries of one head of keys a piece of work has: those of as many tokens as fit.
func (x *shape) tile() int {
	group := x.heads / x.kvHeads
	return max(tileRows/group, 1) * group
}

// work is attention of some neighbouring rows of a span, with every head.
type work struct {
	span, from, n int // rows from the span's beginning
}

// divide cuts attention into pieces, once for all layers.
func (n *net) divide() {
	most := n.tile() / (n.heads / n.kvHeads)
	n.works = n.works[:0]
	for i, s := range n.spans {
		for from := 0; from < s.n; from += most {
			n.works = append(n.works, work{i, from, min(most, s.n-from)})
		}
	}
}

// narrow and gather, before and after the last layer's attention, leave of the batch only the rows whose logits are wanted, side by
// side: what the layer would add to the others nobody reads, once its keys and values are stored.
func (n *net) narrow() {
	n.works = n.works[:0]
	for _, row := range n.outs {
		i := n.spanOf(int(row))
		n.works = append(n.works, work{i, int(row) - n.spans[i].from, 1})
	}
}

// gather returns how many rows are left.
func (n *net) gather() int {
	cols := n.heads * n.head
	for to, row := range n.outs {
		from := int(row)
		copy(n.x[to*n.width:(to+1)*n.width], n.x[from*n.width:(from+1)*n.width])
		copy(n.mixed[to*cols:(to+1)*cols], n.mixed[from*cols:(from+1)*cols])
	}
	return len(n.outs)
}

// blockSize is how many uint16 a block of the cache takes.
func (n *net) blockSize() int { return n.layers * n.kvHeads * 2 * n.cell.Size(block) }

// copyBlock copies what a block of the cache holds to another.
func (n *net) copyBlock(to, from int32) {
	size := n.blockSize()
	copy(n.kv[int(to)*size:(int(to)+1)*size], n.kv[int(from)*size:(int(from)+1)*size])
}

// cells are the keys and values of a head in a block of the cache, in the layer that is computed.
func (n *net) cells(b int32, head int) (keys, values []uint16) {
	size := n.cell.Size(block)
	at := ((int(b)*n.layers+n.number)*n.kvHeads + head) * 2 * size
	return n.kv[at : at+size : at+size], n.kv[at+size : at+2*size : at+2*size]
}

// attention mixes values for the rows of the works.
func (n *net) attention() { n.team.Run(len(n.works)*n.kvHeads, n.attendPiece) }

// ropeOne turns a row's queries and keys, and stores its keys and values.
func (n *net) ropeOne(worker, i int) {
	ld := (n.heads + 2*n.kvHeads) * n.head
	row, angles, rope := n.qkv[i*ld:(i+1)*ld], n.angles[i*(n.rope.dims+n.near.dims):], &n.rope
	if n.near.dims > 0 && n.sees(n.number) > 0 {
		angles, rope = angles[n.rope.dims:], &n.near
	}
	if n.at.bias != nil {
		n.ops.AddTo(row, n.at.bias)
	}
	for h := range n.heads + n.kvHeads {
		head, norm := row[h*n.head:(h+1)*n.head], n.at.qNorm
		if h >= n.heads {
			norm = n.at.kNorm
		}
		if norm != nil {
			n.ops.RMSNorm(head, head, norm, n.eps)
		}
		rope.turn(head, angles)
	}
	s := &n.spans[n.spanOf(i)]
	pos := s.pos + i - s.from
	room := n.scratch[worker].room
	n.cell.Round(room, row[n.heads*n.head:])
	for h := range n.kvHeads {
		keys, values := n.cells(s.table[pos/block], h)
		n.cell.Put(keys, values, pos%block, h, room)
	}
}

// from is the first cell that the row at a position sees.
func (n *net) from(pos int) int {
	if window := n.sees(n.number); window > 0 {
		return max(pos+1-window, 0)
	}
	return 0
}

// weigh makes weights of the scores that the row at a position has; cells before begin have none. What is summed with what depends on
// the position alone: it goes from a block's beginning to a multiple of 16 cells.
func (n *net) weigh(row []float32, begin, pos int) {
	from, sees := n.from(pos), pos+1
	low, high := from/block*block, min((sees+15)&^15, len(row))
	none := float32(math.Inf(-1))
	if n.cap > 0 {
		softcap(n.ops, row[from:sees], n.cap)
	}
	for c := low; c < from; c++ {
		row[c] = none
	}
	for c := sees; c < high; c++ {
		row[c] = none
	}
	n.ops.Softmax(row[low:high])
	clear(row[begin:low])
	clear(row[sees:])
}

// attend computes one head of keys for the rows of a work: the scores of each query with the cells before it, their softmax, and the
// values weighed by it. The cells go in the order of positions, whatever the other rows.
func (n *net) attend(worker, i int) {
	w, head := n.works[i/n.kvHeads], i%n.kvHeads
	s, scratch := &n.spans[w.span], &n.scratch[worker]
	group, ld := n.heads/n.kvHeads, (n.heads+2*n.kvHeads)*n.head
	queries := w.n * group
	first := s.from + w.from
	for t := range w.n {
		at := (first+t)*ld + head*group*n.head
		copy(scratch.query[t*group*n.head:], n.qkv[at:at+group*n.head])
	}
	last := s.pos + w.from + w.n // cells that the last row sees
	begin := n.from(s.pos+w.from) / block
	stride := blocksFor(last) * block
	scores := kernel.Rows{Data: scratch.scores, N: queries, Stride: stride}
	n.cell.Ask(scratch.room, kernel.Rows{Data: scratch.query, N: queries, Stride: n.head}, n.scale)
	_, values := n.cells(s.table[begin], head)
	for b := begin; b*block < last; b++ { // what comes next is fetched meanwhile: the processor does not do it beyond a page of 4 KB
		keys, _ := n.cells(s.table[b], head)
		next := values
		if (b+1)*block < last {
			next, _ = n.cells(s.table[b+1], head)
		}
		kernel.Prefetch(next)
		scores.Data = scratch.scores[b*block:]
		n.cell.Scores(scores, keys, min(block, last-b*block), scratch.room)
	}
	for t := range w.n {
		pos := s.pos + w.from + t
		for g := range group {
			n.weigh(scratch.scores[(t*group+g)*stride:][:stride], begin*block, pos)
		}
	}
	mixed := kernel.Rows{Data: scratch.mixed, N: queries, Stride: n.head}
	clear(scratch.mixed[:queries*n.head])
	for b := begin; b*block < last; b++ {
		_, values := n.cells(s.table[b], head)
		if (b+1)*block < last {
			_, next := n.cells(s.table[b+1], head)
			kernel.Prefetch(next)
		}
		scores.Data = scratch.scores[b*block:]
		n.cell.Weigh(mixed, scores, values, min(block, last-b*block), scratch.room)
	}
	n.cell.Back(mixed)
	for t := range w.n {
		at := ((first+t)*n.heads + head*group) * n.head
		copy(n.mixed[at:at+group*n.head], scratch.mixed[t*group*n.head:])
	}
}
