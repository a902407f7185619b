package gguf

import (
	"math"

	"serval/engine/gguf/kernel"
)

// bertNet computes batches of whole texts over loaded weights: the tokens of all of them are rows, and each sees the rows of its own
// text. A text's numbers do not depend on the other texts. It belongs to one goroutine, which shares the work with a team. Nothing is
// allocated in a pass.
//
// What a text needs as a whole, its rows, queries, keys and values, has room for the longest one; all else is computed some rows (a
// chunk) at a time.
type bertNet struct {
	*bertWeights
	*crew
	ops     kernel.Ops
	freeAll func() error // x, q and cells
	cells   []float32    // keys, then values, of the layer that is computed: head by head, text by text
	stride  int          // cells of a head

	texts  []passage
	tokens []int32
	kinds  []int32 // of each token, which text of a pair it is of

	x, q     []float32 // [rows][width]: the stream; queries, and then what attention makes of them
	qkv      []float32 // [chunk][3 × width]
	delta    []float32 // [chunk][width]: what a layer adds to the stream
	gate, up []float32 // [chunk][inner]; gate: of SwiGLU
	angles   []float32 // [rows][rope.dims]
	scratch  []bertScratch
	works    []work
	first, n int // the chunk's rows
	at       *bertLayer

	embedRow, placeRow, outRow, attendPiece, fillGroup, mixedGroup, midGroup, activeGroup func(worker, i int)
}

// passage is a text of the batch: n rows from a row on, whose cells begin at a multiple of 16.
type passage struct{ from, n, cell int }

// bertScratch belongs to a worker.
type bertScratch struct {
	bytes  []byte    // of a row of an embedding
	scores []float32 // [bertTile][cells of the longest text]
}

// Bounds of a batch of texts. One that is longer than batchRows is alone in its batch.
const (
	batchRows  = 160 // beyond which a batch of many rows takes as long for each as one of some
	batchTexts = 64
	chunkRows  = 512
	bertTile   = 24 // queries that attention takes at once, a multiple of what its kernels take
)

func newBertNet(w *bertWeights, p *bertPlan, team *kernel.Team) (*bertNet, error) {
	n := &bertNet{bertWeights: w, crew: newCrew(team, w.arena, w.mapped), ops: w.ops, stride: p.cells()}
	rows, cells := (p.rows+kernel.Lanes)*w.width, 2*n.stride*w.width // with room behind the last, which kernel.Acts wants
	all, free, err := kernel.Floats(2*rows + cells)
	if err != nil {
		return nil, err
	}
	n.x, n.q, n.cells, n.freeAll = all[:rows:rows], all[rows:2*rows:2*rows], all[2*rows:], free
	chunk := p.chunk() + kernel.Lanes
	n.qkv, n.delta, n.up = make([]float32, chunk*3*w.width), make([]float32, chunk*w.width), make([]float32, chunk*w.inner)
	if w.gated {
		n.gate = make([]float32, chunk*w.inner)
	}
	n.angles = make([]float32, p.rows*w.rope.dims)
	n.tokens, n.kinds, n.texts = make([]int32, 0, p.rows), make([]int32, 0, p.rows), make([]passage, 0, batchTexts)
	n.scratch = make([]bertScratch, team.Size())
	for i := range n.scratch {
		n.scratch[i] = bertScratch{bytes: make([]byte, w.embed.bytes), scores: make([]float32, bertTile*((p.rows+15)&^15))}
	}
	n.embedRow, n.placeRow, n.outRow, n.attendPiece = n.embedOne, n.placeOne, n.outOne, n.attend
	n.fillGroup, n.mixedGroup, n.midGroup, n.activeGroup = n.fill, n.mixed, n.mid, n.active
	return n, nil
}

func (n *bertNet) free() error { return n.freeAll() }

// reset begins a batch.
func (n *bertNet) reset() { n.texts, n.tokens, n.kinds = n.texts[:0], n.tokens[:0], n.kinds[:0] }

// fits says whether a text of so many tokens may join the batch.
func (n *bertNet) fits(tokens int) bool {
	return len(n.tokens) == 0 || len(n.tokens)+tokens <= batchRows && len(n.texts) < batchTexts
}

// join adds a text that fits, and which text of a pair each token is of; nil: all are of the first.
func (n *bertNet) join(tokens, kinds []int32) {
	t := passage{from: len(n.tokens), n: len(tokens)}
	if k := len(n.texts); k > 0 {
		last := n.texts[k-1]
		t.cell = last.cell + (last.n+15)&^15
	}
	n.texts, n.tokens = append(n.texts, t), append(n.tokens, tokens...)
	for i := range tokens {
		kind := int32(0)
		if kinds != nil {
			kind = kinds[i]
		}
		n.kinds = append(n.kinds, kind)
	}
}

// rows are a text's vectors after run, one behind the other.
func (n *bertNet) rows(text int) []float32 {
	t := n.texts[text]
	return n.x[t.from*n.width : (t.from+t.n)*n.width]
}

// run computes the batch. Between two parts of it, which take some 100 ms, it asks whether it is to stop, and then reports false.
func (n *bertNet) run(stop func() bool) (done bool, err error) {
	done, err = n.pass(stop)
	return done, n.passed(n.file, err)
}

// pass is run, but for what its workers met since the embeddings.
func (n *bertNet) pass(stop func() bool) (done bool, err error) {
	rows := len(n.tokens)
	n.first = 0
	n.each(rows, n.width, n.embedRow)
	if err := n.failed(); err != nil {
		return false, err
	}
	for i := range n.layer {
		n.at = &n.layer[i]
		for part := range 2 { // all keys and values come before attention
			for n.first = 0; n.first < rows; n.first += n.n {
				if n.n = min(rows-n.first, chunkRows); part == 0 {
					n.project()
				} else {
					n.attention()
					n.feed()
				}
				if stop() {
					return false, nil
				}
			}
		}
	}
	return true, nil
}

// project makes the chunk's queries, keys and values.
func (n *bertNet) project() {
	l, w := n.at, n.width
	n.acts.Resize(n.n, w)
	n.groups(n.fillGroup)
	if l.qkv.m != nil {
		n.multiply(mul{m: l.qkv.m, y: n.qkv, ld: 3 * w})
	} else {
		n.multiply(mul{m: l.q.m, y: n.qkv, ld: 3 * w}, mul{m: l.k.m, y: n.qkv[w:], ld: 3 * w}, mul{m: l.v.m, y: n.qkv[2*w:], ld: 3 * w})
	}
	n.each(n.n, 3*w, n.placeRow)
}

// attention mixes the values that the chunk's rows see, and norms what comes of it.
func (n *bertNet) attention() {
	n.divide()
	n.team.Run(len(n.works)*n.heads, n.attendPiece)
	n.acts.Resize(n.n, n.width)
	n.groups(n.mixedGroup)
	n.multiply(mul{m: n.at.o.m, y: n.delta, ld: n.width})
	n.acts.Resize(n.n, n.width)
	n.groups(n.midGroup)
}

// feed is the chunk's feed-forward layers, whose acts attention left.
func (n *bertNet) feed() {
	l := n.at
	if n.gated {
		n.multiply(mul{m: l.gate.m, y: n.gate, ld: n.inner}, mul{m: l.up.m, y: n.up, ld: n.inner})
	} else {
		n.multiply(mul{m: l.up.m, y: n.up, ld: n.inner})
	}
	n.acts.Resize(n.n, n.inner)
	n.groups(n.activeGroup)
	n.multiply(mul{m: l.down.m, y: n.delta, ld: n.width})
	n.each(n.n, n.width, n.outRow)
}

// textOf is the text that a row is of.
func (n *bertNet) textOf(row int) *passage {
	low, high := 0, len(n.texts)
	for high-low > 1 {
		if mid := (low + high) / 2; n.texts[mid].from <= row {
			low = mid
		} else {
			high = mid
		}
	}
	return &n.texts[low]
}

// stream is the chunk's i-th row of the stream.
func (n *bertNet) stream(i int) []float32 {
	i += n.first
	return n.x[i*n.width : (i+1)*n.width]
}

func (n *bertNet) layerNorm(x []float32, by affine) { n.ops.LayerNorm(x, x, by.weight, by.bias, n.eps) }

// embedOne sums up what stands for a token, its position and its text, and norms it.
func (n *bertNet) embedOne(worker, i int) {
	s, x, pos := &n.scratch[worker], n.stream(i), i-n.textOf(i).from
	if err := n.embed.read(x, int(n.tokens[i]), s.bytes); err != nil {
		n.errs[worker] = err
		return
	}
	if n.types > 0 {
		kind := min(int(n.kinds[i]), n.types-1)
		n.ops.AddTo(x, n.bertWeights.kinds[kind*n.width:(kind+1)*n.width])
	}
	if n.position != nil {
		n.ops.AddTo(x, n.position[pos*n.width:(pos+1)*n.width])
	} else {
		n.rope.angles(n.angles[i*n.rope.dims:(i+1)*n.rope.dims], pos)
	}
	n.layerNorm(x, n.norm)
}

// behind is what stands from the chunk's i-th row on.
func (n *bertNet) behind(rows []float32, i int) []float32 { return rows[(n.first+i)*n.width:] }

// fill makes acts of the stream.
func (n *bertNet) fill(_, i int) {
	from, _ := n.acts.Group(i)
	n.acts.FillGroup(n.behind(n.x, from), i)
}

// mixed makes acts of what attention mixed.
func (n *bertNet) mixed(_, i int) {
	from, _ := n.acts.Group(i)
	n.acts.FillGroup(n.behind(n.q, from), i)
}

// mid adds what attention made, norms it, and makes acts of it.
func (n *bertNet) mid(_, i int) {
	from, rows := n.acts.Group(i)
	for r := from; r < from+rows; r++ {
		n.add(r, n.at.o.bias, n.at.norm)
	}
	n.acts.FillGroup(n.behind(n.x, from), i)
}

// outOne adds what the feed-forward layers made and norms it.
func (n *bertNet) outOne(_, i int) { n.add(i, n.at.down.bias, n.at.outNorm) }

// add adds what a layer made to a row of the stream, and norms it.
func (n *bertNet) add(i int, bias []float32, by affine) {
	x := n.stream(i)
	n.ops.AddTo(x, n.delta[i*n.width:(i+1)*n.width])
	if bias != nil {
		n.ops.AddTo(x, bias)
	}
	n.layerNorm(x, by)
}

// active is the function between the feed-forward layers.
func (n *bertNet) active(_, i int) {
	from, rows := n.acts.Group(i)
	for r := from; r < from+rows; r++ {
		up := n.up[r*n.inner : (r+1)*n.inner]
		if n.at.up.bias != nil {
			n.ops.AddTo(up, n.at.up.bias)
		}
		if n.gated {
			n.ops.SiLUMul(up, n.gate[r*n.inner:(r+1)*n.inner], up)
		} else {
			n.ops.GELU(up)
		}
	}
	n.acts.FillGroup(n.up[from*n.inner:], i)
}

// pooled writes a text's vector to out.
func (n *bertNet) pooled(out []float32, text int, how string) {
	rows, w := n.rows(text), n.width
	switch how {
	case "cls", "rank":
		copy(out, rows[:w])
	case "last":
		copy(out, rows[len(rows)-w:])
	default:
		clear(out)
		for i := 0; i < len(rows); i += w {
			n.ops.AddTo(out, rows[i:i+w])
		}
		n.ops.Scale(out, 1/float32(n.texts[text].n))
	}
}

// score makes a score of a text's first vector, which is overwritten.
func (n *bertNet) score(first []float32) float32 {
	h := n.scorer
	if h.dense.m != nil {
		n.acts.Resize(1, n.width)
		n.acts.FillRow(first, 0)
		n.multiply(mul{m: h.dense.m, y: n.delta, ld: n.width})
		copy(first, n.delta[:n.width])
		if h.dense.bias != nil {
			n.ops.AddTo(first, h.dense.bias)
		}
		for i, v := range first {
			first[i] = float32(math.Tanh(float64(v)))
		}
	}
	sum := float64(h.bias)
	for i, v := range first {
		sum += float64(v) * float64(h.weight[i])
	}
	return float32(sum)
}
