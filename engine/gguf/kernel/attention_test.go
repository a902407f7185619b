package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestAttention holds both products against float64 over the f16 cache, for all numbers of rows that the kernels share out,
// and that neighbours of a row and the cells past the end change nothing.
func TestAttention(t *testing.T) {
	for _, o := range sets() {
		for _, dim := range []int{16, 64, 80, 96, 128, 256} {
			t.Run(fmt.Sprint(o, dim), func(t *testing.T) {
				for _, cells := range []int{1, 15, 16, 33, 64, 112, 130} {
					testAttention(t, o, dim, cells)
				}
			})
		}
	}
}

func testAttention(t *testing.T, o Ops, dim, cells int) {
	rng := rand.New(rand.NewPCG(uint64(dim), uint64(cells)))
	keys := make([]uint16, (cells+15)/16*16*dim)
	values := make([]uint16, len(keys))
	k, v := floats(rng, cells*dim), floats(rng, cells*dim)
	for c := range cells {
		for i := range dim {
			keys[c/16*16*dim+i*16+c%16], values[c*dim+i] = narrow(k[c*dim+i]), narrow(v[c*dim+i])
		}
	}
	round := func(f float32) float64 { return float64(Widen(narrow(f))) }
	for _, n := range []int{1, 2, 3, 5, 7, 8, 9, 14, 19} {
		q := Rows{Data: floats(rng, n*(dim+4)), N: n, Stride: dim + 4}
		scores := Rows{Data: make([]float32, n*(cells+1)), N: n, Stride: cells + 1}
		for i := range scores.Data {
			scores.Data[i] = -55
		}
		o.ScoresF16(scores, q, Span{keys, cells, dim}, 0.125)
		for r := range n {
			for c := range cells {
				var want, size float64
				for i := range dim {
					p := float64(q.Data[r*q.Stride+i]) * round(k[c*dim+i])
					want, size = want+p, size+math.Abs(p)
				}
				if got := float64(scores.Data[r*scores.Stride+c]); math.Abs(got-want/8) > size*1e-6 {
					t.Fatalf("%d rows, %d cells: score of row %d, cell %d: %g, want %g", n, cells, r, c, got, want/8)
				}
			}
			if scores.Data[r*scores.Stride+cells] != -55 {
				t.Fatalf("%d rows, %d cells: written past the last cell", n, cells)
			}
		}
		out := Rows{Data: make([]float32, n*(dim+2)), N: n, Stride: dim + 2}
		for i := range out.Data {
			out.Data[i] = 0.5
		}
		half := cells / 2 // as two blocks of a paged cache
		o.WeighF16(out, scores, Span{values, half, dim})
		o.WeighF16(out, Rows{scores.Data[half:], n, scores.Stride}, Span{values[half*dim:], cells - half, dim})
		for r := range n {
			for i := range dim + 2 {
				want, size := 0.5, 0.5
				for c := 0; c < cells && i < dim; c++ {
					p := float64(scores.Data[r*scores.Stride+c]) * round(v[c*dim+i])
					want, size = want+p, size+math.Abs(p)
				}
				if got := float64(out.Data[r*out.Stride+i]); math.Abs(got-want) > size*2e-6 {
					t.Fatalf("%d rows, %d cells: row %d, dimension %d: %g, want %g", n, cells, r, i, got, want)
				}
			}
		}
		testWhole(t, o, q, k, v, scores, cells, dim)
		alone := make([]float32, cells)
		o.ScoresF16(Rows{alone, 1, cells}, Rows{q.Data[(n-1)*q.Stride:], 1, q.Stride}, Span{keys, cells, dim}, 0.125)
		for c, e := range alone {
			if got := scores.Data[(n-1)*scores.Stride+c]; got != e {
				t.Fatalf("%d rows: cell %d: %g, alone %g", n, c, got, e)
			}
		}
	}
}

// testWhole holds the products over float32 against those over f16, of numbers that both have.
func testWhole(t *testing.T, o Ops, q Rows, k, v []float32, want Rows, cells, dim int) {
	t.Helper()
	keys, values := make([]float32, (cells+15)/16*16*dim), make([]float32, cells*dim)
	halves := make([]uint16, len(values))
	for c := range cells {
		for i := range dim {
			keys[c/16*16*dim+i*16+c%16] = Widen(narrow(k[c*dim+i]))
			halves[c*dim+i] = narrow(v[c*dim+i])
			values[c*dim+i] = Widen(halves[c*dim+i])
		}
	}
	got := Rows{Data: make([]float32, len(want.Data)), N: q.N, Stride: want.Stride}
	for i := range got.Data {
		got.Data[i] = -55
	}
	o.ScoresF32(got, q, SpanOf[float32]{keys, cells, dim}, 0.125)
	if !slices.Equal(got.Data, want.Data) {
		t.Fatalf("%d rows, %d cells: scores over float32 are others", q.N, cells)
	}
	a, b := Rows{Data: make([]float32, q.N*(dim+2)), N: q.N, Stride: dim + 2}, Rows{Data: make([]float32, q.N*(dim+2)), N: q.N, Stride: dim + 2}
	o.WeighF16(a, want, Span{halves, cells, dim})
	o.WeighF32(b, want, SpanOf[float32]{values, cells, dim})
	if !slices.Equal(a.Data, b.Data) {
		t.Fatalf("%d rows, %d cells: sums over float32 are others", q.N, cells)
	}
}
