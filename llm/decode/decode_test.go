package decode

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"testing"
	"time"

	"serval"
	"serval/llm/vocab"
)

func prompt(m *Model, text string) []int32 { return m.Words.Encode(nil, text, vocab.Options{}) }

func greedy(tokens []int32, limit int) *serval.Generate {
	return &serval.Generate{Tokens: tokens, Limit: limit, Logprobs: -1, PromptLogprobs: -1, Sampling: serval.Sampling{TopP: 1, RepetitionPenalty: 1, IgnoreEnd: true}}
}

// With guesses an answer is the one that it would have been: tokens, log-probabilities, how it ends.
func TestGuesses(t *testing.T) {
	m := model(t)
	n := newNet(m)
	p := prompt(m, "abcabcabc the rest of it, and the rest of it, abcabc")
	end, _ := m.Words.EOS()
	right := int64(0)
	for name, change := range map[string]func(*serval.Generate){
		"greedy":      func(*serval.Generate) {},
		"drawn":       func(in *serval.Generate) { in.Sampling.Temperature, in.Sampling.Seed = 0.5, 3 },
		"filtered":    func(in *serval.Generate) { in.Sampling.Temperature, in.Sampling.TopK, in.Sampling.TopP = 0.3, 10, 0.9 },
		"told":        func(in *serval.Generate) { in.Logprobs, in.PromptLogprobs = 3, 2 },
		"told, drawn": func(in *serval.Generate) { in.Logprobs, in.Sampling.Temperature, in.Sampling.Seed = 0, 0.4, 9 },
		"penalties": func(in *serval.Generate) {
			in.Sampling.RepetitionPenalty, in.Sampling.FrequencyPenalty, in.Sampling.PenaltyWindow = 1.05, 0.05, 16
		},
		"ends": func(in *serval.Generate) {
			in.Sampling.IgnoreEnd, in.Sampling.Bias = false, []serval.TokenBias{{Token: end, Bias: 4}}
		},
		"stops": func(in *serval.Generate) { in.Sampling.StopTokens = prompt(m, "q") },
		"constraint": func(in *serval.Generate) {
			in.Constraint = &serval.Constraint{Kind: "regex", Source: `([a-f]{2}-){3,40}`}
		},
		"choice": func(in *serval.Generate) {
			in.Constraint = &serval.Constraint{Kind: "choice", Source: `["the rest of it","another"]`}
		},
		"one":         func(in *serval.Generate) { in.Limit = 1 },
		"two":         func(in *serval.Generate) { in.Limit = 2 },
		"none":        func(in *serval.Generate) { in.Limit, in.PromptLogprobs = 0, 1 },
		"whole of it": func(in *serval.Generate) { in.Limit = 512 - len(in.Tokens) },
	} {
		in := greedy(p, 150)
		change(in)
		plain := run(t, m, n, in, nil)
		with := run(t, m, n, in, free())
		if !reflect.DeepEqual(plain.tokens, with.tokens) || !reflect.DeepEqual(plain.prompt, with.prompt) || plain.finish != with.finish || plain.err != nil || with.err != nil {
			t.Errorf("%s: with guesses %d tokens %q %v, without %d %q %v", name, len(with.tokens), with.finish, with.err, len(plain.tokens), plain.finish, plain.err)
		}
		u := with.usage
		if u.Completion != int64(len(with.tokens)) || u.Accepted > u.Drafted || plain.usage.Drafted != 0 || u.Prompt != int64(len(p)) {
			t.Errorf("%s: %+v", name, u)
		}
		right += u.Accepted
	}
	if right < 500 {
		t.Errorf("%d guesses were right at texts that go in circles", right)
	}
}

// What cannot be computed is refused, and names the field.
func TestCheck(t *testing.T) {
	m := model(t)
	for field, in := range map[string]*serval.Generate{
		"prompt":     greedy(nil, 1),
		"max_tokens": greedy([]int32{1, 2}, 511),
	} {
		var e *serval.Error
		if err := m.Check(in); !errors.As(err, &e) || e.Param != field {
			t.Errorf("%s: %v", field, err)
		}
	}
	if m.Check(greedy([]int32{1, 2}, 510)) != nil || m.Check(greedy([]int32{int32(m.Words.Size())}, 1)) == nil || m.Check(greedy([]int32{1}, -1)) == nil {
		t.Error("borders")
	}
	for _, in := range []*serval.Encode{{List: [][]int32{{1}, nil}}, {List: [][]int32{{-1}}}, {List: [][]int32{make([]int32, 513)}}, {List: [][]int32{{1}}, Pooling: "rank"}, {Pooling: "sum"}} {
		if _, err := m.Texts(in, &reader{}); err == nil {
			t.Errorf("%+v", in)
		}
	}
}

// A reader that has no room gets what it missed later; one that left, nothing.
func TestReader(t *testing.T) {
	m := model(t)
	n := newNet(m)
	r := &reader{}
	a, err := m.Start(greedy([]int32{1, 2, 3}, 2), r)
	if err != nil {
		t.Fatal(err)
	}
	step := func(rows int) {
		a.Take(rows, func(int) []float32 { return n.logits(a.Tokens) })
		a.Tell()
	}
	step(3)
	if !a.Waits() || a.Over() || a.Offer() || !a.Running() {
		t.Error("there was no room")
	}
	r.room = 1
	if !a.Offer() || a.Waits() || len(r.tokens) != 1 || r.usage.Prompt != 3 {
		t.Errorf("after the offer: %+v", r)
	}
	step(1)
	if !a.Over() || a.End() || r.ended {
		t.Error("it ended though its reader has no room")
	}
	r.canceled = true
	if !a.Drop() || a.Drop() || !a.End() || !errors.Is(r.err, context.Canceled) {
		t.Errorf("its reader left: %v", r.err)
	}
}

// Logits that are no numbers, or forbid everything, end the answer with the reason.
func TestImpossible(t *testing.T) {
	m := model(t)
	for _, c := range []struct {
		value float32
		code  serval.Code
	}{{float32(nan()), serval.Internal}, {float32(-1 / zero()), serval.InvalidArgument}} {
		r := &reader{room: -1}
		a, err := m.Start(greedy([]int32{1}, 2), r)
		if err != nil {
			t.Fatal(err)
		}
		a.Take(1, func(int) []float32 { return slices.Repeat([]float32{c.value}, m.Words.Size()) })
		a.Tell()
		var e *serval.Error
		if !a.Over() || !a.End() || !errors.As(r.err, &e) || e.Code != c.code {
			t.Errorf("%g: %v", c.value, r.err)
		}
	}
}

func zero() float64 { return 0 }
func nan() float64  { return zero() / zero() }

// Vectors go out together, once there is room, and none that is no number.
func TestTexts(t *testing.T) {
	m := model(t)
	r := &reader{}
	x, err := m.Texts(&serval.Encode{List: [][]int32{{1}, {2, 3}}}, r)
	if err != nil {
		t.Fatal(err)
	}
	x.Set(1, []float32{1})
	if x.End() || x.Has(0) || !x.Has(1) || x.Pooling != "last" {
		t.Error("one is missing")
	}
	x.Set(0, []float32{2})
	if x.End() {
		t.Error("there was no room")
	}
	r.room = 1
	if !x.End() || r.usage.Prompt != 3 || r.usage.Rows != 2 || r.err != nil || !r.ended {
		t.Errorf("%+v", r)
	}
	broken := &reader{room: -1}
	if x, err = m.Texts(&serval.Encode{List: [][]int32{{1}}}, broken); err != nil {
		t.Fatal(err)
	}
	x.Set(0, []float32{1, float32(nan())})
	if !x.End() || broken.err == nil {
		t.Error("a vector that is no number was told")
	}
}

// What is not measured is told from what is.
func TestCost(t *testing.T) {
	var p Pace
	if p.Cost(1) != 0 {
		t.Error("nothing is known")
	}
	p.SawPrompt(100, 100*time.Millisecond)
	p.SawRows(2, 20*time.Millisecond)
	p.SawRows(4, 30*time.Millisecond)
	check := func(what string, want map[int]float64) {
		t.Helper()
		for n, want := range want {
			if got := p.Cost(n); got < want*0.999 || got > want*1.001 {
				t.Errorf("%s: %d rows: %g, want %g", what, n, got, want)
			}
		}
	}
	check("measured", map[int]float64{1: 0.010, 2: 0.020, 3: 0.025, 4: 0.030, 6: 0.032, 1000: 1.026})
	p.SawRows(3, time.Second) // whatever held that up
	check("held up", map[int]float64{2: 0.020, 3: 0.030, 4: 0.030})
	for range 30 {
		p.SawRows(2, 20*time.Millisecond)
		p.SawRows(4, 30*time.Millisecond)
	}
	for range 1000 { // it gets slower, where it is measured
		p.SawRows(2, 40*time.Millisecond)
	}
	if c := p.Cost(4); c < 0.040 || c > 0.061 {
		t.Errorf("4 rows cost %g where 2 cost twice what they did", c)
	}
}

// Guesses are made where they make tokens cheaper, of the answers whose guesses are most likely.
func TestChoose(t *testing.T) {
	m := model(t)
	start := func(text []int32) *Answer {
		a, err := m.Start(greedy(text, 100), &reader{room: -1})
		if err != nil {
			t.Fatal(err)
		}
		a.Speculate()
		a.Done = len(text)
		a.Tokens = append(a.Tokens, text[1])
		a.guesser.saw(a.Tokens)
		return a
	}
	// Both repeat two tokens; what follows was right for one of them.
	a, b, c := start([]int32{7, 8, 9, 10, 11, 7}), start([]int32{7, 8, 9, 10, 11, 7}), start([]int32{5, 6, 4})
	for i := range classes {
		a.guesser.rates[i], b.guesser.rates[i] = 0.9, 0.3
	}
	var s Guesses
	choose := func(p *Pace, most int) (int, int, int) {
		for _, x := range []*Answer{a, b, c} {
			s.Offer(x, 8)
		}
		s.Choose(p, 3, most)
		return len(a.Guesses), len(b.Guesses), len(c.Guesses)
	}
	if x, y, z := choose(free(), 100); x != 8 || y != 2 || z != 0 {
		t.Errorf("where rows cost nothing: %d, %d, %d guesses", x, y, z)
	}
	// What is repeated reaches the end, and goes on with itself.
	if want := []int32{9, 10, 11, 7, 8, 9, 10, 11}; !slices.Equal(a.Guesses, want[:len(a.Guesses)]) {
		t.Errorf("guesses %v", a.Guesses)
	}
	if x, y, _ := choose(free(), 3); x != 3 || y != 0 {
		t.Errorf("at most three: %d and %d", x, y)
	}
	var p Pace
	if x, y, _ := choose(&p, 100); x+y != 0 {
		t.Errorf("nothing is known of costs: %d and %d", x, y)
	}
	p.SawPrompt(1, time.Millisecond) // each row costs as much as the others
	p.SawRows(3, 3*time.Millisecond)
	if x, y, _ := choose(&p, 100); x+y != 0 {
		t.Errorf("rows are as dear as tokens: %d and %d", x, y)
	}
	p = Pace{}
	p.SawPrompt(1, time.Millisecond)
	p.SawRows(3, 5*time.Millisecond)
	if x, y, _ := choose(&p, 100); x == 0 || x > 6 || y != 0 {
		t.Errorf("rows cost three fifths of tokens: %d and %d", x, y)
	}
}

// What is repeated longest counts, of equals the last.
func TestRepeated(t *testing.T) {
	for _, c := range []struct {
		tokens      []int32
		from, match int
	}{
		{nil, 0, 0}, {[]int32{1, 2}, 0, 0}, {[]int32{1, 2, 3}, 0, 0}, {[]int32{1, 2, 1, 2}, 2, 2}, {[]int32{1, 1, 1}, 2, 2},
		{[]int32{9, 1, 2, 5, 1, 2, 6, 9, 1, 2}, 3, 3}, {[]int32{1, 2, 5, 1, 2, 6, 1, 2}, 5, 2}, {slices.Repeat([]int32{1, 2, 3}, 20), 57, far},
	} {
		if from, match := repeated(c.tokens); from != c.from || match != c.match {
			t.Errorf("%v: at %d, %d long; want %d and %d", c.tokens, from, match, c.from, c.match)
		}
	}
}

// BenchmarkTake is one token of a running answer: picked, told.
func BenchmarkTake(b *testing.B) {
	m := model(b)
	n := newNet(m)
	logits := slices.Clone(n.logits([]int32{1, 2}))
	for name, change := range map[string]func(*serval.Generate){
		"greedy":   func(*serval.Generate) {},
		"drawn":    func(in *serval.Generate) { in.Sampling.Temperature, in.Sampling.TopP = 0.8, 0.95 },
		"logprobs": func(in *serval.Generate) { in.Logprobs = 0 },
	} {
		b.Run(name, func(b *testing.B) {
			m.Context = 1 << 30
			in := greedy([]int32{1, 2, 3}, 1<<29)
			change(in)
			r := &reader{room: -1}
			a, err := m.Start(in, r)
			if err != nil {
				b.Fatal(err)
			}
			a.Take(3, func(int) []float32 { return logits })
			b.ReportAllocs()
			for b.Loop() {
				a.Take(1, func(int) []float32 { return logits })
				a.Tell()
				r.tokens = r.tokens[:0]
				a.Tokens, a.Done = a.Tokens[:4], 3
			}
		})
	}
}
