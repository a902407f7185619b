package gguf

import "math"

// normalize makes the acts of the rows: normed by weights, after delta was added where more says so.
func (n *net) normalize(rows int, by []float32) {
	n.by = by
	n.acts.Resize(rows, n.width)
	n.each(rows, n.width, n.normRow)
}

func (n *net) embedOne(worker, i int) {
	s := &n.scratch[worker]
	span := &n.spans[n.spanOf(i)]
	size, pos := n.rope.dims+n.near.dims, span.pos+i-span.from
	angles := n.angles[i*size : (i+1)*size]
	n.rope.angles(angles, pos)
	n.near.angles(angles[n.rope.dims:], pos)
	x := n.x[i*n.width : (i+1)*n.width]
	if err := n.embed.read(x, int(n.tokens[i]), s.bytes); err != nil {
		n.errs[worker] = err
		return
	}
	if n.gemma {
		n.ops.Scale(x, float32(math.Sqrt(float64(n.width))))
	}
}

// spanOf is the number of the span that a row is of.
func (n *net) spanOf(row int) int {
	low, high := 0, len(n.spans)
	for high-low > 1 {
		if mid := (low + high) / 2; n.spans[mid].from <= row {
			low = mid
		} else {
			high = mid
		}
	}
	return low
}

// summed is a row of the residual stream, after delta was added where more says so.
func (n *net) summed(i int) []float32 {
	x, delta := n.x[i*n.width:(i+1)*n.width], n.delta[i*n.width:(i+1)*n.width]
	if !n.more {
		return x
	}
	if n.post != nil {
		n.ops.RMSNorm(delta, delta, n.post, n.eps)
	}
	n.ops.AddTo(x, delta)
	return x
}

func (n *net) normOne(worker, i int) {
	row := n.scratch[worker].row[:n.width]
	n.ops.RMSNorm(row, n.summed(i), n.by, n.eps)
	n.acts.FillRow(row, i)
}

func (n *net) capOne(_, i int) { softcap(n.ops, n.logits(i), n.outCap) }

func (n *net) mixedOne(_, i int) {
	cols := n.heads * n.head
	n.acts.FillRow(n.mixed[i*cols:(i+1)*cols], i)
}

func (n *net) gluOne(_, i int) {
	gate, up := n.gate[i*n.inner:(i+1)*n.inner], n.up[i*n.inner:(i+1)*n.inner]
	if n.gemma {
		geluMul(n.ops, gate, up)
	} else {
		n.ops.SiLUMul(gate, gate, up)
	}
	n.acts.FillRow(gate, i)
}
