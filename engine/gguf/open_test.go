package gguf

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"serval"
	"serval/engine"
	"serval/llm/gguf"
)

// patched is the small model with the number after a key, or any bytes, replaced.
func patched(t testing.TB, old, with string) []byte {
	t.Helper()
	raw := small.write()
	if n := bytes.Count(raw, []byte(old)); n != 1 {
		t.Fatalf("%q stands %d times in the file", old, n)
	}
	return bytes.Replace(raw, []byte(old), []byte(with), 1)
}

// number is a key of the header with its value as the file has it.
func number(key string, v uint32) string {
	return key + string(binary.LittleEndian.AppendUint32([]byte{4, 0, 0, 0}, v))
}

func refused(t *testing.T, raw []byte, code serval.Code, words ...string) {
	t.Helper()
	m, err := New().Open(t.Context(), engine.Spec{Name: "m", Dir: written(t, raw), Settings: serval.ModelSettings{Text: &serval.TextSettings{Context: 256}}, Threads: 1})
	if err == nil {
		_ = m.Close()
		t.Errorf("%v: it was loaded", words)
		return
	}
	if got := serval.AsError(err); got.Code != code {
		t.Errorf("%v: code %v: %v", words, got.Code, err)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%q is not said: %v", w, err)
		}
	}
}

// What is not known is declined, and what cannot be is refused, each by name.
func TestDeclined(t *testing.T) {
	refused(t, patched(t, "general.architecture\x08\x00\x00\x00\x05\x00\x00\x00\x00\x00\x00\x00llama", "general.architecture\x08\x00\x00\x00\x05\x00\x00\x00\x00\x00\x00\x00mamba"), serval.Unimplemented, `"mamba"`, "engine: llama")
	refused(t, patched(t, "blk.0.ffn_gate.weight", "blk.0.ffn_gatf.weight"), serval.InvalidArgument, "no tensor blk.0.ffn_gate.weight")
	refused(t, patched(t, "blk.0.attn_q.weight", "blk.0.attn_q.weighs"), serval.InvalidArgument, "no tensor blk.0.attn_q.weight")
	more := tiny{kind: gguf.Q8_0, heads: 2, kvHeads: 2, head: 32, inner: 32, layer: 1, freqs: true}.write()
	refused(t, patched(t, "llama.vocab_size", "llama.vocab_tilt"), serval.Unimplemented, "llama.vocab_tilt", "engine: llama")
	refused(t, bytes.Replace(more, []byte(freqsName), []byte("rope_other.weight"), 1), serval.Unimplemented, "the tensor rope_other.weight", "engine: llama")
}

// Hostile numbers are refused before anything is allocated for them.
func TestHostile(t *testing.T) {
	for key, list := range map[string][]uint32{
		"llama.block_count":             {0, 2, 1 << 31, 1<<32 - 1},
		"llama.embedding_length":        {0, 31, 32, 1 << 16, 1<<32 - 1},
		"llama.feed_forward_length":     {0, 1, 1 << 31},
		"llama.attention.head_count":    {0, 1, 3, 64, 1 << 31},
		"llama.attention.head_count_kv": {0, 2, 3, 1 << 31},
		"llama.rope.dimension_count":    {0, 1, 33, 64, 1 << 31},
		"llama.context_length":          {0, 1 << 31, 1<<32 - 1},
	} {
		was := map[string]uint32{"llama.block_count": 1, "llama.embedding_length": 64, "llama.feed_forward_length": 96, "llama.attention.head_count": 2,
			"llama.attention.head_count_kv": 1, "llama.rope.dimension_count": 32, "llama.context_length": 512}[key]
		for _, v := range list {
			raw := patched(t, number(key, was), number(key, v))
			m, err := New().Open(t.Context(), engine.Spec{Name: "m", Dir: written(t, raw), Threads: 1})
			if err == nil {
				_ = m.Close()
				t.Errorf("%s = %d was taken", key, v)
			}
		}
	}
}

// A file of any header is loaded or refused: it never crashes, and takes no more than it holds.
func FuzzShape(f *testing.F) {
	raw := small.write()
	f.Add(raw)
	f.Add(raw[:len(raw)/2])
	f.Add(tiny{kind: gguf.Q8_0, heads: 2, kvHeads: 2, head: 32, inner: 32, layer: 1, untied: true, scaling: 4, freqs: true}.write())
	f.Add(smallBert.write())
	f.Add(tinyBert{arch: nomicBert, kind: gguf.Q8_0, heads: 1, head: 32, inner: 32, layer: 1, fused: true, context: 64}.write())
	f.Add(tinyBert{kind: gguf.F16, heads: 1, head: 32, inner: 32, layer: 1, context: 64, pooling: 4, dense: true}.write())
	f.Fuzz(func(t *testing.T, raw []byte) {
		dir := written(t, raw)
		file, err := gguf.Open(filepath.Join(dir, "model.gguf"))
		if err != nil {
			return
		}
		m, err := openAny(t.Context(), source{File: file}, &engine.Spec{Name: "m", Dir: dir, Threads: 1, Settings: serval.ModelSettings{Text: &serval.TextSettings{Context: 64, Slots: 1}}})
		if err != nil {
			_ = file.Close()
			return
		}
		defer m.Close()
		d := m.(engine.Decoder)
		a := ask(greedy([]int32{0}, 2))
		if _, encodes := m.(*encoder); encodes {
			a = ask(&serval.Encode{List: [][]int32{{0, 0}}})
		}
		if err := d.Admit(&a.call); err != nil {
			return // a context of one token
		}
		for live := 1; live > 0; {
			if live, err = d.Step(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestSettings(t *testing.T) {
	dir := written(t, small.write())
	for field, s := range map[string]serval.ModelSettings{
		"options.kv":      {Options: map[string]string{"kv": "shared"}},
		"text.slots":      {Text: &serval.TextSettings{Slots: 1000}},
		"text.cache":      {Text: &serval.TextSettings{Context: 512, Cache: 256}},
		"text.adapters.x": {Text: &serval.TextSettings{Adapters: map[string]string{"x": "x.gguf"}}},
	} {
		_, err := New().Open(t.Context(), engine.Spec{Name: "m", Dir: dir, Settings: s, Threads: 1})
		if err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: %v", field, err)
		}
	}
	p, err := New().Plan(engine.Spec{Name: "m", Dir: dir, Settings: serval.ModelSettings{Text: &serval.TextSettings{Slots: 4}}})
	if err != nil || p.Context != 512 || p.Slots != 4 || p.Cache != 4*slotCells || p.Total <= p.Parts[1].Bytes || p.Parts[1].Bytes != int64(p.Cache)*2*32*2 {
		t.Errorf("%+v, %v", p, err)
	}
	if p, err := makePlan(&shape{layers: 30, kvHeads: 3, head: 64, width: 576, inner: 1536, heads: 9, vocab: 49152, trained: 1 << 20}, &serval.ModelSettings{}, 2, 2<<30); err != nil || !p.fits || p.context >= 1<<20 || len(p.advice) == 0 {
		t.Errorf("a context that the memory does not have: %+v, %v", p, err)
	}
}

// Scores are counted: thousands of heads that share one, in a file of some megabytes, would else be the end of the process.
func TestScoresArePlanned(t *testing.T) {
	x := &shape{layers: 1, kvHeads: 1, head: 32, width: 32, inner: 32, heads: 4096, vocab: 320, trained: 1 << 22}
	p, err := makePlan(x, &serval.ModelSettings{Text: &serval.TextSettings{Context: 1 << 22, Slots: 1}}, 2, 16<<30)
	if err != nil || p.fits || p.compute < 2*4096*4<<22 {
		t.Errorf("%+v, %v", p, err)
	}
	if p, err = makePlan(x, &serval.ModelSettings{}, 2, 16<<30); err != nil || !p.fits || p.context >= 1<<22 || p.compute < 2*4096*4*int64(p.context) {
		t.Errorf("%+v, %v", p, err)
	}
}

func TestDetect(t *testing.T) {
	for name, want := range map[string]engine.Rank{"x.gguf": engine.OnlyIfAsked, "x-00001-of-00002.gguf": engine.OnlyIfAsked, "x-00002-of-00002.gguf": engine.NotMine, "x.onnx": engine.NotMine, "mmproj-x.gguf": engine.NotMine} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, name), []byte("GGUF\x03\x00\x00\x00"), 0o600); err != nil {
			t.Fatal(err)
		}
		if rank, err := New().Detect(os.DirFS(dir)); rank != want || (err == nil) != (want == engine.OnlyIfAsked) {
			t.Errorf("%s: %v, %v", name, rank, err)
		}
	}
}

// A file that is cut short while its model is loaded ends answers with an error, not the process.
func TestCutWhileServed(t *testing.T) {
	dir := written(t, small.write())
	d := ours(t, dir, serval.TextSettings{Context: 64, Slots: 1})
	if err := os.Truncate(filepath.Join(dir, "model.gguf"), 1000); err != nil {
		t.Fatal(err)
	}
	a := ask(greedy(someTokens(5, 1), 3))
	if err := d.Admit(&a.call); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Step(t.Context()); err == nil || !strings.Contains(err.Error(), "was the model's file changed?") || !a.ended || a.err == nil {
		t.Errorf("%v; %v", err, a.err)
	}
}

// What only engine/llama does is refused where it is asked for, not left out.
func TestSettingsRefused(t *testing.T) {
	dir := smol(t)
	for field, s := range map[string]serval.ModelSettings{
		"text.adapters.a": {Text: &serval.TextSettings{Adapters: map[string]string{"a": "a.gguf"}}},
		"options.kv":      {Options: map[string]string{"kv": "shared"}},
	} {
		_, err := New().Open(t.Context(), engine.Spec{Name: "m", Dir: dir, Settings: s, Threads: 1})
		if e := serval.AsError(err); err == nil || e.Code != serval.InvalidArgument || e.Param != field {
			t.Errorf("%s: %v", field, err)
		}
	}
}

// The plan says what the weights take once they are loaded: of an embedding that is no output nothing.
func TestPlannedWeights(t *testing.T) {
	for name, y := range map[string]tiny{
		"tied":            {kind: gguf.Q8_0, heads: 2, kvHeads: 1, head: 32, inner: 96, layer: 2},
		"own output":      {kind: gguf.Q4_1, heads: 2, kvHeads: 1, head: 32, inner: 96, layer: 2, untied: true},
		"odd rows, qwen2": {arch: "qwen2", kind: gguf.F16, heads: 2, kvHeads: 1, head: 32, inner: 96, layer: 1, untied: true},
	} {
		d := ours(t, written(t, y.write()), serval.TextSettings{Context: 64, Slots: 1})
		if d.plan.weights != d.arena.Used() || d.plan.weights == 0 {
			t.Errorf("%s: %d bytes of weights are planned, and %d taken", name, d.plan.weights, d.arena.Used())
		}
	}
}

// A load whose caller is gone ends, and one whose file was cut short after its header was read says where.
func TestLoadStops(t *testing.T) {
	dir := written(t, small.write())
	spec := engine.Spec{Name: "m", Dir: dir, Threads: 2}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if m, err := New().Open(ctx, spec); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, %v", m, err)
	}
	f, err := openFile(&spec)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	last := f.Tensor("blk.0.ffn_down.weight")
	if err := os.Truncate(f.Paths[0], last.Offset+100); err != nil {
		t.Fatal(err)
	}
	if _, err = open(t.Context(), source{File: f}, &spec); err == nil || !strings.Contains(err.Error(), "blk.0.ffn_down.weight at byte") {
		t.Errorf("a file that was cut short: %v", err)
	}
}
