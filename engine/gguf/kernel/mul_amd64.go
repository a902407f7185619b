package kernel

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

type narrowKernel func(w *byte, tiles, blocks int, acts *byte, lanes int, y *float32, ld int)

// few is the most tokens of one kernel of AVX2.
const few = 4

// narrowKernels are AVX2's kernels by form and number of tokens less one, vnniKernels those with AVX-VNNI; never written.
var (
	narrowKernels = [...][few]narrowKernel{
		q4:   {avx2MulQ4x1, avx2MulQ4x2, avx2MulQ4x3, avx2MulQ4x4},
		q4m:  {avx2MulQ4Mx1, avx2MulQ4Mx2, avx2MulQ4Mx3, avx2MulQ4Mx4},
		q8:   {avx2MulQ8x1, avx2MulQ8x2, avx2MulQ8x3, avx2MulQ8x4},
		q5:   {avx2MulQ5x1, avx2MulQ5x2, avx2MulQ5x3, avx2MulQ5x4},
		q5m:  {avx2MulQ5Mx1, avx2MulQ5Mx2, avx2MulQ5Mx3, avx2MulQ5Mx4},
		q4k:  {avx2MulQ4Kx1, avx2MulQ4Kx2, avx2MulQ4Kx3, avx2MulQ4Kx4},
		q5k:  {avx2MulQ5Kx1, avx2MulQ5Kx2, avx2MulQ5Kx3, avx2MulQ5Kx4},
		q6k:  {avx2MulQ6Kx1, avx2MulQ6Kx2, avx2MulQ6Kx3, avx2MulQ6Kx4},
		f16:  {avx2MulF16x1, avx2MulF16x2, avx2MulF16x3, avx2MulF16x4},
		bf16: {avx2MulBF16x1, avx2MulBF16x2, avx2MulBF16x3, avx2MulBF16x4},
		f32:  {avx2MulF32x1, avx2MulF32x2, avx2MulF32x3, avx2MulF32x4},
	}
	vnniKernels = [...][few]narrowKernel{
		q4:   {vnniMulQ4x1, vnniMulQ4x2, vnniMulQ4x3, vnniMulQ4x4},
		q4m:  {vnniMulQ4Mx1, vnniMulQ4Mx2, vnniMulQ4Mx3, vnniMulQ4Mx4},
		q8:   {vnniMulQ8x1, vnniMulQ8x2, vnniMulQ8x3, vnniMulQ8x4},
		q5:   {vnniMulQ5x1, vnniMulQ5x2, vnniMulQ5x3, vnniMulQ5x4},
		q5m:  {vnniMulQ5Mx1, vnniMulQ5Mx2, vnniMulQ5Mx3, vnniMulQ5Mx4},
		q4k:  {vnniMulQ4Kx1, vnniMulQ4Kx2, vnniMulQ4Kx3, vnniMulQ4Kx4},
		q5k:  {vnniMulQ5Kx1, vnniMulQ5Kx2, vnniMulQ5Kx3, vnniMulQ5Kx4},
		q6k:  {vnniMulQ6Kx1, vnniMulQ6Kx2, vnniMulQ6Kx3, vnniMulQ6Kx4},
		f16:  {avx2MulF16x1, avx2MulF16x2, avx2MulF16x3, avx2MulF16x4},
		bf16: {avx2MulBF16x1, avx2MulBF16x2, avx2MulBF16x3, avx2MulBF16x4},
		f32:  {avx2MulF32x1, avx2MulF32x2, avx2MulF32x3, avx2MulF32x4},
	}
)

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

// mulNarrow is mulWide for AVX2: a few tokens of a lane group at once.
func (m *Matrix) mulNarrow(y []float32, ld int, x *Acts, from, to int) {
	kernels := &narrowKernels
	if m.ops.isa == avxVNNI {
		kernels = &vnniKernels
	}
	float := m.form.float()
	tile, whole := m.form.tile(x.blocks), min(to, m.Rows/16)
	for start := 0; start < x.tokens; {
		_, lanes := group(x.tokens, start)
		acts := x.group(start, float)
		for first := 0; first < lanes; first += few {
			n := min(few, lanes-first)
			mul, in := kernels[m.form][n-1], &acts[first*4]
			if !float {
				in = &acts[first*record]
			}
			out := y[(start+first)*ld:]
			most := m.Grain(n)
			for t := from; t < whole; t += most {
				mul(&m.data[t*tile], min(most, whole-t), x.blocks, in, lanes, &out[t*16], ld*4)
			}
			if whole < to {
				t := max(whole, from)
				part(mul, &m.data[t*tile], x.blocks, in, lanes, out[t*16:], ld, n, m.Rows-t*16)
			}
		}
		start += lanes
	}
}

// part is the last tile of a matrix whose rows do not fill it: all of it is computed aside, and the rows are copied.
func part(mul narrowKernel, w *byte, blocks int, acts *byte, lanes int, y []float32, ld, n, rows int) {
	var rest [few * 16]float32
	mul(w, 1, blocks, acts, lanes, &rest[0], 16*4)
	for i := range n {
		copy(y[i*ld:i*ld+rows], rest[16*i:])
	}
}
