package llama

import (
	"encoding/json"
	"math"
	"slices"
	"testing"
	"time"

	"serval"
	"serval/llm/decode"
	"serval/llm/sample"
)

// warm is a request that draws.
func drawn(tokens []int32, limit int, seed uint64) *serval.Generate {
	in := greedy(tokens, limit)
	in.Sampling = serval.Sampling{Temperature: 0.9, TopP: 0.95, TopK: 40, RepetitionPenalty: 1.1, PenaltyWindow: 64, Seed: seed, IgnoreEnd: true}
	return in
}

// A seed gives the same tokens alone and beside others.
func TestSeed(t *testing.T) {
	d := open(t, smol(t), nil)
	p := d.words.Encode(nil, "My favourite colour is", options)
	alone := ask(drawn(p, 10, 7))
	run(t, d, alone)
	again, other := ask(drawn(p, 10, 7)), ask(drawn(p, 10, 8))
	run(t, d, ask(greedy(long(d, 20), 10)), other, ask(drawn(long(d, 10), 12, 3)), again)
	if !slices.Equal(alone.ids(), again.ids()) {
		t.Errorf("alone %v, beside others %v", alone.ids(), again.ids())
	}
	if slices.Equal(alone.ids(), other.ids()) {
		t.Error("another seed made the same tokens")
	}
}

// A call that is to be repeatable runs with no other, and its numbers are the same to the last bit.
func TestAlone(t *testing.T) {
	eachCache(t, small(t), nil, func(t *testing.T, d *decoder) {
		make := func() *answer {
			in := drawn(long(d, 300), 6, 1)
			in.Alone, in.Logprobs = true, 3
			return ask(in)
		}
		first := make()
		run(t, d, first)
		second := make()
		run(t, d, ask(greedy(long(d, 50), 9)), ask(greedy(long(d, 250), 5)), second, ask(greedy(long(d, 20), 3)))
		for i, tok := range first.tokens {
			if other := second.tokens[i]; tok.ID != other.ID || tok.Logprob != other.Logprob || !slices.EqualFunc(tok.Top, other.Top, func(a, b serval.Token) bool { return a.ID == b.ID && a.Logprob == b.Logprob }) {
				t.Fatalf("token %d: %+v, repeated %+v", i, tok, other)
			}
		}
		if second.usage.Cached != 0 {
			t.Errorf("%d tokens came from the cache", second.usage.Cached)
		}
		audit(t, d)
	})
}

// The prompt's log-probabilities are those of a plain run over it, whatever the pieces, and its tokens' likelihoods come to one.
func TestEcho(t *testing.T) {
	d := open(t, smol(t), &serval.TextSettings{Context: 512, Cache: 1024})
	p := long(d, 90)
	s, err := d.newSession(func() contextParams {
		c := d.lib.contextDefaults()
		c.Ctx, c.Batch, c.Ubatch = 512, 512, 512
		return c
	}(), 1)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	for i, id := range p {
		s.batch.add(id, int32(i), 0, true)
	}
	if err := s.decode(); err != nil {
		t.Fatal(err)
	}
	in := greedy(p, 0)
	in.PromptLogprobs = 2
	a := ask(in)
	b := ask(func() *serval.Generate { in := greedy(p, 3); in.PromptLogprobs = 0; return in }())
	run(t, d, ask(greedy(p[:70], 4)))
	run(t, d, a, b)
	if len(a.prompt) != len(p) || a.finish != serval.Length || len(a.tokens) != 0 || len(b.prompt) != len(p) || len(b.tokens) != 3 {
		t.Fatalf("%d and %d of %d tokens, finish %q, %d and %d made", len(a.prompt), len(b.prompt), len(p), a.finish, len(a.tokens), len(b.tokens))
	}
	off := 0.0
	for i := 1; i < len(p); i++ {
		want := sample.Logprobs(s.logits(i-1, d.vocab), p[i], 2)
		got := a.prompt[i]
		diff := math.Abs(float64(got.Logprob - want.Logprob))
		off += diff / float64(len(p)-1)
		if got.ID != p[i] || diff > 0.5 || len(got.Top) != 2 {
			t.Fatalf("token %d: %+v, a plain run says %+v", i, got, want)
		}
	}
	if off > 0.02 { // what other cells of the cache cost in rounding
		t.Errorf("the log-probabilities are off by %g on average", off)
	}
	one := ask(func() *serval.Generate { in := greedy(p[:1], 0); in.PromptLogprobs = 0; return in }())
	run(t, d, one)
	if len(one.prompt) != 1 || one.prompt[0].ID != p[0] {
		t.Errorf("of a prompt of one token: %+v", one.prompt)
	}
}

func TestBiasStopAndLimits(t *testing.T) {
	d := open(t, small(t), nil)
	p := long(d, 20)
	plain := ask(greedy(p, 6))
	run(t, d, plain)
	t.Run("bias", func(t *testing.T) {
		in := greedy(p, 4)
		in.Sampling.Bias = []serval.TokenBias{{Token: 1234, Bias: 1000}}
		a := ask(in)
		run(t, d, a)
		if !slices.Equal(a.ids(), []int32{1234, 1234, 1234, 1234}) || a.finish != serval.Length {
			t.Errorf("%v, %q", a.ids(), a.finish)
		}
	})
	t.Run("stop token", func(t *testing.T) {
		in := greedy(p, 6)
		in.Sampling.StopTokens = []int32{plain.ids()[2]}
		a := ask(in)
		run(t, d, a)
		if !slices.Equal(a.ids(), plain.ids()[:slices.Index(plain.ids(), plain.ids()[2])+1]) || a.finish != serval.Stop {
			t.Errorf("%v, %q; without it %v", a.ids(), a.finish, plain.ids())
		}
	})
	t.Run("end token", func(t *testing.T) {
		eos, _ := d.words.EOS()
		in := greedy(p, 4)
		in.Sampling.Bias = []serval.TokenBias{{Token: eos, Bias: 1000}}
		a := ask(in)
		run(t, d, a)
		if len(a.ids()) != 1 || a.finish != serval.Stop {
			t.Errorf("%v, %q", a.ids(), a.finish)
		}
		in.Sampling.IgnoreEnd = true
		b := ask(in)
		run(t, d, b)
		if len(b.ids()) != 4 || b.finish != serval.Length {
			t.Errorf("ignored: %v, %q", b.ids(), b.finish)
		}
	})
	t.Run("ends are the library's", func(t *testing.T) {
		v := d.lib.getVocab(d.model)
		for i := range int32(d.vocab) {
			if d.lib.isEOG(v, i) != d.words.IsEnd(i) {
				t.Errorf("token %d: libllama says %v", i, d.lib.isEOG(v, i))
			}
		}
	})
	for name, in := range map[string]serval.Input{
		"no tokens":         greedy(nil, 3),
		"token below":       greedy([]int32{-1}, 3),
		"token above":       greedy([]int32{int32(d.vocab)}, 3),
		"too long together": greedy(p, 1024),
		"limit":             greedy(p, -1),
		"limit overflows":   greedy(p, math.MaxInt),
		"adapter":           &serval.Generate{Tokens: p, Limit: 1, Adapter: "none"},
		"schema":            &serval.Generate{Tokens: p, Limit: 1, Constraint: &serval.Constraint{Kind: "json_schema", Source: `{"type": 5}`}},
		"pooling":           &serval.Encode{List: [][]int32{p}, Pooling: "best"},
		"rank":              &serval.Encode{List: [][]int32{p}, Pooling: "rank"},
		"empty text":        &serval.Encode{List: [][]int32{{}}},
		"long text":         &serval.Encode{List: [][]int32{make([]int32, 2000)}},
		"strange text":      &serval.Encode{List: [][]int32{{1 << 30}}},
	} {
		a := ask(in)
		err := d.Admit(&a.call)
		if e := serval.AsError(err); err == nil || e.Code != serval.InvalidArgument {
			t.Errorf("%s: %v", name, err)
		}
	}
	if len(d.live)+len(d.jobs) > 0 {
		t.Error("a refused call was taken in")
	}
}

func TestConstraint(t *testing.T) {
	d := open(t, smol(t), nil)
	p := d.words.Encode(nil, "<|im_start|>user\nA person as JSON.<|im_end|>\n<|im_start|>assistant\n", options)
	schema := &serval.Constraint{Kind: "json_schema", Source: `{"type":"object","properties":{"name":{"type":"string","maxLength":8},"age":{"type":"integer","minimum":0,"maximum":99}},"required":["name","age"],"additionalProperties":false}`}
	in, choice, cut := greedy(p, 60), greedy(p, 20), greedy(p, 3)
	in.Constraint, cut.Constraint = schema, schema
	in.Logprobs = 1
	choice.Constraint = &serval.Constraint{Kind: "choice", Source: `["maybe", "certainly not"]`}
	a, b, c := ask(in), ask(choice), ask(cut)
	run(t, d, a, b, c, ask(greedy(p, 5)))
	var person struct {
		Name string
		Age  int
	}
	text := d.words.Decode(a.ids(), false)
	if err := json.Unmarshal([]byte(text), &person); a.finish == serval.Stop && err != nil {
		t.Errorf("%q: %v", text, err)
	}
	if a.finish != serval.Stop {
		t.Errorf("%q was not finished: %q", text, a.finish)
	}
	if text := d.words.Decode(b.ids(), false); b.finish != serval.Stop || text != "maybe" && text != "certainly not" {
		t.Errorf("%q, %q", text, b.finish)
	}
	if c.finish != serval.Length {
		t.Errorf("cut after three tokens: %q", c.finish)
	}
}

// With guesses, answers are what they would have been, greedy and drawn.
func TestGuesses(t *testing.T) {
	eachCache(t, smol(t), nil, func(t *testing.T, d *decoder) {
		p := d.words.Encode(nil, "Repeat: red green blue white black. red green blue white black. red green blue white black. red green", options)
		for name, in := range map[string]*serval.Generate{"greedy": greedy(p, 24), "drawn": drawn(p, 24, 5)} {
			in.Sampling.RepetitionPenalty = 1
			plain := ask(in)
			run(t, d, plain)
			with := *in
			with.Speculate = true
			a := ask(&with)
			d.pace.Pace = decode.Pace{}
			for i := range 64 { // where rows cost nothing, every guess is worth it
				d.pace.SawRows(i+1, time.Second)
			}
			run(t, d, a)
			if !slices.Equal(a.ids(), plain.ids()) {
				t.Errorf("%s: %v, without guesses %v", name, a.ids(), plain.ids())
			}
			if a.usage.Drafted == 0 || a.usage.Accepted > a.usage.Drafted || a.usage.Completion != 24 || a.finish != serval.Length {
				t.Errorf("%s: usage %+v, %q", name, a.usage, a.finish)
			}
			if name == "greedy" && a.usage.Accepted == 0 {
				t.Errorf("of %d guesses at a repeated text none was right", a.usage.Drafted)
			}
		}
		audit(t, d)
	})
}
