package gguf

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"serval"
	"serval/llm/gguf"
)

// file is a GGUF file that is written.
type file struct {
	keys, tensors int
	meta, dir     bytes.Buffer
	data          bytes.Buffer
}

func (f *file) string(b *bytes.Buffer, s string) {
	_ = binary.Write(b, binary.LittleEndian, uint64(len(s)))
	b.WriteString(s)
}

func (f *file) put(key string, kind gguf.Kind, values ...any) *file {
	f.keys++
	f.string(&f.meta, key)
	_ = binary.Write(&f.meta, binary.LittleEndian, kind)
	for _, v := range values {
		if s, ok := v.(string); ok {
			f.string(&f.meta, s)
		} else {
			_ = binary.Write(&f.meta, binary.LittleEndian, v)
		}
	}
	return f
}

func (f *file) strings(key string, list []string) {
	f.put(key, gguf.Array, uint32(gguf.String), uint64(len(list)))
	for _, s := range list {
		f.string(&f.meta, s)
	}
}

func (f *file) tensor(name string, kind gguf.Type, cols, rows int, data []byte) {
	f.tensors++
	f.string(&f.dir, name)
	if rows > 1 {
		_ = binary.Write(&f.dir, binary.LittleEndian, []uint64{uint64(cols), uint64(rows)}[:0])
		_ = binary.Write(&f.dir, binary.LittleEndian, uint32(2))
		_ = binary.Write(&f.dir, binary.LittleEndian, []uint64{uint64(cols), uint64(rows)})
	} else {
		_ = binary.Write(&f.dir, binary.LittleEndian, uint32(1))
		_ = binary.Write(&f.dir, binary.LittleEndian, uint64(cols))
	}
	_ = binary.Write(&f.dir, binary.LittleEndian, kind)
	for f.data.Len()%32 != 0 {
		f.data.WriteByte(0)
	}
	_ = binary.Write(&f.dir, binary.LittleEndian, uint64(f.data.Len()))
	f.data.Write(data)
}

// tokenizer has tinyVocab words.
func (f *file) tokenizer() {
	f.put("tokenizer.ggml.model", gguf.String, "gpt2").put("tokenizer.ggml.pre", gguf.String, "gpt-2")
	var tokens []string
	var types []int32
	for i := range tinyVocab {
		tokens, types = append(tokens, "t"+string(rune('a'+i%26))+strings.Repeat("x", i/26)), append(types, 1)
	}
	f.strings("tokenizer.ggml.tokens", tokens)
	f.put("tokenizer.ggml.token_type", gguf.Array, uint32(gguf.Int32), uint64(len(types)), types)
	f.strings("tokenizer.ggml.merges", []string{"t a"})
	f.put("tokenizer.ggml.bos_token_id", gguf.Uint32, uint32(0)).put("tokenizer.ggml.eos_token_id", gguf.Uint32, uint32(1))
}

func (f *file) bytes() []byte {
	var out bytes.Buffer
	out.WriteString("GGUF")
	_ = binary.Write(&out, binary.LittleEndian, uint32(3))
	_ = binary.Write(&out, binary.LittleEndian, []uint64{uint64(f.tensors), uint64(f.keys)})
	out.Write(f.meta.Bytes())
	out.Write(f.dir.Bytes())
	for out.Len()%32 != 0 {
		out.WriteByte(0)
	}
	out.Write(f.data.Bytes())
	for out.Len()%32 != 0 {
		out.WriteByte(0)
	}
	return out.Bytes()
}

// ones are a norm's weights, about 1.
func (f *file) ones(r *rand.Rand, name string, n int) {
	var data []byte
	for range n {
		data = binary.LittleEndian.AppendUint32(data, math.Float32bits(float32(0.8+0.4*r.Float64())))
	}
	f.tensor(name, gguf.F32, n, 1, data)
}

// random is a tensor's data: blocks with random integers and scales that make weights of about 1/sqrt(cols).
func random(r *rand.Rand, kind gguf.Type, cols, rows int) []byte {
	elements, size := kind.Block()
	var out []byte
	half := func(v float64) {
		bits := math.Float32bits(float32(v))
		out = binary.LittleEndian.AppendUint16(out, uint16(bits>>16&0x8000|(bits>>23&0xff-112)<<10|bits>>13&0x3ff))
	}
	spread := 1 / math.Sqrt(float64(cols))
	for range cols * rows / int(elements) {
		scale := spread * (0.5 + r.Float64())
		switch kind {
		case gguf.F32:
			out = binary.LittleEndian.AppendUint32(out, math.Float32bits(float32(scale*r.NormFloat64())))
			continue
		case gguf.F16:
			half(scale * (0.5 + r.Float64()) * float64(2*r.IntN(2)-1))
			continue
		case gguf.Q8_0:
			half(scale / 70)
		case gguf.Q4_0:
			half(scale / 4)
		case gguf.Q4_1:
			half(scale / 4)
			half(-scale * 15 / 8)
		}
		for end := len(out) - len(out)%int(size) + int(size); len(out) < end; {
			out = append(out, byte(r.Uint32()))
		}
	}
	return out
}

// net of a tiny model.
type tiny struct {
	arch               string // "": llama
	wide               int    // of the residual stream; 0: what the heads have together
	kind               gguf.Type
	heads, kvHeads     int
	head, inner, layer int
	untied             bool
	window             int     // of local layers
	scaling            float64 // of rope, linear; 0: none
	freqs              bool    // a tensor of factors
}

const tinyVocab = 320

// write makes the file.
func (y tiny) write() []byte {
	r := rand.New(rand.NewPCG(1, uint64(y.kind)))
	f := &file{}
	all := y.heads * y.head
	width := all
	if y.wide > 0 {
		width = y.wide
	}
	arch := y.arch
	if arch == "" {
		arch = "llama"
	}
	has, _ := traitsOf(arch)
	f.put("general.architecture", gguf.String, arch)
	if y.wide > 0 {
		f.put(arch+".attention.key_length", gguf.Uint32, uint32(y.head)).put(arch+".attention.value_length", gguf.Uint32, uint32(y.head))
	}
	for key, n := range map[string]int{"block_count": y.layer, "context_length": 512, "embedding_length": width, "feed_forward_length": y.inner,
		"attention.head_count": y.heads, "attention.head_count_kv": y.kvHeads, "vocab_size": tinyVocab, "rope.dimension_count": y.head} {
		f.put(arch+"."+key, gguf.Uint32, uint32(n))
	}
	f.put(arch+".attention.layer_norm_rms_epsilon", gguf.Float32, float32(1e-5)).put(arch+".rope.freq_base", gguf.Float32, float32(10000))
	if y.window > 0 {
		f.put(arch+".attention.sliding_window", gguf.Uint32, uint32(y.window))
	}
	if y.scaling > 0 {
		f.put(arch+".rope.scaling.type", gguf.String, "linear").put(arch+".rope.scaling.factor", gguf.Float32, float32(y.scaling))
	}
	f.tokenizer()

	matrix := func(name string, kind gguf.Type, cols, rows int) {
		f.tensor(name, kind, cols, rows, random(r, kind, cols, rows))
	}
	ones := func(name string, n int) { f.ones(r, name, n) }
	matrix(embedName, gguf.Q8_0, width, tinyVocab)
	ones(outNormName, width)
	if y.untied {
		matrix(outName, y.kind, width, tinyVocab)
	}
	if y.freqs {
		ones(freqsName, y.head/2)
	}
	for i := range y.layer {
		y.writeLayer(i, width, has, matrix, ones)
	}
	return f.bytes()
}

// writeLayer writes the i-th layer's tensors.
func (y tiny) writeLayer(i, width int, has traits, matrix func(name string, kind gguf.Type, cols, rows int), ones func(name string, n int)) {
	all := y.heads * y.head
	of := func(name string) string { return layerName(i, name) }
	ones(of("attn_norm"), width)
	ones(of("ffn_norm"), width)
	if has.gemma {
		ones(of("post_attention_norm"), width)
		ones(of("post_ffw_norm"), width)
	}
	matrix(of("attn_q"), y.kind, width, all)
	matrix(of("attn_k"), y.kind, width, y.kvHeads*y.head)
	matrix(of("attn_v"), y.kind, width, y.kvHeads*y.head)
	if has.biases {
		matrix(biasName(i, "attn_q"), gguf.F32, all, 1)
		matrix(biasName(i, "attn_k"), gguf.F32, y.kvHeads*y.head, 1)
		matrix(biasName(i, "attn_v"), gguf.F32, y.kvHeads*y.head, 1)
	}
	if has.headNorms {
		ones(of("attn_q_norm"), y.head)
		ones(of("attn_k_norm"), y.head)
	}
	matrix(of("attn_output"), y.kind, all, width)
	matrix(of("ffn_gate"), y.kind, width, y.inner)
	matrix(of("ffn_up"), y.kind, width, y.inner)
	matrix(of("ffn_down"), y.kind, y.inner, width)
}

func written(t testing.TB, raw []byte) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "model.gguf"), raw, 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

func someTokens(n, seed int) []int32 {
	r := rand.New(rand.NewPCG(uint64(seed), 7))
	out := make([]int32, n)
	for i := range out {
		out[i] = int32(2 + r.IntN(tinyVocab-2))
	}
	return out
}

// Models of random weights give llama.cpp's numbers, and the exact ones.
func TestTiny(t *testing.T) {
	for name, y := range map[string]tiny{
		"Q4_1":               {kind: gguf.Q4_1, heads: 4, kvHeads: 2, head: 32, inner: 192, layer: 2},
		"Q4_0, own output":   {kind: gguf.Q4_0, heads: 6, kvHeads: 2, head: 32, inner: 256, layer: 2, untied: true},
		"Q8_0, one head":     {kind: gguf.Q8_0, heads: 2, kvHeads: 1, head: 64, inner: 128, layer: 3, scaling: 2},
		"Q8_0, each its own": {kind: gguf.Q8_0, heads: 4, kvHeads: 4, head: 32, inner: 160, layer: 2, freqs: true},
		"qwen2":              {arch: "qwen2", kind: gguf.Q8_0, heads: 4, kvHeads: 2, head: 32, inner: 192, layer: 2},
		"qwen2, own output":  {arch: "qwen2", kind: gguf.F32, heads: 4, kvHeads: 2, head: 32, inner: 192, layer: 2, untied: true},
		"qwen3":              {arch: "qwen3", kind: gguf.Q8_0, heads: 4, kvHeads: 2, head: 64, wide: 160, inner: 192, layer: 2},
		"qwen3, floats":      {arch: "qwen3", kind: gguf.F32, heads: 4, kvHeads: 2, head: 64, wide: 160, inner: 192, layer: 2, untied: true},
		"gemma3":             {arch: "gemma3", kind: gguf.Q8_0, heads: 4, kvHeads: 1, head: 64, wide: 160, inner: 192, layer: 6, window: 40},
		"gemma3, floats":     {arch: "gemma3", kind: gguf.F32, heads: 4, kvHeads: 2, head: 64, wide: 160, inner: 192, layer: 6, window: 20},
		"gemma3, scaled":     {arch: "gemma3", kind: gguf.F32, heads: 4, kvHeads: 2, head: 64, wide: 160, inner: 192, layer: 7, window: 20, scaling: 8},
		"gemma2":             {arch: "gemma2", kind: gguf.Q8_0, heads: 4, kvHeads: 2, head: 64, wide: 160, inner: 192, layer: 3, window: 40},
		"gemma2, floats":     {arch: "gemma2", kind: gguf.F32, heads: 4, kvHeads: 2, head: 64, wide: 160, inner: 192, layer: 3, window: 20},
		"F16":                {kind: gguf.F16, heads: 4, kvHeads: 2, head: 32, inner: 192, layer: 2},
		"F32":                {kind: gguf.F32, heads: 4, kvHeads: 2, head: 32, inner: 192, layer: 2, untied: true},
	} {
		t.Run(name, func(t *testing.T) {
			dir, settings := written(t, y.write()), serval.TextSettings{Context: 256, Slots: 2, Cache: 512}
			in := greedy(someTokens(80, 1), 0)
			in.PromptLogprobs = tinyVocab
			mine, other := ask(in), ask(in)
			d := ours(t, dir, settings)
			run(t, d, mine)
			run(t, theirs(t, dir, settings, 1), other)
			n, apart, off, theirOff := 0.0, 0.0, 0.0, 0.0
			var want [][]float64
			if y.scaling == 0 && !y.freqs { // which the definition here leaves out
				want = (&exact{d.shape, d.f, t}).logits(in.Tokens)
			}
			for i := 1; i < len(in.Tokens); i++ {
				theirs := make([]float32, tinyVocab)
				for _, o := range other.prompt[i].Top {
					theirs[o.ID] = o.Logprob
				}
				for _, o := range mine.prompt[i].Top {
					apart += math.Abs(float64(o.Logprob - theirs[o.ID]))
					if want != nil {
						x := logprob(want[i-1], o.ID)
						off += math.Abs(float64(o.Logprob) - x)
						theirOff += math.Abs(float64(theirs[o.ID]) - x)
					}
					n++
				}
			}
			t.Logf("%.5f apart in the mean; %.5f from the exact, llama.cpp %.5f", apart/n, off/n, theirOff/n)
			if apart/n > 0.03 || off/n > 0.03 {
				t.Error("that is too much")
			}
		})
	}
}

// A batch changes no bit of an answer, nor do pieces of prompts, nor what is in the cache.
func TestBatchIsNothing(t *testing.T) {
	for _, arch := range []string{"llama", "qwen2", "qwen3", "gemma2", "gemma3"} {
		t.Run(arch, func(t *testing.T) { batchIsNothing(t, arch, "f16") })
	}
	t.Run("llama, bf16", func(t *testing.T) { batchIsNothing(t, "llama", "bf16") })
	t.Run("llama, q8_0", func(t *testing.T) { batchIsNothing(t, "llama", "q8_0") })
	t.Run("gemma3, q8_0", func(t *testing.T) { batchIsNothing(t, "gemma3", "q8_0") })
}

func batchIsNothing(t *testing.T, arch, kind string) {
	y := tiny{arch: arch, kind: gguf.Q4_1, heads: 4, kvHeads: 2, head: 32, inner: 192, layer: 2}
	if has, _ := traitsOf(arch); has.gemma {
		y.window = 50
	}
	dir := written(t, y.write())
	settings := serval.TextSettings{Context: 512, Slots: 16, Cache: 8192}
	d := storing(t, dir, settings, kind)
	ask16 := func() []*answer {
		var list []*answer
		for i := range 16 {
			in := greedy(someTokens(5+i*i, i%5), 20+i) // some begin alike
			in.Logprobs, in.Sampling.IgnoreEnd = 3, true
			if i%3 == 1 {
				in.Sampling.Temperature, in.Sampling.Seed = 1, uint64(i)
			}
			if i%4 == 2 {
				in.PromptLogprobs = 2
			}
			list = append(list, ask(in))
		}
		return list
	}
	alone := ask16()
	for _, a := range alone {
		d.clearCache()
		run(t, d, a)
	}
	same := func(a, b serval.Token) bool {
		return a.ID == b.ID && a.Logprob == b.Logprob && slices.EqualFunc(a.Top, b.Top, func(a, b serval.Token) bool { return a.ID == b.ID && a.Logprob == b.Logprob })
	}
	compare := func(what string, list []*answer) {
		t.Helper()
		for i := range list {
			if !slices.EqualFunc(list[i].tokens, alone[i].tokens, same) || !slices.EqualFunc(list[i].prompt, alone[i].prompt, same) {
				t.Errorf("%s: answer %d is another", what, i)
			}
		}
	}
	for _, chunk := range []int{0, 7, 100} {
		d.chunk = chunk
		d.clearCache()
		list := ask16()
		run(t, d, list...)
		compare("together", list)
		list = ask16()
		slices.Reverse(list)
		run(t, d, list...)
		slices.Reverse(list)
		compare("with what was kept", list)
	}
	// In a cache that is too small for all.
	settings.Cache = 544
	list := ask16()
	run(t, storing(t, dir, settings, kind), list...)
	compare("with little room", list)
}
