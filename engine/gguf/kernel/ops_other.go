//go:build !amd64

package kernel

// Best is the fastest instruction set of this CPU.
func Best() Ops { return Portable() }

// Nothing below is reached: no Ops but the portable one exists here.

func (m *Matrix) mulWide(y []float32, ld int, x *Acts, from, to int)    {}
func (m *Matrix) mulNarrow(y []float32, ld int, x *Acts, from, to int)  {}
func (o Ops) scoresWide(dst, q Rows, k Span, scale float32)             {}
func (o Ops) weighWide(dst, p Rows, v Span)                             {}
func (o Ops) scoresBrain(dst, q Rows, k Span, scale float32)            {}
func (o Ops) weighBrain(dst, p Rows, v Span)                            {}
func (o Ops) scoresWhole(dst, q Rows, k SpanOf[float32], scale float32) {}
func (o Ops) weighWhole(dst, p Rows, v SpanOf[float32])                 {}

func (o Ops) scoresTiles(dst *float32, ld int, keys *byte, tiles, blocks int, acts *byte, lanes int) {
}
func (o Ops) weighTiles(dst, p Rows, values *byte, cells, dim int, room *float32) {}
func (Ops) rotateBlocks(x *float32, blocks int)                                   {}
func (Ops) toBF16(dst *uint16, src *float32, n int)                               {}
func (Ops) quantize(x *float32, blocks int, q *byte, lanes int)                   {}
func (Ops) scaleMul(dst, x, w *float32, n int, scale float32)                     {}
func (Ops) sumSquares(x *float32, n int) float32                                  { return 0 }
func (Ops) addTo(dst, x *float32, n int)                                          {}
func (Ops) siluMul(dst, gate, up *float32, n int)                                 {}
func (Ops) maxOf(x *float32, n int) float32                                       { return 0 }
func (Ops) expSum(x *float32, n int, m float32) float32                           { return 0 }
func (Ops) scaleBy(x *float32, n int, s float32)                                  {}
func (Ops) toF16(dst *uint16, src *float32, n int)                                {}
func (Ops) indexOf(x *float32, n int, e float32) int                              { return n }
func (Ops) sumOf(x *float32, n int) float32                                       { return 0 }
func (Ops) sumApart(x *float32, n int, m float32) float32                         { return 0 }
func (Ops) center(dst, x, w, b *float32, n int, m, scale float32)                 {}
func (Ops) gelu(x *float32, n int)                                                {}
func (Ops) transpose(dst *float32, lanes int, rows *float32, stride, cols int)    {}

// prefetch asks for so many lines of 64 bytes.
func prefetch(p *uint16, lines int) {}

// pause lets a spinning thread breathe.
func pause(n int) {}
