package sample

import (
	"math"
	"math/bits"

	"serval"
)

// greedyBelow is the temperature under which the most likely token is taken, as in vLLM.
const greedyBelow = 1e-5

// Sampler picks the tokens of one sequence. It belongs to one goroutine at a time.
type Sampler struct {
	set      serval.Sampling
	vocab    int
	bias     []serval.TokenBias // one for each token, those of the vocabulary only
	penalty  *penalty           // nil: none
	position uint64             // of the next token in the answer

	// Scratch, grown as needed and kept.
	ids    []int32
	logits []float32
	kept   []candidate
	border []candidate
	blocks []float64
	counts []int32
	masses []float64
}

// New makes the sampler of a sequence whose prompt is given; vocab is how many logits there are. Tokens outside the vocabulary
// are ignored, in the bias and in the prompt; of two biases for one token the last counts. The prompt is not kept.
func New(s serval.Sampling, vocab int, prompt []int32) *Sampler {
	p := &Sampler{set: s, vocab: vocab, bias: mergeBias(s.Bias, vocab)}
	p.set.Bias, p.set.StopTokens = nil, nil
	p.penalty = newPenalty(&p.set, vocab, prompt)
	return p
}

// Greedy says whether the most likely token is always taken, so that no draw is made.
func (p *Sampler) Greedy() bool { return !(p.set.Temperature >= greedyBelow) }

// Plain says that Sample takes the largest of the logits as they are: nothing but Argmax is to be done. An engine may use it
// to leave logits where they are.
func (p *Sampler) Plain() bool { return p.Greedy() && len(p.bias) == 0 && p.penalty == nil }

// Sample picks the next token. logits has the vocabulary's length and is overwritten; allowed has a bit for each token, the
// lowest bit of the first word for token 0, and nil allows all. NaN counts as impossible; of +Inf one is picked. It returns
// -1 where no token is possible: all of them are forbidden, or those allowed have NaN or -Inf.
//
// It does not move on: Accept does, also with another token than this one.
func (p *Sampler) Sample(logits []float32, allowed []uint64) int32 {
	logits = logits[:min(len(logits), p.vocab)]
	for _, b := range p.bias {
		if int(b.Token) < len(logits) {
			logits[b.Token] += b.Bias
		}
	}
	if p.penalty != nil {
		p.penalty.apply(logits)
	}
	if p.Greedy() {
		if allowed == nil {
			return Argmax(logits)
		}
		return argmaxOf(logits, allowed)
	}
	ids := []int32(nil) // token i
	if allowed != nil {
		ids, logits = p.compact(logits, allowed)
	}
	i := p.draw(logits)
	if i >= 0 && ids != nil {
		return ids[i]
	}
	return i
}

// Accept appends a token to the answer.
func (p *Sampler) Accept(id int32) {
	p.position++
	if p.penalty != nil {
		p.penalty.add(id, true)
	}
}

// compact gathers what is allowed: the ids and their logits, in the order of ids.
func (p *Sampler) compact(logits []float32, allowed []uint64) ([]int32, []float32) {
	if cap(p.ids) < len(logits) {
		p.ids, p.logits = make([]int32, len(logits)), make([]float32, len(logits))
	}
	ids, kept := p.ids[:len(logits)], p.logits[:len(logits)]
	n := 0
	for w, word := range allowed {
		base := w * 64
		if base >= len(logits) {
			break
		}
		if left := len(logits) - base; left < 64 {
			word &= 1<<left - 1
		}
		if word == math.MaxUint64 {
			copy(kept[n:], logits[base:base+64])
			for i := range 64 {
				ids[n+i] = int32(base + i)
			}
			n += 64
			continue
		}
		for ; word != 0; word &= word - 1 {
			i := base + bits.TrailingZeros64(word)
			ids[n], kept[n] = int32(i), logits[i]
			n++
		}
	}
	return ids[:n], kept[:n]
}

// draw picks an index of logits at random, or -1.
func (p *Sampler) draw(logits []float32) int32 {
	top := Argmax(logits)
	if top < 0 {
		return -1
	}
	most := logits[top]
	if math.IsInf(float64(most), 1) {
		for i, l := range logits {
			if l == most {
				logits[i] = 0
			} else {
				logits[i] = float32(math.Inf(-1))
			}
		}
		most = 0
	}
	d := scale{most: most, inverse: 1 / float64(p.set.Temperature), least: least}
	if m := float64(p.set.MinP); m > 0 {
		d.least = math.Max(least, math.Log(math.Min(m, 1)))
	}
	u := uniform(p.set.Seed, p.position)
	k, n := p.set.TopK, float64(p.set.TopP)
	if k <= 0 || k >= len(logits) {
		k = 0
	}
	if n >= 1 || n != n {
		n = 1
	}
	if k == 1 || n <= 0 {
		return top
	}
	if k == 0 && n == 1 {
		return p.drawAll(logits, d, u)
	}
	return p.drawTop(logits, d, filter{k: k, p: n, u: u})
}

// mergeBias keeps the last bias of each token of the vocabulary.
func mergeBias(list []serval.TokenBias, vocab int) []serval.TokenBias {
	if len(list) == 0 {
		return nil
	}
	place := make(map[int32]int, min(len(list), vocab))
	out := make([]serval.TokenBias, 0, min(len(list), vocab))
	for _, b := range list {
		if b.Token < 0 || int(b.Token) >= vocab {
			continue
		}
		if i, ok := place[b.Token]; ok {
			out[i] = b
			continue
		}
		place[b.Token] = len(out)
		out = append(out, b)
	}
	return out
}
