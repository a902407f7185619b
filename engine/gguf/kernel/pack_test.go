package kernel

import (
	"strings"
	"testing"

	"serval/llm/gguf"
)

// TestRefusals: what does not fit is an error that says so, before memory is asked for.
func TestRefusals(t *testing.T) {
	for _, c := range []struct {
		t          gguf.Type
		rows, cols int
		bytes      int
		want       string
	}{
		{gguf.Q4_0, 2, 32, 35, "35 bytes for 2 rows of 32 columns of Q4_0; want 36"},
		{gguf.Q4_0, 0, 32, 0, "0 rows"},
		{gguf.Q8_0, 1, 33, 34, "multiple of 32"},
		{gguf.F32, -1, 32, 0, "-1 rows"},
		{gguf.Q3K, 1, 256, 110, "no kernel for tensors of type Q3_K"},
		{gguf.Q6K, 1, 128, 105, "multiple of 256"},
		{gguf.Q4_1, 1 << 31, 1 << 31, 0, "too large"},
		{gguf.Q4_1, 1 << 28, 1 << 28, 20, "20 bytes for"},
	} {
		a := NewArena(Best())
		m, err := a.Pack(c.t, c.rows, c.cols, make([]byte, c.bytes))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s, %d rows, %d columns: %v; want %q", c.t, c.rows, c.cols, err, c.want)
		}
		if m != nil || a.Used() != 0 {
			t.Errorf("%s, %d rows, %d columns: a matrix of %d bytes beside the error", c.t, c.rows, c.cols, a.Used())
		}
	}
}

// TestArena: matrices share chunks, start at cache lines, and go with the arena; what Pack made alone goes with itself.
func TestArena(t *testing.T) {
	a := NewArena(Best())
	for range 3 {
		m, err := a.Pack(gguf.Q4_0, 17, 32, make([]byte, 17*18))
		if err != nil {
			t.Fatal(err)
		}
		size, ok := PackedSize(gguf.Q4_0, 17, 32)
		if !ok || room(m.Size()) != size || m.Tiles() != 2 {
			t.Fatalf("%d bytes in %d tiles, want %d in 2", m.Size(), m.Tiles(), size)
		}
		if err := m.Close(); err != nil { // the arena's, not its own
			t.Fatal(err)
		}
	}
	if a.Used() != 3*576 || len(a.chunks) != 1 {
		t.Fatalf("%d bytes in %d chunks", a.Used(), len(a.chunks))
	}
	if err := a.Close(); err != nil || a.Used() != 0 {
		t.Fatalf("closed: %v, %d bytes", err, a.Used())
	}
	m, err := Pack(Best(), gguf.Q8_0, 1, 32, make([]byte, 34))
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestArenaActs: activations are kept as the arena's matrices want them, and a product that wants others panics rather than
// computing nonsense.
func TestArenaActs(t *testing.T) {
	x := make([]float32, 32)
	for _, c := range []struct {
		pack, other  gguf.Type
		ints, floats bool
	}{{gguf.F16, gguf.Q4_0, false, true}, {gguf.Q4_0, gguf.F16, true, false}} {
		pack := func(typ gguf.Type, a *Arena) *Matrix {
			n, size := typ.Block()
			m, err := a.Pack(typ, 1, 32, make([]byte, 32/n*size))
			if err != nil {
				t.Fatal(err)
			}
			return m
		}
		a, b := NewArena(Best()), NewArena(Best())
		defer a.Close()
		defer b.Close()
		m, other := pack(c.pack, a), pack(c.other, b)
		acts, y := a.Acts(), make([]float32, 1)
		acts.Quantize(x, 1, 32)
		if (len(acts.data) >= record) != c.ints || (len(acts.whole) >= 128) != c.floats {
			t.Fatalf("%s: %d bytes of integers, %d of floats", c.pack, len(acts.data), len(acts.whole))
		}
		m.Mul(y, 1, acts, 0, 1)
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("activations for %s were taken for %s", c.pack, c.other)
				}
			}()
			other.Mul(y, 1, acts, 0, 1)
		}()
	}
}
