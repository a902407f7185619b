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
		if !ok || m.Size() != size || m.Tiles() != 2 {
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
