package sample

import (
	"math"

	"serval"
)

// never is the log-probability told of a token that cannot come, as OpenAI does: JSON has no infinity.
const never = -9999

// Logprobs tells the natural logarithm of a token's probability, of the raw logits: before bias, penalties, mask and
// temperature; and those of the top most likely tokens, most likely first, lower ids first among equals. logits is not changed.
// Numbers are at least -9999.
func Logprobs(logits []float32, id int32, top int) serval.Token {
	t := serval.Token{ID: id, Logprob: never}
	norm, ok := logSum(logits)
	if !ok {
		return t
	}
	if id >= 0 && int(id) < len(logits) {
		t.Logprob = below(logits[id], norm)
	}
	if top = min(top, len(logits)); top > 0 {
		t.Top = largest(logits, top)
		for i := range t.Top {
			t.Top[i].Logprob = below(t.Top[i].Logprob, norm)
		}
	}
	return t
}

// logSum is the logarithm of the sum of the exponentials; not ok where nothing is finite.
func logSum(logits []float32) (float64, bool) {
	at := Argmax(logits)
	if at < 0 || math.IsInf(float64(logits[at]), 1) {
		return 0, false
	}
	most := float64(logits[at])
	var sum float64
	for _, l := range logits {
		if x := float64(l) - most; x >= least {
			sum += exp(x)
		}
	}
	return most + math.Log(sum), true
}

func below(l float32, norm float64) float32 {
	if p := float64(l) - norm; p > never {
		return float32(p)
	}
	return never
}

// largest are the n largest logits, in order; fewer where others are NaN or -Inf.
func largest(logits []float32, n int) []serval.Token {
	out := make([]serval.Token, 0, n)
	bar := float32(math.Inf(-1)) // what is not above it is not among them
	for i, l := range logits {
		if !(l > bar) {
			continue
		}
		if len(out) < n {
			out = append(out, serval.Token{})
		}
		at := len(out) - 1
		for ; at > 0 && out[at-1].Logprob < l; at-- {
			out[at] = out[at-1]
		}
		out[at] = serval.Token{ID: int32(i), Logprob: l}
		if len(out) == n {
			bar = out[n-1].Logprob
		}
	}
	return out
}
