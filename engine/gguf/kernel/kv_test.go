package kernel

import (
	"fmt"
	"math"
	"math/bits"
	"math/rand/v2"
	"slices"
	"testing"
)

// stored is what a Store makes of numbers, by its definition.
func stored(s Store, x []float32) []float64 {
	out := make([]float64, len(x))
	for i, e := range x {
		switch s {
		case StoreF16:
			out[i] = float64(Widen(narrow(e)))
		case StoreBF16: // 8 bits
			fraction, exp := math.Frexp(float64(e))
			out[i] = math.Ldexp(math.RoundToEven(fraction*256), exp-8)
		}
	}
	if s == StoreQ8 {
		for b := 0; b < len(x); b += 32 {
			turned := slices.Clone(x[b : b+32])
			Portable().rotate(turned) // which TestRotate holds against its definition
			most := 0.0
			for _, e := range turned {
				most = max(most, math.Abs(float64(e)))
			}
			scale := float64(Widen(narrow(float32(most / 127))))
			var rounded [32]float64
			for i, e := range turned {
				rounded[i] = math.RoundToEven(float64(e*(127/float32(most)))) * scale
			}
			for i := range 32 {
				out[b+i] = hadamard(i, rounded[:])
			}
		}
	}
	return out
}

// hadamard is row i of the matrix times x.
func hadamard(i int, x []float64) (sum float64) {
	for j, e := range x {
		if bits.OnesCount(uint(i&j))%2 == 1 {
			e = -e
		}
		sum += e
	}
	return sum / math.Sqrt(float64(len(x)))
}

// TestRotate holds it against the definition, and all instruction sets against plain Go to the last bit.
func TestRotate(t *testing.T) {
	x := floats(rand.New(rand.NewPCG(4, 4)), 96)
	want := slices.Clone(x)
	Portable().rotate(want)
	for b := 0; b < len(x); b += 32 {
		var exact [32]float64
		for i, e := range x[b : b+32] {
			exact[i] = float64(e)
		}
		for i := range 32 {
			if d := math.Abs(hadamard(i, exact[:]) - float64(want[b+i])); d > 2e-6 {
				t.Fatalf("value %d is %g off", b+i, d)
			}
		}
	}
	for _, o := range sets() {
		got := slices.Clone(x)
		if o.rotate(got); !slices.Equal(got, want) {
			t.Fatalf("%s: %v, want %v", o, got, want)
		}
		o.rotate(got)
		for i, e := range got {
			if math.Abs(float64(e-x[i])) > 2e-6 {
				t.Fatalf("%s: rotated twice %g is %g", o, x[i], e)
			}
		}
	}
}

// kvCase is a cache of one row's heads, and what it stands for.
type kvCase struct {
	kv           KV
	room         *KVRoom
	keys, values [][]uint16 // by head
	k, v         [][]float64
}

func newKVCase(o Ops, s Store, dim, cells int) *kvCase {
	const heads = 2
	rng := rand.New(rand.NewPCG(uint64(dim), uint64(cells)))
	c := &kvCase{kv: NewKV(o, s, heads, dim), k: make([][]float64, heads), v: make([][]float64, heads)}
	c.room = c.kv.Room(12)
	for range heads {
		size := c.kv.Size((cells + 15) / 16 * 16)
		c.keys, c.values = append(c.keys, make([]uint16, size)), append(c.values, make([]uint16, size))
	}
	for cell := range cells {
		row := floats(rng, 2*heads*dim)
		for i := range row {
			row[i] *= float32(1 + i/32%3*10)
		}
		c.kv.Round(c.room, slices.Clone(row))
		for h := range heads {
			c.kv.Put(c.keys[h], c.values[h], cell, h, c.room)
			c.k[h] = append(c.k[h], stored(s, row[h*dim:(h+1)*dim])...)
			c.v[h] = append(c.v[h], stored(s, row[(heads+h)*dim:(heads+h+1)*dim])...)
		}
	}
	return c
}

// TestKV holds both products over every store against float64 over what is stored, for all numbers of rows that the kernels share out;
// a row alone, and every instruction set, give the same bits.
func TestKV(t *testing.T) {
	for s := StoreF16; s <= StoreQ8; s++ {
		for _, dim := range []int{32, 64, 96, 256} {
			t.Run(fmt.Sprint(s, dim), func(t *testing.T) {
				for _, cells := range []int{1, 16, 33, 79} {
					for _, n := range []int{1, 2, 3, 5, 8, 12, 19} {
						testKV(t, s, dim, cells, n)
					}
				}
			})
		}
	}
}

func testKV(t *testing.T, s Store, dim, cells, n int) {
	rng := rand.New(rand.NewPCG(9, uint64(n)))
	q, weights := floats(rng, n*dim), floats(rng, n*((cells+15)/16*16+16))
	var first [2][]float32
	for _, o := range sets() {
		c := newKVCase(o, s, dim, cells)
		stride := (cells+15)/16*16 + 16
		scores, mixed := c.scores(q, n, stride, cells), c.mixed(weights, n, cells)
		if first[0] == nil {
			first = [2][]float32{scores, mixed}
			c.exact(t, q, weights, scores, mixed, n, stride, cells)
		}
		for r := range n {
			if !slices.Equal(scores[r*stride:][:cells], first[0][r*stride:][:cells]) {
				t.Fatalf("%s, %d rows, %d cells: scores of row %d are not those of plain Go", o, n, cells, r)
			}
			if e := scores[r*stride+stride-16]; e != -55 {
				t.Fatalf("%s, %d rows, %d cells: written past the last 16 cells", o, n, cells)
			}
		}
		if !slices.Equal(mixed, first[1]) {
			t.Fatalf("%s, %d rows, %d cells: sums are not those of plain Go", o, n, cells)
		}
		for _, r := range []int{0, n - 1} {
			if alone := c.scores(q[r*dim:(r+1)*dim], 1, stride, cells); !slices.Equal(alone[:cells], scores[r*stride:][:cells]) {
				t.Fatalf("%s, %d rows, %d cells: scores of row %d are others alone", o, n, cells, r)
			}
			part := len(weights) / n
			if alone := c.mixed(weights[r*part:(r+1)*part], 1, cells); !slices.Equal(alone[:dim], mixed[r*dim:(r+1)*dim]) {
				t.Fatalf("%s, %d rows, %d cells: sums of row %d are others alone", o, n, cells, r)
			}
		}
	}
}

// scores are those of the second head, mixed are its weighed values, and 0.5 behind them.
func (c *kvCase) scores(q []float32, n, stride, cells int) []float32 {
	out := make([]float32, n*stride)
	for i := range out {
		out[i] = -55
	}
	c.kv.Ask(c.room, Rows{slices.Clone(q), n, c.kv.dim}, 0.3)
	c.kv.Scores(Rows{out, n, stride}, c.keys[1], cells, c.room)
	return out
}

func (c *kvCase) mixed(weights []float32, n, cells int) []float32 {
	dim, stride := c.kv.dim, len(weights)/n
	out := make([]float32, n*dim+2)
	out[n*dim] = 0.5
	half := cells / 2 / 16 * 16 // as two blocks of a paged cache
	to := Rows{out, n, dim}
	c.kv.Weigh(to, Rows{weights, n, stride}, c.values[1], half, c.room)
	c.kv.Weigh(to, Rows{weights[half:], n, stride}, c.values[1][c.kv.Size(half):], cells-half, c.room)
	c.kv.Back(to)
	return out
}

func (c *kvCase) exact(t *testing.T, q, weights, scores, mixed []float32, n, stride, cells int) {
	t.Helper()
	dim := c.kv.dim
	for r := range n {
		query, off := make([]float64, dim), 0.0 // and what its values may be off
		for i, e := range q[r*dim : (r+1)*dim] {
			query[i] = float64(e)
			if c.kv.Store == StoreQ8 { // which rounds queries to 15 bits
				off = max(off, math.Abs(query[i])/(4*127*127)*1.1)
			}
		}
		for cell := range cells {
			want, size := 0.0, 0.0
			for i, e := range query {
				p := 0.3 * e * c.k[1][cell*dim+i]
				want, size = want+p, size+math.Abs(p)*1e-6+0.3*off*math.Abs(c.k[1][cell*dim+i])
			}
			if got := float64(scores[r*stride+cell]); !(math.Abs(got-want) <= size) {
				t.Fatalf("%d rows, %d cells: score of row %d, cell %d: %g, want %g", n, cells, r, cell, got, want)
			}
		}
		for i := range dim {
			want, size := 0.0, 0.0
			for cell := range cells {
				p := float64(weights[len(weights)/n*r+cell]) * c.v[1][cell*dim+i]
				want, size = want+p, size+math.Abs(p)+math.Abs(float64(weights[len(weights)/n*r+cell])) // of values to be rotated back
			}
			if got := float64(mixed[r*dim+i]); !(math.Abs(got-want) <= size*1e-5) {
				t.Fatalf("%d rows, %d cells: row %d, dimension %d: %g, want %g", n, cells, r, i, got, want)
			}
		}
	}
}

// What is stored is as near as its bits allow, takes the memory that is said, and has the names that engine/llama has.
func TestStore(t *testing.T) {
	x := floats(rand.New(rand.NewPCG(2, 3)), 64)
	for word, c := range map[string]struct {
		bytes int
		off   float64 // of the largest of 32
	}{"f16": {128, 0x1p-11}, "bf16": {128, 0x1p-8}, "q8_0": {68, 1.5 / 127}} {
		s, ok := ParseStore(word)
		if !ok || s.String() != word || s.Bytes(64) != c.bytes {
			t.Errorf("%s: %v %v, %d bytes", word, s, ok, s.Bytes(64))
		}
		most := 0.0
		for _, e := range x[:32] {
			most = max(most, math.Abs(float64(e)))
		}
		for i, e := range stored(s, x)[:32] {
			if d := math.Abs(e - float64(x[i])); d > c.off*most+most/2048 {
				t.Errorf("%s: %g is kept as %g", word, x[i], e)
			}
		}
	}
	for _, word := range []string{"", "q4_0", "F16", "f32"} {
		if _, ok := ParseStore(word); ok {
			t.Errorf("%q is known", word)
		}
	}
}

// TestBF16 holds rounding against the definition, and NaN stays NaN.
func TestBF16(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	x := make([]float32, 4099)
	for i := range x {
		x[i] = math.Float32frombits(rng.Uint32())
		if i%3 == 0 { // a tie
			x[i] = math.Float32frombits(rng.Uint32()&0xffff0000 | 0x8000)
		}
	}
	for _, o := range sets() {
		got := make([]uint16, len(x))
		o.ToBF16(got, x)
		for i, e := range x {
			if back := widenBF16(got[i]); e != e {
				if back == back {
					t.Fatalf("%s: NaN is %g", o, back)
				}
			} else if want := stored(StoreBF16, x[i:i+1])[0]; math.Abs(float64(e)) > 1e-37 && math.Abs(want) < math.MaxFloat32 && float64(back) != want {
				t.Fatalf("%s: %g is %g, want %g", o, e, back, want)
			}
		}
	}
}
