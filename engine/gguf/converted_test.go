package gguf

import (
	"encoding/json"
	"math"
	"path/filepath"
	"testing"

	"serval"
	"serval/internal/testkit"
	"serval/llm/convert"
	"serval/llm/gguf"
	"serval/llm/quantize"
)

// converted is what transformers computes with a tiny model.
type converted struct {
	Tokens []int32
	Logits [][]float64 // by position, of every so many-th token
	First  []float64   // of BERT: the first token's vector
}

// Tiny models of every architecture, converted from what transformers saves, give transformers' logits, in this engine and in
// llama.cpp.
func TestConverted(t *testing.T) {
	for _, name := range []string{"llama", "smollm", "mistral", "qwen2", "qwen3", "gemma2", "gemma3", "pieces"} {
		t.Run(name, func(t *testing.T) {
			golden, dir, vocab := convertTiny(t, name)
			in := greedy(golden.Tokens, 0)
			in.PromptLogprobs = vocab
			settings := serval.TextSettings{Context: 64, Slots: 1, Cache: 64}
			mine, other := ask(in), ask(in)
			run(t, ours(t, dir, settings), mine)
			run(t, theirs(t, dir, settings, 1), other)
			a, b := golden.apart(t, mine, vocab), golden.apart(t, other, vocab)
			t.Logf("%.5f apart at most, llama.cpp %.5f", a, b)
			if !(a < 0.02 && b < 0.02) {
				t.Error("that is too much")
			}
		})
	}
}

// apart is how far an answer's logits are from transformers' at most.
func (g *converted) apart(t *testing.T, a *answer, vocab int) float64 {
	t.Helper()
	step, worst, n := vocab/16, 0.0, 0
	for pos := 1; pos < len(g.Tokens); pos++ {
		got := make([]float64, vocab)
		for _, o := range a.prompt[pos].Top {
			got[o.ID] = float64(o.Logprob)
		}
		for i, want := range g.Logits[pos-1] {
			// Log-probabilities are logits but for a number that all of a position share.
			worst = max(worst, math.Abs(got[i*step]-got[0]-(want-g.Logits[pos-1][0])))
			n++
		}
	}
	if n < 19*16 {
		t.Errorf("only %d logits", n)
	}
	return worst
}

// A tiny BERT gives transformers' vector in llama.cpp.
func TestConvertedEncoder(t *testing.T) {
	golden, dir, _ := convertTiny(t, "bert")
	a := ask(&serval.Encode{List: [][]int32{golden.Tokens}, Pooling: "cls"})
	run(t, theirs(t, dir, serval.TextSettings{Context: 128, Slots: 1}, 1), a)
	norm, dot := 0.0, 0.0
	for i, v := range a.vector[0] {
		norm += float64(v) * float64(v)
		dot += float64(v) * golden.First[i]
	}
	if cos := dot / math.Sqrt(norm); !(cos > 0.9999) || len(golden.First) != 64 {
		t.Errorf("the cosine between the two vectors is %g", cos)
	}
}

// convertTiny converts a tiny model to a folder of its own, as F32.
func convertTiny(t *testing.T, name string) (golden *converted, dir string, vocab int) {
	t.Helper()
	from, raw := testkit.TinyModel(t, name, 1)
	if err := json.Unmarshal(raw, &golden); err != nil {
		t.Fatal(err)
	}
	dir = t.TempDir()
	return golden, dir, convertTo(t, from, filepath.Join(dir, "model.gguf"))
}

// convertTo converts a folder to a file of F32, and gives the size of its vocabulary.
func convertTo(t *testing.T, dir, path string) int {
	t.Helper()
	r, err := quantize.Named("F32")
	if err != nil {
		t.Fatal(err)
	}
	m, err := convert.Open(convert.Options{Dir: dir, Recipe: &r})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if err := m.Save(t.Context(), gguf.Saving{Path: path}); err != nil {
		t.Fatal(err)
	}
	return m.Tokens
}
