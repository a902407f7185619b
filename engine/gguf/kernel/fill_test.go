package kernel

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"serval/llm/gguf"
)

// types are those that Pack takes.
var types = []gguf.Type{gguf.Q4_0, gguf.Q4_1, gguf.Q8_0, gguf.Q5_0, gguf.Q5_1, gguf.Q4K, gguf.Q5K, gguf.Q6K, gguf.F16, gguf.BF16, gguf.F32}

// TestFill: every byte of a packed matrix is what form.go's description says, weight by weight, whatever tiles it was filled with at
// once, and the rows that its last tile lacks are zero.
func TestFill(t *testing.T) {
	for _, typ := range types {
		for _, rows := range []int{37, 16, 1} {
			const cols = 768 + 256
			data, _ := tensor(rand.New(rand.NewPCG(3, uint64(typ))), typ, rows, cols)
			if f, _ := formOf(typ); formats[f].raw.columns == 32 { // all bits, also those that make no sensible number
				r := rand.New(rand.NewPCG(4, 4))
				for i := range data {
					data[i] = byte(r.Uint32())
				}
			}
			a := NewArena(Portable())
			defer a.Close()
			want, err := a.Pack(typ, rows, cols, data)
			if err != nil {
				t.Fatal(err)
			}
			if slow := described(want.form, rows, cols, data); !bytes.Equal(want.data, slow) {
				at := 0
				for want.data[at] == slow[at] {
					at++
				}
				t.Errorf("%s, %d rows: byte %d is %#x, want %#x", typ, rows, at, want.data[at], slow[at])
			}
			m, err := a.Room(typ, rows, cols)
			if err != nil {
				t.Fatal(err)
			}
			if memory, err := a.Alloc(); err != nil || len(memory) != room(m.Size()) || a.Waiting() != 0 {
				t.Fatalf("%d bytes, %v", len(memory), err)
			}
			for tile := m.Tiles() - 1; tile >= 0; tile-- {
				m.Fill(tile, data[tile*16*m.RowSize():min((tile+1)*16*m.RowSize(), len(data))])
			}
			if !bytes.Equal(m.data, want.data) {
				t.Errorf("%s, %d rows: tile by tile it is another", typ, rows)
			}
		}
	}
}

// described packs as form.go describes it, one weight after the other.
func described(f form, rows, cols int, data []byte) []byte {
	d := &formats[f]
	size := f.tile(cols / block)
	out := make([]byte, (rows+15)/16*size)
	for r := range rows {
		tile, r, row := out[r/16*size:][:size], r%16, data[r*f.row(cols):][:f.row(cols)]
		if f.float() {
			n := d.bits / 8
			for c := range cols {
				copy(tile[(c*16+r)*n:][:n], row[c*n:])
			}
			continue
		}
		for c := range cols {
			at, head := f.at(c / block)
			src, i, c := row[c/d.raw.columns*d.raw.bytes:], c%d.raw.columns/block, c%block
			p := tile[at:]
			w := weight(f, src, i, c)
			switch {
			case d.bits == 8:
				p[c/4*64+4*r+c%4] = w
			case c < 16:
				p[c/4*64+4*r+c%4] |= w & 15
			default:
				p[(c-16)/4*64+4*r+c%4] |= w & 15 << 4
			}
			switch d.bits {
			case 5:
				p[256+4*r+c%4] |= w >> 4 << (c / 4)
			case 6:
				p[256+c/16*64+4*r+c%4] |= w >> 4 << (c % 16 / 4 * 2)
			}
			scaleOf(f, src, i, p[d.scales:], tile[head:], r)
		}
	}
	return out
}

// weight is column c of the 32 numbered i, unsigned.
func weight(f form, src []byte, i, c int) byte {
	nibble := func(src []byte) byte { return src[c%16] >> (c / 16 * 4) & 15 }
	bit := func(src []byte) byte { return src[c/8] >> (c % 8) & 1 << 4 }
	switch f {
	case q4:
		return nibble(src[2:])
	case q4m:
		return nibble(src[4:])
	case q5:
		return nibble(src[6:]) | bit(src[2:])
	case q5m:
		return nibble(src[8:]) | bit(src[4:])
	case q4k:
		return src[16+i/2*32+c] >> (i % 2 * 4) & 15
	case q5k:
		return src[48+i/2*32+c]>>(i%2*4)&15 | src[16+c]>>i&1<<4
	case q6k:
		n, k := i/4, i%4
		return src[n*64+k%2*32+c]>>(k/2*4)&15 | src[128+n*32+c]>>(2*k)&3<<4
	}
	return src[2+c] ^ 0x80
}

// scaleOf writes the scales, and the minima where there are some.
func scaleOf(f form, src []byte, i int, scales, head []byte, r int) {
	switch f {
	case q4k, q5k:
		put16(head[2*r:], u16(src))
		put16(head[32+2*r:], u16(src[2:])^0x8000)
		s := src[4:16]
		if i < 4 {
			scales[r], scales[16+r] = s[i]&63, s[4+i]&63
		} else {
			scales[r], scales[16+r] = s[4+i]&15|s[i-4]>>6<<4, s[4+i]>>4|s[i]>>6<<4
		}
	case q6k:
		put16(head[2*r:], u16(src[208:]))
		scales[r], scales[16+r] = src[192+2*i], src[192+2*i+1]
	default:
		put16(scales[2*r:], u16(src))
		if formats[f].minimum {
			put16(scales[32+2*r:], u16(src[2:]))
		}
	}
}

// TestLayout: what is packed is what it was when Layout got its number. Where it is not, raise Layout.
func TestLayout(t *testing.T) {
	h := sha256.New()
	for _, typ := range types {
		data, _ := tensor(rand.New(rand.NewPCG(3, uint64(typ))), typ, 37, 768)
		m, err := Pack(Portable(), typ, 37, 768, data)
		if err != nil {
			t.Fatal(err)
		}
		h.Write(m.data)
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if got := fmt.Sprintf("%d %x", Layout, h.Sum(nil)[:8]); got != "1 bedfa4e382b69880" {
		t.Errorf("the layout is %s", got)
	}
}

// TestAdopt: matrices compute from memory that was filled before what they compute from their own.
func TestAdopt(t *testing.T) {
	data, _ := tensor(rand.New(rand.NewPCG(3, 3)), gguf.Q8_0, 37, 64)
	a, b := NewArena(Best()), NewArena(Best())
	defer a.Close()
	x := floats(rand.New(rand.NewPCG(1, 1)), 64)
	make3 := func(a *Arena) (list []*Matrix) {
		for range 3 {
			m, err := a.Room(gguf.Q8_0, 37, 64)
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, m)
		}
		return list
	}
	first, second := make3(a), make3(b)
	memory, err := a.Alloc()
	if err != nil {
		t.Fatal(err)
	}
	first[2].Fill(0, data)
	freed := 0
	b.BeforeClose(func() { freed = 10 * (freed + 1) })
	b.Adopt(memory, func() error { freed++; return nil })
	want, got := make([]float32, 37), make([]float32, 37)
	acts := a.Acts()
	acts.Quantize(x, 1, 64)
	first[2].Mul(want, 37, acts, 0, 3)
	second[2].Mul(got, 37, acts, 0, 3)
	if !slices.Equal(want, got) || slices.Max(want) == 0 || b.Used() != a.Used() || b.Close() != nil || freed != 11 {
		t.Errorf("%v, want %v; %d and %d bytes", got[:4], want[:4], b.Used(), a.Used())
	}
}

// TestTouch: memory is there and still what it was.
func TestTouch(t *testing.T) {
	data, free, err := Halves(40 << 20)
	if err != nil {
		t.Fatal(err)
	}
	defer free()
	data[0], data[len(data)-1] = 1, 2
	team := NewTeam(2)
	defer team.Close()
	Touch(team, data)
	Touch(team, nil)
	touched(t, data)
	if data[0] != 1 || data[len(data)-1] != 2 || slices.Max(data[1:len(data)-1]) != 0 {
		t.Error("what was written is gone, or there is more")
	}
}

// BenchmarkPack is one thread's, into memory that it has.
func BenchmarkPack(b *testing.B) {
	for _, typ := range types {
		b.Run(fmt.Sprint(typ), func(b *testing.B) {
			const rows, cols = 256, 1536
			data, _ := tensor(rand.New(rand.NewPCG(3, uint64(typ))), typ, rows, cols)
			b.SetBytes(int64(len(data)))
			m, err := Pack(Best(), typ, rows, cols, data)
			if err != nil {
				b.Fatal(err)
			}
			defer m.Close()
			for b.Loop() {
				m.Fill(0, data)
			}
		})
	}
}
