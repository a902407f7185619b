package kernel

import (
	"math"
	"unsafe"
)

// Store is how a key-value cache keeps its numbers.
type Store uint8

const (
	StoreF16  Store = iota
	StoreBF16       // the upper half of a float32
	StoreQ8         // int8 with an f16 scale for each 32 values of a head, rotated: llama.cpp's Q8_0
)

// String is the word for it in a model's options.
func (s Store) String() string { return [...]string{"f16", "bf16", "q8_0"}[s] }

// ParseStore is the Store that a word means; false if there is none.
func ParseStore(word string) (Store, bool) {
	for s := StoreF16; s <= StoreQ8; s++ {
		if s.String() == word {
			return s, true
		}
	}
	return 0, false
}

// Bytes is what so many numbers take, a multiple of 32.
func (s Store) Bytes(n int) int {
	if s == StoreQ8 {
		return n / block * cell8
	}
	return 2 * n
}

const (
	cell8  = 34         // bytes of 32 numbers in StoreQ8: as many int8 and their scale
	group8 = 16 * cell8 // and of those of 16 cells
)

// KV is attention over the cells of a cache that are stored in one way: heads of dim values, a multiple of 32. Keys and values
// stand apart, in data of Size(cells) for each head. The package's comment has the layouts.
type KV struct {
	Store
	ops        Ops
	heads, dim int
}

// NewKV makes it; it has no state.
func NewKV(o Ops, s Store, heads, dim int) KV { return KV{s, o, heads, dim} }

// Size is how many uint16 the keys of so many cells of a head take, a multiple of 16, and their values as many.
func (k KV) Size(cells int) int { return k.Bytes(cells*k.dim) / 2 }

// KVRoom is what a worker needs to attend. Nothing is allocated once it is made, unless there are more rows of queries than it was made for.
type KVRoom struct {
	halves  []uint16  // a row's keys and values, rounded
	records []byte    // the same as records of activations
	plain   Rows      // the queries,
	scale   float32   // and what multiplies their scores
	queries [2]*Acts  // rounded as the keys are, and what that leaves of them
	rest    []float32 // scores of the latter with 32 cells
	weights []float32 // times the scales of values: 12 groups of 16
}

// Room makes room for so many rows of queries.
func (k KV) Room(rows int) *KVRoom {
	r := &KVRoom{}
	if k.Store != StoreQ8 {
		r.halves = make([]uint16, 2*k.heads*k.dim)
		return r
	}
	r.records = make([]byte, 2*k.heads*k.dim/block*record)
	for i := range r.queries {
		r.queries[i] = &Acts{ops: k.ops, ints: true}
		r.queries[i].Resize(rows, k.dim)
	}
	r.rest = make([]float32, rows*restCells)
	r.weights = make([]float32, 2*6*16)
	return r
}

// Round takes a row's keys and values, of all heads: the keys of the first, of the second, …, then the values. It overwrites row.
//
// Before they are rounded to 8 bits each 32 values are multiplied by a Hadamard matrix (Ashkboos et al., "QuaRot: Outlier-Free 4-Bit Inference in
// Rotated LLMs", 2024): the few that are far larger than the others would else make the steps of all of them large. Scores do not change, since
// queries are rotated, too; what comes of values is rotated back.
func (k KV) Round(r *KVRoom, row []float32) {
	row = row[:2*k.heads*k.dim]
	switch k.Store {
	case StoreF16:
		k.ops.ToF16(r.halves, row)
	case StoreBF16:
		k.ops.ToBF16(r.halves, row)
	case StoreQ8:
		k.ops.rotate(row)
		k.ops.records(r.records, row)
	}
}

// Put stores what Round took of a head in a cell of its keys and values.
func (k KV) Put(keys, values []uint16, cell, head int, r *KVRoom) {
	at := head * k.dim
	if k.Store != StoreQ8 {
		to := keys[cell/16*16*k.dim+cell%16:]
		for i, v := range r.halves[at : at+k.dim] {
			to[i*16] = v
		}
		copy(values[cell*k.dim:(cell+1)*k.dim], r.halves[at+k.heads*k.dim:])
		return
	}
	blocks, c := k.dim/block, cell%16
	from, to := r.records[at/block*record:], bytesOf(keys)[cell/16*blocks*group8:]
	for b := range blocks {
		rec, tile := from[b*record:][:record], to[b*group8:][:group8]
		for g := range 8 {
			put32(tile[64*g+4*c:], u32(rec[4*g:])^0x80808080) // as the weights of a matrix
		}
		put16(tile[512+2*c:], scale8(rec))
	}
	from, to = r.records[(at+k.heads*k.dim)/block*record:], bytesOf(values)[cell/16*blocks*group8:]
	scales := to[16*k.dim:]
	for b := range blocks {
		rec := from[b*record:][:record]
		copy(to[c*k.dim+b*block:][:block], rec)
		put16(scales[32*b+2*c:], scale8(rec))
	}
}

// scale8 is a record's scale, which f16 has.
func scale8(record []byte) uint16 { return narrow(math.Float32frombits(u32(record[block:]))) }

// bytesOf are the bytes of what is stored.
func bytesOf(data []uint16) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(&data[0])), 2*len(data))
}

// records rounds a row to records, one behind the other.
func (o Ops) records(to []byte, row []float32) {
	blocks := len(row) / block
	_ = to[blocks*record-1]
	if o.isa != portable {
		o.quantize(&row[0], blocks, &to[0], 1)
		return
	}
	for b := range blocks {
		quantizeBlock(row[b*block:][:block], to[b*record:][:record])
	}
}

// restCells is how many cells' scores are added to at once.
const restCells = 32

// Ask takes the rows of queries, which stand one behind the other, for Scores to come; scale multiplies these. q is overwritten, and read
// until then.
//
// For keys of 8 bits queries become two int8 each, of which the second is what the first leaves: log-probabilities of SmolLM2 with F32 weights
// are then 0.018 off in the mean by its cache, with one int8 0.021.
func (k KV) Ask(r *KVRoom, q Rows, scale float32) {
	r.plain, r.scale = q, scale
	if k.Store != StoreQ8 {
		return
	}
	if len(r.rest) < q.N*restCells {
		r.rest = make([]float32, q.N*restCells)
	}
	k.ops.rotate(q.Data[:q.N*k.dim])
	for i, acts := range r.queries {
		acts.Quantize(q.Data, q.N, k.dim)
		acts.scale(q.Data, scale, i == 0)
	}
}

// scale multiplies the scales of the rows, and where less is true takes from x, which has them, what they were rounded to.
func (a *Acts) scale(x []float32, by float32, less bool) {
	for start := 0; start < a.tokens; {
		_, lanes := group(a.tokens, start)
		acts := a.group(start, false)
		for i := range lanes * a.blocks { // block after block its lanes'
			p := acts[i*record:][:record]
			d := math.Float32frombits(u32(p[block:]))
			put32(p[block:], math.Float32bits(d*by))
			if !less {
				continue
			}
			row := x[(start+i%lanes)*a.cols+i/lanes*block:][:block]
			for j := range row {
				row[j] -= float32(d * float32(int8(p[j])))
			}
		}
		start += lanes
	}
}

// Scores sets dst row r, cell c to scale × (query r · key c) for all rows that were asked for and so many cells. Of the last 16 cells
// what is past their number is undefined in keys and in dst, whose rows have room for it.
func (k KV) Scores(dst Rows, keys []uint16, cells int, r *KVRoom) {
	span := Span{keys, cells, k.dim}
	switch k.Store {
	case StoreF16:
		k.ops.ScoresF16(dst, r.plain, span, r.scale)
	case StoreBF16:
		k.ops.scoresBF16(dst, r.plain, span, r.scale)
	case StoreQ8:
		k.ops.scores8(dst, bytesOf(keys), cells, r)
	}
}

// Weigh adds to each row of dst the sum over the cells of its weight in p × the cell's value. The rows of p go on to a multiple of 16 cells.
func (k KV) Weigh(dst, p Rows, values []uint16, cells int, r *KVRoom) {
	span := Span{values, cells, k.dim}
	switch k.Store {
	case StoreF16:
		k.ops.WeighF16(dst, p, span)
	case StoreBF16:
		k.ops.weighBF16(dst, p, span)
	case StoreQ8:
		k.ops.weigh8(dst, p, bytesOf(values), cells, k.dim, r.weights)
	}
}

// Back ends what Weigh has summed up in rows that stand one behind the other.
func (k KV) Back(dst Rows) {
	if k.Store == StoreQ8 {
		k.ops.rotate(dst.Data[:dst.N*k.dim])
	}
}

// rotate multiplies each 32 values by a Hadamard matrix divided by √32, which is its own inverse.
func (o Ops) rotate(x []float32) {
	if o.isa != portable {
		o.rotateBlocks(&x[0], len(x)/block)
		return
	}
	for ; len(x) > 0; x = x[block:] {
		for d := block / 2; d > 0; d /= 2 {
			for i := range block {
				if i&d == 0 {
					x[i], x[i+d] = x[i]+x[i+d], x[i]-x[i+d]
				}
			}
		}
		for i := range block {
			x[i] *= float32(1 / 5.656854249492381) // √32
		}
	}
}

// Prefetch asks for keys or values that will be needed soon.
func Prefetch(data []uint16) {
	if lines := len(data) / 32; lines > 0 {
		prefetch(&data[0], lines)
	}
}

// scores8 adds two products of matrices: of the keys, of which 16 cells are a tile in the form of Q8_0, and the two parts of the queries.
func (o Ops) scores8(dst Rows, keys []byte, cells int, r *KVRoom) {
	n, size := r.queries[0].tokens, r.queries[0].blocks*group8
	for cell := 0; cell < cells && n > 0; cell += restCells {
		tiles := (min(cells-cell, restCells) + 15) / 16
		out := Rows{dst.Data[cell:], n, dst.Stride}
		o.scoresTile(out, keys[cell/16*size:], tiles, r.queries[0])
		o.scoresTile(Rows{r.rest, n, restCells}, keys[cell/16*size:], tiles, r.queries[1])
		for i := range n {
			o.AddTo(out.Data[i*out.Stride:][:16*tiles], r.rest[i*restCells:][:16*tiles])
		}
	}
}

// scoresTile multiplies some tiles of keys by one part.
func (o Ops) scoresTile(dst Rows, keys []byte, tiles int, q *Acts) {
	_ = keys[tiles*q.blocks*group8-1]
	_ = dst.Data[(q.tokens-1)*dst.Stride+16*tiles-1]
	q.check(false)
	for start := 0; start < q.tokens; {
		_, lanes := group(q.tokens, start)
		acts, out := q.group(start, false), dst.Data[start*dst.Stride:]
		if o.isa == portable {
			m := Matrix{Rows: 16 * tiles, Cols: q.cols, form: q8}
			for t := range tiles {
				m.mulTile(out[16*t:], dst.Stride, keys[t*q.blocks*group8:], acts, lanes, 16)
			}
		} else {
			o.scoresTiles(&out[0], dst.Stride*4, &keys[0], tiles, q.blocks, &acts[0], lanes)
		}
		start += lanes
	}
}

// weigh8 weighs values of 8 bits: a weight is multiplied by the scale of a cell's 32 values, then by them.
func (o Ops) weigh8(dst, p Rows, values []byte, cells, dim int, room []float32) {
	if p.N == 0 || cells == 0 {
		return
	}
	groups := (cells + 15) / 16
	_ = values[groups*dim/block*group8-1]
	_ = p.Data[(p.N-1)*p.Stride+16*groups-1]
	_ = dst.Data[(p.N-1)*dst.Stride+dim-1]
	if o.isa != portable {
		o.weighTiles(dst, p, &values[0], cells, dim, &room[:2*6*16][0])
		return
	}
	for r := range p.N {
		out, weights := dst.Data[r*dst.Stride:][:dim], p.Data[r*p.Stride:][:cells]
		for c, w := range weights {
			of := values[c/16*dim/block*group8:]
			scales := of[16*dim+2*(c%16):]
			for i, v := range of[c%16*dim:][:dim] {
				out[i] = fma(w*Widen(u16(scales[i/block*32:])), float32(int8(v)), out[i])
			}
		}
	}
}

// ToBF16 rounds to the nearest bf16, ties to even.
func (o Ops) ToBF16(dst []uint16, src []float32) {
	dst = dst[:len(src)]
	if v := o.vectors(len(src)); v > 0 {
		o.toBF16(&dst[0], &src[0], v)
		dst, src = dst[v:], src[v:]
	}
	for i, e := range src {
		bits := math.Float32bits(e)
		if e != e {
			dst[i] = uint16(bits>>16) | 0x40
		} else {
			dst[i] = uint16((bits + 0x7fff + bits>>16&1) >> 16)
		}
	}
}

// widenBF16 is the float32 of a bf16.
func widenBF16(h uint16) float32 { return math.Float32frombits(uint32(h) << 16) }

func (o Ops) scoresBF16(dst, q Rows, k Span, scale float32) {
	if !scorable(dst, q, SpanOf[uint16](k)) {
		return
	}
	if o.isa != portable {
		o.scoresBrain(dst, q, k, scale)
		return
	}
	scoresPlain(dst, q, SpanOf[uint16](k), scale, widenBF16)
}

func (o Ops) weighBF16(dst, p Rows, v Span) {
	if !weighable(dst, p, SpanOf[uint16](v)) {
		return
	}
	if o.isa != portable {
		o.weighBrain(dst, p, v)
		return
	}
	weighPlain(dst, p, SpanOf[uint16](v), widenBF16)
}
