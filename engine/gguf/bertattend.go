package gguf

import (
	"math"

	"serval/engine/gguf/kernel"
)

// divide cuts the chunk's attention into pieces: of each text in it, some neighbouring rows with each head.
func (n *bertNet) divide() {
	n.works = n.works[:0]
	for i := range n.texts {
		t := &n.texts[i]
		for from, end := max(t.from, n.first), min(t.from+t.n, n.first+n.n); from < end; from += bertTile {
			n.works = append(n.works, work{i, from, min(bertTile, end-from)})
		}
	}
}

// seen are the keys and values of a text's head, as kernel's package comment says they stand.
func (n *bertNet) seen(t *passage, head int) (keys, values []float32) {
	at, size := (head*n.stride+t.cell)*n.head, (t.n+15)&^15*n.head
	half := n.stride * n.width
	return n.cells[at : at+size], n.cells[half+at : half+at+size]
}

// placeOne adds the biases of a row's queries, keys and values, turns them by its position, and puts them where attention finds them.
func (n *bertNet) placeOne(_, i int) {
	w, l := n.width, n.at
	row := n.qkv[i*3*w : (i+1)*3*w]
	for j, bias := range [][]float32{l.q.bias, l.k.bias, l.v.bias} {
		if bias != nil {
			n.ops.AddTo(row[j*w:(j+1)*w], bias)
		}
	}
	if l.qkv.bias != nil {
		n.ops.AddTo(row, l.qkv.bias)
	}
	i += n.first
	t := n.textOf(i)
	if n.position == nil {
		angles := n.angles[i*n.rope.dims : (i+1)*n.rope.dims]
		for h := 0; h < 2*w; h += n.head {
			n.rope.turn(row[h:h+n.head], angles)
		}
	}
	copy(n.q[i*w:(i+1)*w], row)
	cell := i - t.from
	for h := range n.heads {
		keys, values := n.seen(t, h)
		at := keys[cell/16*16*n.head+cell%16:]
		for j, v := range row[w+h*n.head : w+(h+1)*n.head] {
			at[j*16] = v
		}
		copy(values[cell*n.head:], row[2*w+h*n.head:2*w+(h+1)*n.head])
	}
}

// attend computes one head for the rows of a work: the scores of each query with all cells of its text, their softmax, and the values
// weighed by it, which take the queries' place. The cells go in their order, a block at a time, whatever the other rows.
func (n *bertNet) attend(worker, i int) {
	w, head := n.works[i/n.heads], i%n.heads
	t := &n.texts[w.span]
	keys, values := n.seen(t, head)
	stride := (t.n + 15) &^ 15
	scores := n.scratch[worker].scores[:w.n*stride]
	query := kernel.Rows{Data: n.q[w.from*n.width+head*n.head:], N: w.n, Stride: n.width}
	const block = 512 // cells, so that no call takes long
	for from := 0; from < t.n; from += block {
		span := kernel.SpanOf[float32]{Data: keys[from*n.head:], Cells: min(block, t.n-from), Dim: n.head}
		n.ops.ScoresF32(kernel.Rows{Data: scores[from:], N: w.n, Stride: stride}, query, span, n.scale)
	}
	none := float32(math.Inf(-1))
	for r := range w.n {
		row := scores[r*stride : (r+1)*stride]
		for c := t.n; c < stride; c++ {
			row[c] = none
		}
		n.ops.Softmax(row)
		clear(query.Data[r*n.width : r*n.width+n.head])
	}
	for from := 0; from < t.n; from += block {
		span := kernel.SpanOf[float32]{Data: values[from*n.head:], Cells: min(block, t.n-from), Dim: n.head}
		n.ops.WeighF32(query, kernel.Rows{Data: scores[from:], N: w.n, Stride: stride}, span)
	}
}
