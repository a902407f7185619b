package gguf

import (
	"math"
	"os"
	"testing"

	"serval"
)

// text is n tokens of real English: the licence that stands in the repository.
func text(t testing.TB, d *decoder, n int) []int32 {
	t.Helper()
	raw, err := os.ReadFile("../../LICENSE")
	if err != nil {
		t.Fatal(err)
	}
	out := d.words.Encode(nil, string(raw), bare)
	if len(out) < n {
		t.Fatalf("the text has %d tokens", len(out))
	}
	return out[:n]
}

// difference compares the log-probabilities that two decoders give the tokens of a text, and the most likely ones.
func difference(t testing.TB, mine, other []serval.Token) (most, mean, same float64) {
	t.Helper()
	n := 0.0
	for i := range mine {
		if i == 0 {
			continue
		}
		n++
		theirs := map[int32]float32{other[i].ID: other[i].Logprob}
		for _, o := range other[i].Top {
			theirs[o.ID] = o.Logprob
		}
		d := math.Abs(float64(mine[i].Logprob - other[i].Logprob))
		most, mean = max(most, d), mean+d
		if mine[i].Top[0].ID == other[i].Top[0].ID {
			same++
		} else if second, ok := theirs[mine[i].Top[0].ID]; !ok || other[i].Top[0].Logprob-second > 0.5 {
			t.Errorf("position %d: token %d is the most likely, for llama.cpp token %d (%g and %g)", i, mine[i].Top[0].ID, other[i].Top[0].ID, other[i].Top[0].Logprob, second)
		}
	}
	return most, mean / n, same / n
}

// Log-probabilities are llama.cpp's.
func TestLogits(t *testing.T) {
	dir, settings := smol(t), serval.TextSettings{Context: 512, Slots: 2, Cache: 1024}
	d := ours(t, dir, settings)
	in := greedy(text(t, d, 300), 0)
	in.PromptLogprobs = 5
	mine, other := ask(in), ask(in)
	run(t, d, mine)
	run(t, theirs(t, dir, settings), other)
	most, mean, same := difference(t, mine.prompt, other.prompt)
	t.Logf("log-probabilities differ by %.4f at most and %.4f in the mean; %.1f %% agree on the most likely token", most, mean, 100*same)
	if most > 0.5 || mean > 0.05 || same < 0.98 {
		t.Error("that is too much")
	}
}
