//go:build !amd64

package kernel

// Best is the fastest instruction set of this CPU.
func Best() Ops { return Portable() }

// Nothing below is reached: no Ops but the portable one exists here.

func (m *Matrix) mulWide(y []float32, ld int, x *Acts, from, to int) {}
func (o Ops) scoresWide(dst, q Rows, k Span, scale float32)          {}
func (o Ops) weighWide(dst, p Rows, v Span)                          {}

func quantize(x *float32, blocks int, q, scales *byte, lanes int) {}
func scaleMul(dst, x, w *float32, n int, scale float32)           {}
func sumSquares(x *float32, n int) float32                        { return 0 }
func addTo(dst, x *float32, n int)                                {}
func siluMul(dst, gate, up *float32, n int)                       {}
func maxOf(x *float32, n int) float32                             { return 0 }
func expSum(x *float32, n int, m float32) float32                 { return 0 }
func scaleBy(x *float32, n int, s float32)                        {}
func toF16(dst *uint16, src *float32, n int)                      {}
func indexOf(x *float32, n int, e float32) int                    { return n }

// pause lets a spinning thread breathe.
func pause(n int) {}
