package gguf

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"testing"

	"serval"
	"serval/engine"
	"serval/engine/gguf/kernel"
	"serval/llm/gguf"
)

// toldAll asks a model for the log-probabilities of every token after each of a text's, or of the first few.
func toldAll(t *testing.T, d engine.Decoder, tokens []int32, top int) []serval.Token {
	t.Helper()
	in := greedy(tokens, 0)
	in.PromptLogprobs = top
	a := ask(in)
	run(t, d, a)
	return a.prompt
}

// With weights and activations that are not rounded only the cache is: what it loses is no more than what llama.cpp's own does.
func TestTinyStores(t *testing.T) {
	for name, y := range map[string]tiny{
		"llama":  {kind: gguf.F32, heads: 4, kvHeads: 2, head: 32, inner: 192, layer: 2, untied: true},
		"qwen2":  {arch: "qwen2", kind: gguf.F32, heads: 4, kvHeads: 2, head: 32, inner: 192, layer: 2, untied: true},
		"qwen3":  {arch: "qwen3", kind: gguf.F32, heads: 4, kvHeads: 2, head: 64, wide: 160, inner: 192, layer: 2, untied: true},
		"gemma2": {arch: "gemma2", kind: gguf.F32, heads: 4, kvHeads: 2, head: 64, wide: 160, inner: 192, layer: 3, window: 20},
		"gemma3": {arch: "gemma3", kind: gguf.F32, heads: 4, kvHeads: 2, head: 64, wide: 160, inner: 192, layer: 6, window: 20, untied: true},
	} {
		t.Run(name, func(t *testing.T) {
			dir, text, tokens := written(t, y.write()), serval.TextSettings{Context: 256, Slots: 2, Cache: 512}, someTokens(80, 1)
			var want [][]float64
			off := func(list []serval.Token) (sum float64) {
				n := 0.0
				for i := 1; i < len(tokens); i++ {
					for _, o := range list[i].Top {
						sum += math.Abs(float64(o.Logprob) - logprob(want[i-1], o.ID))
						n++
					}
				}
				return sum / n
			}
			ownF16 := 0.0
			for _, kind := range []string{"f16", "bf16", "q8_0"} {
				d := storing(t, dir, text, kind)
				if want == nil {
					want = (&exact{d.shape, d.f, t}).logits(tokens)
				}
				own := off(toldAll(t, d, tokens, tinyVocab))
				their := off(toldAll(t, openedAs(t, libllama(t), dir, stores(text, kind), 1), tokens, tinyVocab))
				t.Logf("%s: %.5f from the exact in the mean, llama.cpp %.5f", kind, own, their)
				if own > 1.3*their+0.0005 {
					t.Errorf("%s: that is too much", kind)
				}
				if kind == "f16" {
					ownF16 = own
				} else if own < 1.01*ownF16 { // it would be that the option does nothing
					t.Errorf("%s: %.6f from the exact, f16 %.6f", kind, own, ownF16)
				}
			}
		})
	}
}

// SmolLM2's log-probabilities move by bf16 and Q8_0 about as far as llama.cpp's do by Q8_0, and as its and ours are apart: activations are
// int8, whose rounding turns the last bit of a sum into a step. (docs/decisions/0017 has what F32 weights lose, over 2,295 tokens.)
func TestStores(t *testing.T) {
	const n = 160
	dir, settings := smol(t), serval.TextSettings{Context: 512, Slots: 2, Cache: 512}
	their := func(kind string, tokens []int32) []serval.Token {
		return toldAll(t, openedAs(t, libllama(t), dir, stores(settings, kind), 2), tokens, 1)
	}
	d := storing(t, dir, settings, "f16")
	tokens := text(t, d, n)
	// apart is what tokens are off in the mean, and the loss of log-perplexity.
	apart := func(a, b []serval.Token) (mean, lost float64) {
		for i := 1; i < n; i++ {
			d := float64(a[i].Logprob - b[i].Logprob)
			mean, lost = mean+math.Abs(d), lost+d
		}
		return mean / (n - 1), lost / (n - 1)
	}
	own, other := toldAll(t, d, tokens, 1), their("f16", tokens)
	between, _ := apart(own, other)
	theirs, _ := apart(other, their("q8_0", tokens))
	for _, kind := range []string{"bf16", "q8_0"} {
		mean, lost := apart(own, toldAll(t, storing(t, dir, settings, kind), tokens, 1))
		t.Logf("%s: %.4f from f16 in the mean, perplexity %+.2f %%; llama.cpp's q8_0 is %.4f from its f16, and its f16 %.4f from ours", kind, mean, 100*math.Expm1(lost), theirs, between)
		if mean == 0 || mean > 1.5*max(theirs, between) || math.Abs(lost) > 0.02 {
			t.Errorf("%s: that is too much, or nothing", kind)
		}
	}
}

// Nobody is given another salt's cells of 8 bits, and what two have in common is never written: the one who goes on gets a copy.
func TestSharedStore(t *testing.T) {
	for _, kind := range []string{"bf16", "q8_0"} {
		t.Run(kind, func(t *testing.T) {
			d := storing(t, written(t, small.write()), serval.TextSettings{Context: 512, Slots: 8, Cache: 4096}, kind)
			begin := someTokens(75, 1) // two blocks, and 11 tokens of a third
			asking := func(i int, salt string) *answer {
				in := greedy(slices.Concat(begin, someTokens(3+i, 100+i)), 40)
				in.Logprobs, in.Sampling.IgnoreEnd, in.Salt = 3, true, salt
				return ask(in)
			}
			var alone, list []*answer
			for i := range 6 {
				a := asking(i, "")
				d.clearCache()
				run(t, d, a)
				alone, list = append(alone, a), append(list, asking(i, ""))
			}
			d.clearCache()
			run(t, d, asking(9, ""))
			before := slices.Clone(d.net.kv)
			kept := map[int32]bool{}
			for b := range d.cache.refs {
				if d.cache.number[b] != 0 {
					kept[int32(b)] = true
				}
			}
			run(t, d, list...)
			size := d.net.blockSize()
			for b := range kept {
				if at := int(b) * size; !slices.Equal(before[at:at+size], d.net.kv[at:at+size]) {
					t.Errorf("block %d, which was shared, was written", b)
				}
			}
			for i, a := range list {
				if a.usage.Cached < int64(len(begin)) || !equal(a, alone[i]) {
					t.Errorf("answer %d, %d tokens cached, is another with a shared beginning", i, a.usage.Cached)
				}
			}
			other := asking(0, "another tenant")
			run(t, d, other)
			if other.usage.Cached != 0 || !equal(other, alone[0]) {
				t.Errorf("another salt: %d tokens cached", other.usage.Cached)
			}
		})
	}
}

// The plan counts what the kind takes, it is what is allocated, and a wrong word is named.
func TestStorePlan(t *testing.T) {
	dir := written(t, small.write())
	for kind, bytes := range map[string]int64{"": 4 * 32, "f16": 4 * 32, "bf16": 4 * 32, "q8_0": 2 * 34} { // of a head of 32: a key and a value
		s := serval.ModelSettings{Text: &serval.TextSettings{Context: 512, Slots: 2, Cache: 1024}}
		if kind != "" {
			s.Options = map[string]string{"kv_type": kind}
		}
		p, err := New().Plan(engine.Spec{Name: "m", Dir: dir, Settings: s, Threads: 1})
		if err != nil {
			t.Fatal(err)
		}
		if p.Parts[1].Bytes != 1024*bytes || !strings.Contains(p.Parts[1].Note, cmp.Or(kind, "f16")) {
			t.Errorf("%q: %+v", kind, p.Parts[1])
		}
		d := openedAs(t, New(), dir, s, 1).(*decoder)
		if n := int64(2 * len(d.net.kv)); n != 1024*bytes || d.plan.cache != n {
			t.Errorf("%q: the cache has %d bytes, planned were %d", kind, n, d.plan.cache)
		}
	}
	for _, word := range []string{"q4_0", "q8", "F16"} {
		_, err := New().Open(t.Context(), engine.Spec{Name: "m", Dir: dir, Settings: serval.ModelSettings{Options: map[string]string{"kv_type": word}}, Threads: 1})
		if e := serval.AsError(err); err == nil || e.Code != serval.InvalidArgument || e.Param != "options.kv_type" || !strings.Contains(err.Error(), "use f16, bf16 or q8_0") {
			t.Errorf("%s: %v", word, err)
		}
	}
	if !New().Knows("kv_type") || New().Knows("kv") {
		t.Error("it knows other options")
	}
	vectors := serval.ModelSettings{Options: map[string]string{"kv_type": "q8_0"}}
	if p, err := New().Plan(engine.Spec{Name: "m", Dir: written(t, smallBert.write()), Settings: vectors, Threads: 1}); err != nil || !strings.Contains(strings.Join(p.Advice, " "), "options.kv_type has no effect") {
		t.Errorf("an encoder, which engine llama takes with the option: %+v, %v", p, err)
	}
	x := &shape{layers: 30, kvHeads: 3, head: 64, width: 576, inner: 1536, heads: 9, vocab: 49152, trained: 8192}
	said := func(kind string, free int64) string {
		s := stores(serval.TextSettings{Cache: 8192, Context: 8192}, kind)
		p, err := makePlan(x, &s, 2, free)
		if err != nil {
			t.Fatal(err)
		}
		if e := p.err("m"); e != nil {
			return e.Error()
		}
		return "fits"
	}
	full, _ := makePlan(x, &serval.ModelSettings{Text: &serval.TextSettings{Cache: 8192, Context: 8192}}, 2, 0)
	if free := full.total - full.cache/4; !strings.Contains(said("f16", free), "options.kv_type to q8_0") || said("q8_0", free) != "fits" {
		t.Errorf("f16: %s; q8_0: %s", said("f16", free), said("q8_0", free))
	}
	if text := said("q8_0", full.total/4); strings.Contains(text, "kv_type") {
		t.Error(text)
	}
	if kernel.StoreQ8.Bytes(64)*64 != kernel.StoreF16.Bytes(64)*34 {
		t.Error("q8_0 is not 34 of 64 bytes")
	}
}
