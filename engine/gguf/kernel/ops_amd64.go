package kernel

import (
	"golang.org/x/sys/cpu"
)

//go:generate sh -c "cd asm && go run ."

// Best is the fastest instruction set of this CPU.
func Best() Ops {
	c := &cpu.X86
	if c.HasAVX512F && c.HasAVX512BW && c.HasAVX512DQ && c.HasAVX512VL && c.HasAVX512VNNI {
		return Ops{avx512}
	}
	return Portable()
}

type mulKernel func(w *byte, tiles, blocks int, acts *byte, y *float32, ld int, mask uint64)

// mulKernels are the kernels by form and number of tokens less one; never written.
var mulKernels = [...][Lanes]mulKernel{
	q4: {mulQ4x1, mulQ4x2, mulQ4x3, mulQ4x4, mulQ4x5, mulQ4x6, mulQ4x7, mulQ4x8,
		mulQ4x9, mulQ4x10, mulQ4x11, mulQ4x12, mulQ4x13, mulQ4x14, mulQ4x15, mulQ4x16},
	q4m: {mulQ4Mx1, mulQ4Mx2, mulQ4Mx3, mulQ4Mx4, mulQ4Mx5, mulQ4Mx6, mulQ4Mx7, mulQ4Mx8,
		mulQ4Mx9, mulQ4Mx10, mulQ4Mx11, mulQ4Mx12, mulQ4Mx13, mulQ4Mx14, mulQ4Mx15, mulQ4Mx16},
	q8: {mulQ8x1, mulQ8x2, mulQ8x3, mulQ8x4, mulQ8x5, mulQ8x6, mulQ8x7, mulQ8x8,
		mulQ8x9, mulQ8x10, mulQ8x11, mulQ8x12, mulQ8x13, mulQ8x14, mulQ8x15, mulQ8x16},
	q5: {mulQ5x1, mulQ5x2, mulQ5x3, mulQ5x4, mulQ5x5, mulQ5x6, mulQ5x7, mulQ5x8,
		mulQ5x9, mulQ5x10, mulQ5x11, mulQ5x12, mulQ5x13, mulQ5x14, mulQ5x15, mulQ5x16},
	q5m: {mulQ5Mx1, mulQ5Mx2, mulQ5Mx3, mulQ5Mx4, mulQ5Mx5, mulQ5Mx6, mulQ5Mx7, mulQ5Mx8,
		mulQ5Mx9, mulQ5Mx10, mulQ5Mx11, mulQ5Mx12, mulQ5Mx13, mulQ5Mx14, mulQ5Mx15, mulQ5Mx16},
	q4k: {mulQ4Kx1, mulQ4Kx2, mulQ4Kx3, mulQ4Kx4, mulQ4Kx5, mulQ4Kx6, mulQ4Kx7, mulQ4Kx8,
		mulQ4Kx9, mulQ4Kx10, mulQ4Kx11, mulQ4Kx12, mulQ4Kx13, mulQ4Kx14, mulQ4Kx15, mulQ4Kx16},
	q5k: {mulQ5Kx1, mulQ5Kx2, mulQ5Kx3, mulQ5Kx4, mulQ5Kx5, mulQ5Kx6, mulQ5Kx7, mulQ5Kx8,
		mulQ5Kx9, mulQ5Kx10, mulQ5Kx11, mulQ5Kx12, mulQ5Kx13, mulQ5Kx14, mulQ5Kx15, mulQ5Kx16},
	q6k: {mulQ6Kx1, mulQ6Kx2, mulQ6Kx3, mulQ6Kx4, mulQ6Kx5, mulQ6Kx6, mulQ6Kx7, mulQ6Kx8,
		mulQ6Kx9, mulQ6Kx10, mulQ6Kx11, mulQ6Kx12, mulQ6Kx13, mulQ6Kx14, mulQ6Kx15, mulQ6Kx16},
	f16: {mulF16x1, mulF16x2, mulF16x3, mulF16x4, mulF16x5, mulF16x6, mulF16x7, mulF16x8,
		mulF16x9, mulF16x10, mulF16x11, mulF16x12, mulF16x13, mulF16x14, mulF16x15, mulF16x16},
	bf16: {mulBF16x1, mulBF16x2, mulBF16x3, mulBF16x4, mulBF16x5, mulBF16x6, mulBF16x7, mulBF16x8,
		mulBF16x9, mulBF16x10, mulBF16x11, mulBF16x12, mulBF16x13, mulBF16x14, mulBF16x15, mulBF16x16},
	f32: {mulF32x1, mulF32x2, mulF32x3, mulF32x4, mulF32x5, mulF32x6, mulF32x7, mulF32x8,
		mulF32x9, mulF32x10, mulF32x11, mulF32x12, mulF32x13, mulF32x14, mulF32x15, mulF32x16},
}

const all = 0xffff // rows of a tile to store

// mulWide takes the lane groups one after the other, and for each the tiles: the group's activations stay in the first cache
// while the weights of the piece come from the second.
func (m *Matrix) mulWide(y []float32, ld int, x *Acts, from, to int) {
	tile := m.form.tile(x.blocks)
	whole := min(to, m.Rows/16)
	for start := 0; start < x.tokens; {
		_, lanes := group(x.tokens, start)
		mul := mulKernels[m.form][lanes-1]
		acts := &x.group(start, m.form.float())[0]
		most := m.Grain(lanes)
		for t := from; t < whole; t += most {
			mul(&m.data[t*tile], min(most, whole-t), x.blocks, acts, &y[start*ld+t*16], ld*4, all)
		}
		if whole < to {
			t := max(whole, from)
			mul(&m.data[t*tile], 1, x.blocks, acts, &y[start*ld+t*16], ld*4, 1<<(m.Rows-t*16)-1)
		}
		start += lanes
	}
}

// The kernels of attention by the rows that are left; never written.
var (
	scoreKernels = [...]func(dst *float32, dstStride int, q *float32, qStride int, k *uint16, groups, dim int, scale float32, mask uint64){
		1: scores1, 2: scores2, 3: scores3, 4: scores4, 5: scores4, 6: scores6, 7: scores6, 8: scores8}
	weighKernels = [...]func(dst *float32, dstStride int, p *float32, pStride int, v *uint16, cells, dim int){
		1: weigh1, 2: weigh2, 3: weigh3, 4: weigh4, 5: weigh4, 6: weigh6}
	// kernelRows is how many rows the kernel at an index takes.
	kernelRows = [...]int{1: 1, 2: 2, 3: 3, 4: 4, 5: 4, 6: 6, 7: 6, 8: 8}
)

func (o Ops) scoresWide(dst, q Rows, k Span, scale float32) {
	for r := 0; r < q.N; {
		i := min(q.N-r, len(scoreKernels)-1)
		scores, whole := scoreKernels[i], k.Cells/16
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
	for r := 0; r < p.N; {
		i := min(p.N-r, len(weighKernels)-1)
		weighKernels[i](&dst.Data[r*dst.Stride], dst.Stride*4, &p.Data[r*p.Stride], p.Stride*4, &v.Data[0], v.Cells, v.Dim)
		r += kernelRows[i]
	}
}
