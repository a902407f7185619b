package gguf

import (
	"math"
	"path/filepath"
	"regexp"
	"testing"

	"serval"
	"serval/engine/gguf/kernel"
	"serval/llm/gguf"
	"serval/llm/quantize"
)

// Files of every type that are written here are loaded by llama.cpp, and both engines say nearly the same of them: near to what
// they say of the floats.
func TestQuantized(t *testing.T) {
	y := tiny{kind: gguf.F32, heads: 4, kvHeads: 2, head: 64, inner: 512, layer: 3, untied: true}
	source, err := gguf.Open(filepath.Join(written(t, y.write()), "model.gguf"))
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	settings := serval.TextSettings{Context: 256, Slots: 2, Cache: 512}
	in := greedy(someTokens(60, 1), 0)
	in.PromptLogprobs = tinyVocab
	exact := ask(in)
	run(t, ours(t, filepath.Dir(source.Paths[0]), settings), exact)
	for _, r := range quantize.Recipes() {
		t.Run(r.Name, func(t *testing.T) {
			dir := t.TempDir()
			job, err := quantize.Plan(source, quantize.Options{Recipe: r, Threads: 2, Requantize: true, Decode: kernel.Dequantize}) // its embeddings are Q8_0
			if err != nil {
				t.Fatal(err)
			}
			if err := job.Save(t.Context(), gguf.Saving{Path: filepath.Join(dir, "model.gguf")}); err != nil {
				t.Fatal(err)
			}
			mine, other := ask(in), ask(in)
			run(t, ours(t, dir, settings), mine)
			run(t, theirs(t, dir, settings, 1), other)
			between, off := meanApart(mine, other), meanApart(mine, exact)
			t.Logf("%.4f between the engines, %.4f from the floats", between, off)
			most := map[string]float64{"4": 0.4, "5": 0.2, "6": 0.1, "8": 0.04, "16": 0.01, "32": 0.001}[bits.FindString(r.Name)]
			if !(between < 0.05 && off < most) {
				t.Errorf("that is too much; from the floats at most %g", most)
			}
		})
	}
}

// bits finds those of a weight in a type's name.
var bits = regexp.MustCompile(`\d+`)

// meanApart is the mean difference of the log-probabilities of all tokens.
func meanApart(a, b *answer) float64 {
	sum, n := 0.0, 0.0
	for i := range a.prompt {
		other := make([]float32, tinyVocab)
		for _, o := range b.prompt[i].Top {
			other[o.ID] = o.Logprob
		}
		for _, o := range a.prompt[i].Top {
			sum, n = sum+math.Abs(float64(o.Logprob-other[o.ID])), n+1
		}
	}
	return sum / n
}
