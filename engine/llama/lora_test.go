package llama

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"serval"
	"serval/engine"
	"serval/llm/gguf"
)

// adapterFile writes a LoRA adapter for a model of architecture llama that changes a matrix of its first layer at random.
func adapterFile(t *testing.T, path, model string, seed uint64) {
	t.Helper()
	f, err := gguf.Open(model)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var b bytes.Buffer
	le := func(v any) { _ = binary.Write(&b, binary.LittleEndian, v) }
	text := func(s string) { le(uint64(len(s))); b.WriteString(s) }
	const name, rank = "blk.0.ffn_down.weight", 4
	shape := f.Tensor(name).Shape // inputs, outputs
	b.WriteString("GGUF")
	le(uint32(3))
	le(uint64(2))
	le(uint64(4))
	for _, kv := range [][2]string{{"general.architecture", "llama"}, {"general.type", "adapter"}, {"adapter.type", "lora"}} {
		text(kv[0])
		le(uint32(gguf.String))
		text(kv[1])
	}
	text("adapter.lora.alpha")
	le(uint32(gguf.Float32))
	le(float32(rank))
	tensor := func(name string, in, out int64, offset uint64) {
		text(name)
		le(uint32(2))
		le(in)
		le(out)
		le(uint32(0)) // F32
		le(offset)
	}
	tensor(name+".lora_a", shape[0], rank, 0)
	tensor(name+".lora_b", rank, shape[1], uint64(4*shape[0]*rank))
	for b.Len()%32 != 0 {
		b.WriteByte(0)
	}
	random := rand.New(rand.NewPCG(seed, 1))
	for range shape[0]*rank + rank*shape[1] {
		le(float32(random.NormFloat64()) * 0.3)
	}
	if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

// Each request has its adapter, whoever else is there; what one computed is not taken for another.
func TestAdapters(t *testing.T) {
	root := folder(t, small(t))
	adapterFile(t, filepath.Join(root, "one.gguf"), small(t), 1)
	adapterFile(t, filepath.Join(root, "two.gguf"), small(t), 2)
	settings := serval.ModelSettings{File: "model.gguf", Text: &serval.TextSettings{Context: 512, Cache: 2048, Adapters: map[string]string{"one": "one.gguf", "two": "two.gguf"}}}
	m, err := testEngine(t).Open(t.Context(), engine.Spec{Name: "m", Dir: root, Settings: settings, Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	d := m.(*decoder)
	if got := d.Language().Adapters; !slices.Equal(got, []string{"one", "two"}) {
		t.Errorf("adapters %q", got)
	}
	names := []string{"", "one", "two"}
	make := func(name string) *answer {
		in := greedy(long(d, 40), 8)
		in.Adapter = name
		return ask(in)
	}
	var alone [][]int32
	for _, name := range names {
		a := make(name)
		run(t, d, a)
		if a.usage.Cached != 0 {
			t.Errorf("adapter %q: %d tokens of another were taken", name, a.usage.Cached)
		}
		alone = append(alone, a.ids())
	}
	if slices.Equal(alone[0], alone[1]) || slices.Equal(alone[1], alone[2]) {
		t.Fatalf("the adapters change nothing: %v", alone)
	}
	d.clearCache()
	var all []*answer
	for i := range 6 {
		all = append(all, make(names[i%3]))
	}
	run(t, d, all...)
	for i, a := range all {
		if !slices.Equal(a.ids(), alone[i%3]) {
			t.Errorf("adapter %q among others: %v, alone %v", names[i%3], a.ids(), alone[i%3])
		}
	}
	audit(t, d)
}
