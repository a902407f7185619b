package kernel

// Span is a run of cells of one KV head, keys or values, in f16; see the package's comment for the two layouts. Cells 0 to
// Cells-1 are used; Dim is a multiple of 16.
type Span SpanOf[uint16]

// SpanOf is a Span of f16 or float32.
type SpanOf[T uint16 | float32] struct {
	Data       []T
	Cells, Dim int
}

// Rows are n float32 rows, row r at Data[r*Stride].
type Rows struct {
	Data      []float32
	N, Stride int
}

// ScoresF16 sets dst row r, cell c to scale × (q row r · key c) for all rows of q and cells of k. The rows are the query heads
// that share a KV head, of one token or of many: the more at once the better, up to 12. Data must be whole groups of 16 cells.
func (o Ops) ScoresF16(dst, q Rows, k Span, scale float32) {
	if !scorable(dst, q, SpanOf[uint16](k)) {
		return
	}
	if o.isa != portable {
		o.scoresWide(dst, q, k, scale)
		return
	}
	scoresPlain(dst, q, SpanOf[uint16](k), scale, Widen)
}

// ScoresF32 is ScoresF16 for keys that are float32.
func (o Ops) ScoresF32(dst, q Rows, k SpanOf[float32], scale float32) {
	if !scorable(dst, q, k) {
		return
	}
	if o.isa != portable {
		o.scoresWhole(dst, q, k, scale)
		return
	}
	scoresPlain(dst, q, k, scale, whole)
}

// whole is what a float32 is.
func whole(f float32) float32 { return f }

// scorable says whether there is something to do, and panics unless all is there that the kernels touch.
func scorable[T uint16 | float32](dst, q Rows, k SpanOf[T]) bool {
	if q.N == 0 || k.Cells == 0 {
		return false
	}
	_ = k.Data[(k.Cells+15)/16*16*k.Dim-1]
	_ = q.Data[(q.N-1)*q.Stride+k.Dim-1]
	_ = dst.Data[(q.N-1)*dst.Stride+k.Cells-1]
	return true
}

func scoresPlain[T uint16 | float32](dst, q Rows, k SpanOf[T], scale float32, widen func(T) float32) {
	for r := range q.N {
		query, out := q.Data[r*q.Stride:][:k.Dim], dst.Data[r*dst.Stride:][:k.Cells]
		for c := range out {
			var s float32
			at := k.Data[c/16*16*k.Dim+c%16:]
			for i, e := range query {
				s = fma(e, widen(at[i*16]), s)
			}
			out[c] = s * scale
		}
	}
}

// WeighF16 adds to dst row r, of v.Dim elements, the sum over the cells of p[r, c] × value c. It adds, so that the blocks of a
// paged cache come one after the other: clear dst first.
func (o Ops) WeighF16(dst, p Rows, v Span) {
	if !weighable(dst, p, SpanOf[uint16](v)) {
		return
	}
	if o.isa != portable {
		o.weighWide(dst, p, v)
		return
	}
	weighPlain(dst, p, SpanOf[uint16](v), Widen)
}

// WeighF32 is WeighF16 for values that are float32.
func (o Ops) WeighF32(dst, p Rows, v SpanOf[float32]) {
	if !weighable(dst, p, v) {
		return
	}
	if o.isa != portable {
		o.weighWhole(dst, p, v)
		return
	}
	weighPlain(dst, p, v, whole)
}

// weighable is scorable for values.
func weighable[T uint16 | float32](dst, p Rows, v SpanOf[T]) bool {
	if p.N == 0 || v.Cells == 0 {
		return false
	}
	_ = v.Data[v.Cells*v.Dim-1]
	_ = p.Data[(p.N-1)*p.Stride+v.Cells-1]
	_ = dst.Data[(p.N-1)*dst.Stride+v.Dim-1]
	return true
}

func weighPlain[T uint16 | float32](dst, p Rows, v SpanOf[T], widen func(T) float32) {
	for r := range p.N {
		out, weights := dst.Data[r*dst.Stride:][:v.Dim], p.Data[r*p.Stride:][:v.Cells]
		for c, w := range weights {
			for i, h := range v.Data[c*v.Dim : (c+1)*v.Dim] {
				out[i] = fma(w, widen(h), out[i])
			}
		}
	}
}
