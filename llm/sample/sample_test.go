package sample

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"serval"
)

func plain() serval.Sampling {
	return serval.Sampling{Temperature: 1, TopP: 1, RepetitionPenalty: 1, PenaltyWindow: -1}
}

// reference does the documented steps the long way: it sorts everything, and looks at the whole history each time.
func reference(s serval.Sampling, logits []float32, allowed []uint64, prompt, answer []int32) int32 {
	l := slices.Clone(logits)
	bias := map[int32]float32{}
	for _, b := range s.Bias {
		bias[b.Token] = b.Bias
	}
	for id, b := range bias {
		if id >= 0 && int(id) < len(l) {
			l[id] += b
		}
	}
	if s.PenaltyWindow != 0 {
		all := slices.Concat(prompt, answer)
		first := 0
		if s.PenaltyWindow > 0 {
			first = max(0, len(all)-s.PenaltyWindow)
		}
		for id := range l {
			anywhere, said := 0, 0
			for i := first; i < len(all); i++ {
				if all[i] == int32(id) {
					anywhere++
					if i >= len(prompt) {
						said++
					}
				}
			}
			if anywhere > 0 {
				if l[id] > 0 {
					l[id] /= s.RepetitionPenalty
				} else {
					l[id] *= s.RepetitionPenalty
				}
			}
			if said > 0 {
				l[id] -= s.PresencePenalty + s.FrequencyPenalty*float32(said)
			}
		}
	}
	type token struct {
		id int32
		l  float64
		w  float64
	}
	var list []token
	for id, v := range l {
		if v != v || math.IsInf(float64(v), -1) || allowed != nil && allowed[id/64]>>(id%64)&1 == 0 {
			continue
		}
		list = append(list, token{id: int32(id), l: float64(v)})
	}
	if len(list) == 0 {
		return -1
	}
	slices.SortStableFunc(list, func(a, b token) int { return cmp.Compare(b.l, a.l) })
	if s.Temperature < 1e-5 {
		return list[0].id
	}
	for i := range list {
		list[i].w = math.Exp((list[i].l - list[0].l) / float64(s.Temperature))
	}
	if s.MinP > 0 {
		list = slices.DeleteFunc(list, func(t token) bool { return t.w < float64(s.MinP)*(1-1e-12) })
	}
	if s.TopK > 0 {
		list = list[:min(len(list), s.TopK)]
	}
	total := 0.0
	for _, t := range list {
		total += t.w
	}
	if s.TopP < 1 {
		mass := 0.0
		for i, t := range list {
			if mass += t.w; mass >= float64(s.TopP)*total {
				list = list[:i+1]
				break
			}
		}
	}
	slices.SortFunc(list, func(a, b token) int { return cmp.Compare(a.id, b.id) })
	total = 0
	for _, t := range list {
		total += t.w
	}
	rest := uniform(s.Seed, uint64(len(answer))) * total
	for _, t := range list {
		if rest < t.w {
			return t.id
		}
		rest -= t.w
	}
	return list[len(list)-1].id
}

// TestReference compares thousands of sequences with the long way, over random settings.
func TestReference(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for round := range 400 {
		vocab := []int{1, 7, 64, 300, 2000}[r.IntN(5)]
		s := plain()
		s.Seed = r.Uint64()
		s.Temperature = []float32{0, 0.3, 1, 1.7, 50}[r.IntN(5)]
		s.TopP = []float32{1, 0.999, 0.9, 0.5, 0.01}[r.IntN(5)]
		s.TopK = []int{0, 1, 2, 40, 5000}[r.IntN(5)]
		s.MinP = []float32{0, 0, 0.05, 0.5}[r.IntN(4)]
		s.RepetitionPenalty = []float32{1, 1, 1.3, 0.8}[r.IntN(4)]
		s.PresencePenalty = []float32{0, 0, 0.7, -1}[r.IntN(4)]
		s.FrequencyPenalty = []float32{0, 0, 0.4}[r.IntN(3)]
		s.PenaltyWindow = []int{-1, 0, 1, 5, 64}[r.IntN(5)]
		for range r.IntN(5) {
			s.Bias = append(s.Bias, serval.TokenBias{Token: int32(r.IntN(vocab+2) - 1), Bias: float32(r.NormFloat64() * 5)})
		}
		prompt := make([]int32, r.IntN(20))
		for i := range prompt {
			prompt[i] = int32(r.IntN(vocab))
		}
		spread := []float64{0.01, 1, 4, 30}[r.IntN(4)]
		p := New(s, vocab, prompt)
		var answer []int32
		for range 12 {
			logits := make([]float32, vocab)
			for i := range logits {
				logits[i] = float32(r.NormFloat64() * spread)
				switch r.IntN(50) {
				case 0:
					logits[i] = float32(math.NaN())
				case 1:
					logits[i] = float32(math.Inf(-1))
				case 2:
					logits[i] = 1 // ties
				}
			}
			var allowed []uint64
			if r.IntN(2) == 0 {
				allowed = make([]uint64, (vocab+63)/64)
				for i := range allowed {
					allowed[i] = r.Uint64()
					if r.IntN(3) == 0 {
						allowed[i] = []uint64{0, math.MaxUint64}[r.IntN(2)]
					}
				}
			}
			want := reference(s, logits, allowed, prompt, answer)
			if got := p.Sample(slices.Clone(logits), allowed); got != want {
				t.Fatalf("round %d, vocabulary %d, position %d: %d, the reference says %d\n%+v", round, vocab, len(answer), got, want, s)
			}
			if got := p.Sample(logits, allowed); got != want {
				t.Fatalf("round %d: asked a second time: %d, not %d", round, got, want)
			}
			next := want
			if next < 0 || r.IntN(4) == 0 {
				next = int32(r.IntN(vocab)) // another token may be accepted
			}
			p.Accept(next)
			answer = append(answer, next)
		}
	}
}

// TestDistribution draws from a known distribution and compares the counts by chi-squared.
func TestDistribution(t *testing.T) {
	base := []float32{2, 0.5, 1, float32(math.Inf(-1)), 1, -1, 0, float32(math.NaN()), 1.5, -3}
	for name, change := range map[string]func(*serval.Sampling){
		"all":         func(*serval.Sampling) {},
		"cold":        func(s *serval.Sampling) { s.Temperature = 0.5 },
		"hot":         func(s *serval.Sampling) { s.Temperature = 3 },
		"top_k":       func(s *serval.Sampling) { s.TopK = 4 },
		"top_p":       func(s *serval.Sampling) { s.TopP = 0.8 },
		"min_p":       func(s *serval.Sampling) { s.MinP = 0.3 },
		"top_p of k":  func(s *serval.Sampling) { s.TopK, s.TopP = 5, 0.7 },
		"top_p, warm": func(s *serval.Sampling) { s.TopP, s.Temperature = 0.9, 1.5 },
	} {
		s := plain()
		s.Seed = 7
		change(&s)
		const draws = 200_000
		p := New(s, len(base), nil)
		seen := make([]int, len(base))
		for range draws {
			id := p.Sample(slices.Clone(base), nil)
			seen[id]++
			p.Accept(id)
		}
		expected := shares(s, base)
		chi, free := 0.0, -1
		for id, e := range expected {
			if e == 0 {
				if seen[id] > 0 {
					t.Errorf("%s: token %d was drawn %d times, never expected", name, id, seen[id])
				}
				continue
			}
			d := float64(seen[id]) - e*draws
			chi += d * d / (e * draws)
			free++
		}
		// The mean of chi-squared is its degrees of freedom, its variance twice that: five deviations are out of question.
		if limit := float64(free) + 5*math.Sqrt(2*float64(max(free, 1))); chi > limit {
			t.Errorf("%s: chi-squared %.1f, over %.1f: %v of %v", name, chi, limit, seen, expected)
		}
	}
}

// shares are the probabilities by the documented steps.
func shares(s serval.Sampling, logits []float32) []float64 {
	p := make([]float64, len(logits))
	var order []int
	for i, l := range logits {
		if l == l {
			p[i] = math.Exp(float64(l) / float64(s.Temperature))
			order = append(order, i)
		}
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(p[b], p[a]) })
	for i, id := range order {
		if s.TopK > 0 && i >= s.TopK || p[id] < float64(s.MinP)*p[order[0]] {
			p[id] = 0
		}
	}
	total := 0.0
	for _, v := range p {
		total += v
	}
	mass := 0.0
	for _, id := range order {
		if mass >= float64(s.TopP)*total {
			p[id] = 0
		}
		mass += p[id]
	}
	total = 0
	for _, v := range p {
		total += v
	}
	for i := range p {
		p[i] /= total
	}
	return p
}

// TestRepeatable: a draw depends on seed and position only, not on what was drawn before or beside.
func TestRepeatable(t *testing.T) {
	s := plain()
	s.Seed = 99
	logits := func(at int) []float32 {
		r := rand.New(rand.NewPCG(uint64(at), 0))
		l := make([]float32, 500)
		for i := range l {
			l[i] = float32(r.NormFloat64())
		}
		return l
	}
	a, b := New(s, 500, []int32{1}), New(s, 500, []int32{2, 3})
	var first []int32
	for i := range 50 {
		id := a.Sample(logits(i), nil)
		first = append(first, id)
		a.Accept(id)
	}
	for i := range 50 {
		b.Sample(logits(i+1000), nil) // an extra call changes nothing
		if id := b.Sample(logits(i), nil); id != first[i] {
			t.Fatalf("position %d: %d, then %d", i, first[i], id)
		}
		b.Accept(int32(i)) // nor does what was accepted, without penalties
	}
	s.Seed = 100
	c, same := New(s, 500, nil), 0
	for i := range 50 {
		if c.Sample(logits(i), nil) == first[i] {
			same++
		}
		c.Accept(0)
	}
	if same > 10 {
		t.Errorf("another seed draws the same token in %d of 50 places", same)
	}
}

func TestEdges(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	for _, temperature := range []float32{0, 1, nan, inf} {
		for _, topP := range []float32{1, 0.9, 0, nan} {
			s := plain()
			s.Temperature, s.TopP = temperature, topP
			p := New(s, 4, nil)
			what := fmt.Sprintf("temperature %v, top_p %v", temperature, topP)
			if got := p.Sample([]float32{nan, -inf, nan, -inf}, nil); got != -1 {
				t.Errorf("%s: nothing possible: %d", what, got)
			}
			if got := p.Sample([]float32{1, 2, 3, 4}, []uint64{0}); got != -1 {
				t.Errorf("%s: nothing allowed: %d", what, got)
			}
			if got := p.Sample([]float32{1, 2, nan, 4}, []uint64{0b100}); got != -1 {
				t.Errorf("%s: only NaN allowed: %d", what, got)
			}
			if got := p.Sample([]float32{nan, 2, inf, 4}, nil); got != 2 {
				t.Errorf("%s: +Inf beside others: %d", what, got)
			}
			if got := p.Sample([]float32{9, 2, inf, 4}, []uint64{0b10}); got != 1 {
				t.Errorf("%s: one allowed: %d", what, got)
			}
			if got := p.Sample(nil, nil); got != -1 {
				t.Errorf("%s: no logits: %d", what, got)
			}
		}
	}
}

func TestManyBiases(t *testing.T) {
	s := plain()
	s.Temperature = 0
	for i := range 100_000 {
		s.Bias = append(s.Bias, serval.TokenBias{Token: int32(i%50_000 - 10), Bias: float32(i)})
	}
	p := New(s, 1000, nil)
	if len(p.bias) != 1000 {
		t.Errorf("%d biases kept for 1000 tokens", len(p.bias))
	}
	if got := p.Sample(make([]float32, 1000), nil); got != 999 {
		t.Errorf("%d", got)
	}
	if p.Plain() || !p.Greedy() {
		t.Error("a biased sampler is greedy, not plain")
	}
}

// TestPhilox holds the known answers of Random123's kat_vectors.
func TestPhilox(t *testing.T) {
	ones := uint32(math.MaxUint32)
	for _, c := range []struct {
		counter [4]uint32
		key     [2]uint32
		want    [4]uint32
	}{
		{[4]uint32{}, [2]uint32{}, [4]uint32{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
		{[4]uint32{ones, ones, ones, ones}, [2]uint32{ones, ones}, [4]uint32{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
		{[4]uint32{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, [2]uint32{0xa4093822, 0x299f31d0},
			[4]uint32{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
	} {
		if got := philox(c.counter, c.key); got != c.want {
			t.Errorf("%x, key %x: %x, want %x", c.counter, c.key, got, c.want)
		}
	}
}

func TestExp(t *testing.T) {
	for x := 0.0; x > -60; x -= 0.00137 {
		if got, want := exp(x), math.Exp(x); math.Abs(got/want-1) > 1e-9 {
			t.Fatalf("e^%v: %v, want %v", x, got, want)
		}
	}
}

func TestLogprobs(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	logits := make([]float32, 1003)
	for i := range logits {
		logits[i] = float32(r.NormFloat64() * 6)
	}
	logits[17], logits[18] = float32(math.NaN()), float32(math.Inf(-1))
	logits[500] = logits[400]
	sum := 0.0
	for _, l := range logits {
		if l == l {
			sum += math.Exp(float64(l))
		}
	}
	got := Logprobs(logits, 400, 20)
	if want := float64(logits[400]) - math.Log(sum); math.Abs(float64(got.Logprob)-want) > 1e-6 || got.ID != 400 {
		t.Errorf("%+v, want %v", got, want)
	}
	var order []int32
	for i := range logits {
		if logits[i] == logits[i] {
			order = append(order, int32(i))
		}
	}
	slices.SortStableFunc(order, func(a, b int32) int { return cmp.Compare(logits[b], logits[a]) })
	if len(got.Top) != 20 {
		t.Fatalf("%d tokens", len(got.Top))
	}
	for i, top := range got.Top {
		if want := float64(logits[order[i]]) - math.Log(sum); top.ID != order[i] || math.Abs(float64(top.Logprob)-want) > 1e-6 {
			t.Errorf("place %d: %+v, want %d, %v", i, top, order[i], want)
		}
	}
	for _, id := range []int32{17, 18, -1, 5000} {
		if l := Logprobs(logits, id, 0); l.Logprob != never || l.Top != nil {
			t.Errorf("token %d: %+v", id, l)
		}
	}
	if l := Logprobs([]float32{float32(math.Inf(-1))}, 0, 1); l.Logprob != never {
		t.Errorf("%+v", l)
	}
}

func TestArgmax(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 2000 {
		x := make([]float32, r.IntN(200))
		best, want := math.Inf(-1), int32(-1)
		for i := range x {
			x[i] = float32(r.IntN(40))
			if r.IntN(5) == 0 {
				x[i] = float32(math.NaN())
			}
			if float64(x[i]) > best {
				best, want = float64(x[i]), int32(i)
			}
		}
		if got := Argmax(x); got != want {
			t.Fatalf("%v: %d, want %d", x, got, want)
		}
		all := make([]uint64, (len(x)+63)/64)
		for i := range all {
			all[i] = math.MaxUint64
		}
		if got := argmaxOf(x, all); got != want {
			t.Fatalf("all allowed, %v: %d, want %d", x, got, want)
		}
	}
}
