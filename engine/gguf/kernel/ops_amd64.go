package kernel

import (
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
	scoreKernels = [...]scoreKernel{1: scores1, 2: scores2, 3: scores3, 4: scores4, 5: scores4, 6: scores6, 7: scores6, 8: scores8}
	weighKernels = [...]weighKernel{1: weigh1, 2: weigh2, 3: weigh3, 4: weigh4, 5: weigh4, 6: weigh6}

	narrowScores = [...]scoreKernel{1: avx2Scores1, 2: avx2Scores2, 3: avx2Scores3, 4: avx2Scores4, 5: avx2Scores4, 6: avx2Scores6}
	narrowWeighs = [...]weighKernel{1: avx2Weigh1, 2: avx2Weigh2, 3: avx2Weigh3, 4: avx2Weigh4, 5: avx2Weigh4, 6: avx2Weigh6}
	// kernelRows is how many rows the kernel at an index takes.
	kernelRows = [...]int{1: 1, 2: 2, 3: 3, 4: 4, 5: 4, 6: 6, 7: 6, 8: 8}
)

type (
	scoreKernel func(dst *float32, dstStride int, q *float32, qStride int, k *uint16, groups, dim int, scale float32, mask uint64)
	weighKernel func(dst *float32, dstStride int, p *float32, pStride int, v *uint16, cells, dim int)
)

func (o Ops) scoresWide(dst, q Rows, k Span, scale float32) {
	kernels := scoreKernels[:]
	if o.isa != avx512 {
		kernels = narrowScores[:]
	}
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
	kernels := weighKernels[:]
	if o.isa != avx512 {
		kernels = narrowWeighs[:]
	}
	for r := 0; r < p.N; {
		i := min(p.N-r, len(kernels)-1)
		kernels[i](&dst.Data[r*dst.Stride], dst.Stride*4, &p.Data[r*p.Stride], p.Stride*4, &v.Data[0], v.Cells, v.Dim)
		r += kernelRows[i]
	}
}
