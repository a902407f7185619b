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

// Tiny models of every architecture, converted from what transformers saves, give transformers' logits.
func TestConverted(t *testing.T) {
	for _, name := range []string{"llama", "smollm", "mistral", "qwen2", "qwen3", "gemma2", "gemma3", "pieces"} {
		t.Run(name, func(t *testing.T) {
			from, raw := testkit.TinyModel(t, name, 1)
			var golden struct {
				Tokens []int32
				Logits [][]float64 // by position, of every so many-th token
			}
			if err := json.Unmarshal(raw, &golden); err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			vocab := convertTo(t, from, filepath.Join(dir, "model.gguf"))
			in := greedy(golden.Tokens, 0)
			in.PromptLogprobs = vocab
			a := ask(in)
			run(t, ours(t, dir, serval.TextSettings{Context: 64, Slots: 1, Cache: 64}), a)
			step, worst, n := vocab/16, 0.0, 0
			for pos := 1; pos < len(in.Tokens); pos++ {
				got := make([]float64, vocab)
				for _, o := range a.prompt[pos].Top {
					got[o.ID] = float64(o.Logprob)
				}
				for i, want := range golden.Logits[pos-1] {
					// Log-probabilities are logits but for a number that all of a position share.
					worst = max(worst, math.Abs(got[i*step]-got[0]-(want-golden.Logits[pos-1][0])))
					n++
				}
			}
			t.Logf("%.5f apart at most, of %d", worst, n)
			if !(worst < 0.02) || n < 19*16 {
				t.Error("that is too much")
			}
		})
	}
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
