package llama

import (
	"slices"
	"testing"

	"serval"
	"serval/internal/testkit"
	"serval/llm/vocab"
)

var options = vocab.Options{Around: true, Special: true}

// Alone and in a batch of 16, the answers are llama.cpp's own.
func TestGreedyEqualsLlama(t *testing.T) {
	const limit = 6
	var want [][]int32
	eachCache(t, smol(t), nil, func(t *testing.T, d *decoder) {
		list := prompts(d, 16)
		if want == nil {
			for _, p := range list {
				want = append(want, reference(t, d, p, limit))
			}
		}
		var answers []*answer
		for i, p := range list {
			if i%5 == 0 {
				a := ask(greedy(p, limit))
				run(t, d, a)
				if got := a.ids(); !slices.Equal(got, want[i]) {
					t.Errorf("prompt %d alone: %v, llama.cpp says %v", i, got, want[i])
				}
				d.clearCache()
			}
			answers = append(answers, ask(greedy(p, limit)))
		}
		run(t, d, answers...)
		for i, a := range answers {
			if got := a.ids(); !slices.Equal(got, want[i]) {
				t.Errorf("prompt %d in a batch: %v, llama.cpp says %v", i, got, want[i])
			}
			if a.usage.Prompt != int64(len(list[i])) || a.usage.Completion != int64(len(want[i])) {
				t.Errorf("prompt %d: usage %+v, expected %d and %d", i, a.usage, len(list[i]), len(want[i]))
			}
		}
	})
}

// Other weights, other architectures: Q8_0 is equal too; of K-quants llama.cpp's own batches differ, so the first difference
// must be a near tie.
func TestGreedyOfOtherFiles(t *testing.T) {
	for _, c := range []struct {
		name, path string
		gap        float32
	}{
		{"Q8_0", derive(t, "q8", ftypeQ8_0, nil), 0},
		{"Gemma 3 Q4_K_M", testkit.GGUF(t, "gemma3.gguf"), 0.25},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := openKV(t, "", c.path, &serval.TextSettings{Context: 512})
			list := prompts(d, 6)
			var answers []*answer
			for _, p := range list {
				in := greedy(p, 6)
				in.Logprobs = 2
				answers = append(answers, ask(in))
			}
			run(t, d, answers...)
			for i, a := range answers {
				want := reference(t, d, list[i], 6)
				for j, tok := range a.tokens {
					if tok.ID == want[j] {
						continue
					}
					if gap := tok.Top[0].Logprob - tok.Top[1].Logprob; gap >= c.gap || tok.Top[1].ID != want[j] {
						t.Errorf("prompt %d, token %d: %d, llama.cpp says %d; gap %g", i, j, tok.ID, want[j], gap)
					}
					break
				}
			}
		})
	}
}

// Prompts that begin alike are equal to llama.cpp's own with that beginning from the cache, also where short ones and long ones,
// which are computed by different kernels, come in turns.
func TestShortAndLongBeginAlike(t *testing.T) {
	d := openKV(t, "streams", smol(t), &serval.TextSettings{Context: 512})
	const limit = 6
	var list, want [][]int32
	for _, ask := range []string{
		"What is glass?", "Give me a title for a book on prime numbers, and then a summary of its first chapter, in which the main character goes on a journey through several countries and learns what counts.",
		"Is bread expensive?", "List three facts about the moon and explain each of them in one short sentence that a child of ten would understand without any help from a teacher or a parent.",
	} {
		p := d.words.Encode(nil, "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n<|im_start|>user\n"+ask+"<|im_end|>\n<|im_start|>assistant\n", options)
		list = append(list, p)
		want = append(want, reference(t, d, p, limit))
	}
	cached := int64(0)
	for range 2 {
		for i, p := range list {
			a := ask(greedy(p, limit))
			run(t, d, a)
			cached += a.usage.Cached
			if !slices.Equal(a.ids(), want[i]) {
				t.Errorf("prompt %d of %d tokens: %v, llama.cpp says %v", i, len(p), a.ids(), want[i])
			}
		}
	}
	if cached < 150 {
		t.Errorf("%d tokens came from the cache", cached)
	}
}
