package llama

import (
	"slices"
	"testing"

	"serval/llm/vocab"
)

var options = vocab.Options{Around: true, Special: true}

// Alone and in a batch of 16, the answers are llama.cpp's own.
func TestGreedyEqualsLlama(t *testing.T) {
	eachCache(t, smol(t), nil, func(t *testing.T, d *decoder) {
		list := prompts(d, 16)
		var want [][]int32
		for _, p := range list {
			want = append(want, reference(t, d, p, 12))
		}
		var answers []*answer
		for i, p := range list {
			a := ask(greedy(p, 12))
			if i < 4 {
				run(t, d, a)
				if got := a.ids(); !slices.Equal(got, want[i]) {
					t.Errorf("prompt %d alone: %v, llama.cpp says %v", i, got, want[i])
				}
				d.clearCache()
				a = ask(greedy(p, 12))
			}
			answers = append(answers, a)
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
