package kernel

import (
	"unsafe"

	"golang.org/x/sys/cpu"
)

//go:generate sh -c "cd asm && go run ."

// Best is the fastest instruction set of this CPU.
func Best() Ops {
	c := &cpu.X86
	return choose(features{
		avx2: c.HasAVX2, fma: c.HasFMA, f16c: c.HasF16C, avxVNNI: c.HasAVXVNNI,
		f: c.HasAVX512F, bw: c.HasAVX512BW, dq: c.HasAVX512DQ, vl: c.HasAVX512VL, vnni: c.HasAVX512VNNI,
	})
}

// features are what the kernels need of a CPU; f to vnni are parts of AVX-512.
type features struct{ avx2, fma, f16c, avxVNNI, f, bw, dq, vl, vnni bool }

// choose is the fastest instruction set of a CPU that has these features. A part of AVX-512 alone is of no use, and one without AVX2 is
// a virtual machine's that hides something.
func choose(c features) Ops {
	switch {
	case !c.avx2 || !c.fma || !c.f16c:
		return Portable()
	case c.f && c.bw && c.dq && c.vl && c.vnni:
		return Ops{avx512}
	case c.avxVNNI:
		return Ops{avxVNNI}
	}
	return Ops{avx2}
}

// The kernels of attention by the rows that are left, of AVX-512 and of AVX2; never written.
var (
	scoreKernels = []scoreKernel[uint16]{1: scores1, 2: scores2, 3: scores3, 4: scores4, 5: scores4, 6: scores6, 7: scores6, 8: scores8}
	weighKernels = []weighKernel[uint16]{1: weigh1, 2: weigh2, 3: weigh3, 4: weigh4, 5: weigh4, 6: weigh6}
	narrowScores = []scoreKernel[uint16]{1: avx2Scores1, 2: avx2Scores2, 3: avx2Scores3, 4: avx2Scores4, 5: avx2Scores4, 6: avx2Scores6}
	narrowWeighs = []weighKernel[uint16]{1: avx2Weigh1, 2: avx2Weigh2, 3: avx2Weigh3, 4: avx2Weigh4, 5: avx2Weigh4, 6: avx2Weigh6}

	brainScores       = []scoreKernel[uint16]{1: brainScores1, 2: brainScores2, 3: brainScores3, 4: brainScores4, 5: brainScores4, 6: brainScores6, 7: brainScores6, 8: brainScores8}
	brainWeighs       = []weighKernel[uint16]{1: brainWeigh1, 2: brainWeigh2, 3: brainWeigh3, 4: brainWeigh4, 5: brainWeigh4, 6: brainWeigh6}
	narrowBrainScores = []scoreKernel[uint16]{1: avx2BrainScores1, 2: avx2BrainScores2, 3: avx2BrainScores3, 4: avx2BrainScores4, 5: avx2BrainScores4, 6: avx2BrainScores6}
	narrowBrainWeighs = []weighKernel[uint16]{1: avx2BrainWeigh1, 2: avx2BrainWeigh2, 3: avx2BrainWeigh3, 4: avx2BrainWeigh4, 5: avx2BrainWeigh4, 6: avx2BrainWeigh6}

	wholeScores       = []scoreKernel[float32]{1: wholeScores1, 2: wholeScores2, 3: wholeScores3, 4: wholeScores4, 5: wholeScores4, 6: wholeScores6, 7: wholeScores6, 8: wholeScores8}
	wholeWeighs       = []weighKernel[float32]{1: wholeWeigh1, 2: wholeWeigh2, 3: wholeWeigh3, 4: wholeWeigh4, 5: wholeWeigh4, 6: wholeWeigh6}
	narrowWholeScores = []scoreKernel[float32]{1: avx2WholeScores1, 2: avx2WholeScores2, 3: avx2WholeScores3, 4: avx2WholeScores4, 5: avx2WholeScores4, 6: avx2WholeScores6}
	narrowWholeWeighs = []weighKernel[float32]{1: avx2WholeWeigh1, 2: avx2WholeWeigh2, 3: avx2WholeWeigh3, 4: avx2WholeWeigh4, 5: avx2WholeWeigh4, 6: avx2WholeWeigh6}

	// cellScores are by the rows less one, the others as above.
	cellScores = [Lanes]mulKernel{mulCells8x1, mulCells8x2, mulCells8x3, mulCells8x4, mulCells8x5, mulCells8x6, mulCells8x7, mulCells8x8,
		mulCells8x9, mulCells8x10, mulCells8x11, mulCells8x12, mulCells8x13, mulCells8x14, mulCells8x15, mulCells8x16}
	narrowCellScores = [few]narrowKernel{avx2MulCells8x1, avx2MulCells8x2, avx2MulCells8x3, avx2MulCells8x4}
	vnniCellScores   = [few]narrowKernel{vnniMulCells8x1, vnniMulCells8x2, vnniMulCells8x3, vnniMulCells8x4}
	cellWeighs       = []cellKernel{1: weighCells8x1, 2: weighCells8x2, 3: weighCells8x3, 4: weighCells8x4, 5: weighCells8x4, 6: weighCells8x6}
	narrowCellWeighs = []cellKernel{1: avx2WeighCells8x1, 2: avx2WeighCells8x2, 3: avx2WeighCells8x3, 4: avx2WeighCells8x4, 5: avx2WeighCells8x4, 6: avx2WeighCells8x6}

	// kernelRows is how many rows the kernel at an index takes.
	kernelRows = [...]int{1: 1, 2: 2, 3: 3, 4: 4, 5: 4, 6: 6, 7: 6, 8: 8}
)

type (
	scoreKernel[T any] func(dst *float32, dstStride int, q *float32, qStride int, k *T, groups, dim int, scale float32, mask uint64)
	weighKernel[T any] func(dst *float32, dstStride int, p *float32, pStride int, v *T, cells, dim int)
	cellKernel         func(dst *float32, dstStride int, p *float32, pStride int, v *byte, cells, dim int, room *float32)
)

func (o Ops) scoresWide(dst, q Rows, k Span, scale float32) {
	if o.isa == avx512 {
		scoreBy(scoreKernels, dst, q, SpanOf[uint16](k), scale)
	} else {
		scoreBy(narrowScores, dst, q, SpanOf[uint16](k), scale)
	}
}

func (o Ops) scoresWhole(dst, q Rows, k SpanOf[float32], scale float32) {
	if o.isa == avx512 {
		scoreBy(wholeScores, dst, q, k, scale)
	} else {
		scoreBy(narrowWholeScores, dst, q, k, scale)
	}
}

func scoreBy[T uint16 | float32](kernels []scoreKernel[T], dst, q Rows, k SpanOf[T], scale float32) {
	for r := 0; r < q.N; {
		i := min(q.N-r, len(kernels)-1)
		scores, whole := kernels[i], k.Cells/16
		if whole > 0 {
			scores(&dst.Data[r*dst.Stride], dst.Stride*4, &q.Data[r*q.Stride], q.Stride*4, &k.Data[0], whole, k.Dim, scale, all)
		}
		if rest := k.Cells % 16; rest > 0 {
			scores(&dst.Data[r*dst.Stride+whole*16], dst.Stride*4, &q.Data[r*q.Stride], q.Stride*4, &k.Data[whole*16*k.Dim], 1, k.Dim,
				scale, 1<<rest-1)
		}
		r += kernelRows[i]
	}
}

func (o Ops) weighWide(dst, p Rows, v Span) {
	if o.isa == avx512 {
		weighBy(weighKernels, dst, p, SpanOf[uint16](v))
	} else {
		weighBy(narrowWeighs, dst, p, SpanOf[uint16](v))
	}
}

func (o Ops) weighWhole(dst, p Rows, v SpanOf[float32]) {
	if o.isa == avx512 {
		weighBy(wholeWeighs, dst, p, v)
	} else {
		weighBy(narrowWholeWeighs, dst, p, v)
	}
}

func weighBy[T uint16 | float32](kernels []weighKernel[T], dst, p Rows, v SpanOf[T]) {
	for r := 0; r < p.N; {
		i := min(p.N-r, len(kernels)-1)
		kernels[i](&dst.Data[r*dst.Stride], dst.Stride*4, &p.Data[r*p.Stride], p.Stride*4, &v.Data[0], v.Cells, v.Dim)
		r += kernelRows[i]
	}
}

func (o Ops) scoresBrain(dst, q Rows, k Span, scale float32) {
	if o.isa == avx512 {
		scoreBy(brainScores, dst, q, SpanOf[uint16](k), scale)
	} else {
		scoreBy(narrowBrainScores, dst, q, SpanOf[uint16](k), scale)
	}
}

func (o Ops) weighBrain(dst, p Rows, v Span) {
	if o.isa == avx512 {
		weighBy(brainWeighs, dst, p, SpanOf[uint16](v))
	} else {
		weighBy(narrowBrainWeighs, dst, p, SpanOf[uint16](v))
	}
}

// scoresTiles multiplies tiles of keys by the queries of a lane group; ld in bytes.
func (o Ops) scoresTiles(dst *float32, ld int, keys *byte, tiles, blocks int, acts *byte, lanes int) {
	if o.isa == avx512 {
		cellScores[lanes-1](keys, tiles, blocks, acts, dst, ld, all)
		return
	}
	kernels := &narrowCellScores
	if o.isa == avxVNNI {
		kernels = &vnniCellScores
	}
	for first := 0; first < lanes; first += few {
		n := min(few, lanes-first)
		kernels[n-1](keys, tiles, blocks, (*byte)(unsafe.Add(unsafe.Pointer(acts), first*record)), lanes,
			(*float32)(unsafe.Add(unsafe.Pointer(dst), first*ld)), ld)
	}
}

func (o Ops) weighTiles(dst, p Rows, values *byte, cells, dim int, room *float32) {
	kernels := cellWeighs
	if o.isa != avx512 {
		kernels = narrowCellWeighs
	}
	for r := 0; r < p.N; {
		i := min(p.N-r, len(kernels)-1)
		kernels[i](&dst.Data[r*dst.Stride], dst.Stride*4, &p.Data[r*p.Stride], p.Stride*4, values, cells, dim, room)
		r += kernelRows[i]
	}
}
