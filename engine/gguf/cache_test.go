package gguf

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"serval"
	"serval/engine"
	"serval/llm/gguf"
)

var small = tiny{kind: gguf.Q4_0, heads: 2, kvHeads: 1, head: 32, inner: 96, layer: 1}

func smallModel(t testing.TB, text serval.TextSettings) *decoder {
	t.Helper()
	return ours(t, written(t, small.write()), text)
}

// What a prompt begins with is found in the cache, of finished and of running requests, and only under the same salt.
func TestPrefixCache(t *testing.T) {
	for _, kind := range []string{"f16", "bf16", "q8_0"} {
		t.Run(kind, func(t *testing.T) {
			prefixCache(t, storing(t, written(t, small.write()), serval.TextSettings{Context: 512, Slots: 8, Cache: 4096}, kind))
		})
	}
}

func prefixCache(t *testing.T, d *decoder) {
	system := someTokens(200, 1)
	question := func(i int) *serval.Generate {
		in := greedy(slices.Concat(system, someTokens(20, 100+i)), 8)
		in.Sampling.IgnoreEnd = true
		return in
	}
	cached := func(what string, in *serval.Generate, want int64) *answer {
		t.Helper()
		a := ask(in)
		run(t, d, a)
		if a.usage.Cached != want || a.usage.Prompt != int64(len(in.Tokens)) || a.usage.Completion != 8 {
			t.Errorf("%s: %+v, expected %d cached", what, a.usage, want)
		}
		return a
	}
	first := cached("an empty cache", question(0), 0)
	cached("the same beginning", question(1), 200)
	cached("the same again", question(0), 219)
	next := question(0)
	next.Tokens = slices.Concat(next.Tokens, first.ids(), someTokens(30, 50))
	cached("the next turn", next, 227) // of the last token that was picked nothing was computed
	shorter := question(0)
	shorter.Tokens = shorter.Tokens[:75]
	cached("a part of it", shorter, 74)
	cached("that part again", shorter, 74)
	salted := question(0)
	salted.Salt = "another tenant"
	cached("another salt", salted, 0)
	cached("that salt again", salted, 219)
	echo := question(0)
	echo.PromptLogprobs = 0
	cached("log-probabilities of all", echo, 0)

	d.clearCache()
	var all []*answer
	for i := range 4 {
		all = append(all, ask(question(i)))
	}
	run(t, d, all...)
	read := int64(0)
	for _, a := range all {
		read += a.usage.Prompt - a.usage.Cached
	}
	if read > 220+3*(220-200/block*block) {
		t.Errorf("four that begin alike at once: %d tokens were read", read)
	}
}

// A call that is cancelled, or whose reader is slow, holds nothing that it does not need; the others go on.
func TestLeave(t *testing.T) {
	d := smallModel(t, serval.TextSettings{Context: 512, Slots: 4, Cache: 1024})
	long := func(seed int) *serval.Generate {
		in := greedy(someTokens(100, seed), 300)
		in.Sampling.IgnoreEnd = true
		return in
	}
	gone, slow, stays := ask(long(1)), ask(long(2)), ask(long(3))
	slow.room = 2
	for _, a := range []*answer{gone, slow, stays} {
		if err := d.Admit(&a.call); err != nil {
			t.Fatal(err)
		}
	}
	step := func() (int, error) { return d.Step(t.Context()) }
	for range 20 {
		if _, err := step(); err != nil {
			t.Fatal(err)
		}
	}
	used, size := d.Cache()
	if size != 1024 || used < 3*100 {
		t.Errorf("%d of %d cells are used", used, size)
	}
	gone.cancel = true
	if live, err := step(); err != nil || live != 2 || !errors.Is(gone.err, context.Canceled) {
		t.Fatalf("%d live, %v, %v", live, err, gone.err)
	}
	if less, _ := d.Cache(); less > used-96 {
		t.Errorf("of %d cells %d are still used", used, less)
	}
	if len(slow.tokens) != 2 || slow.ended {
		t.Errorf("the slow reader has %d tokens", len(slow.tokens))
	}
	stays.room = 0
	for range 2 {
		if _, err := step(); err == engine.ErrStalled {
			break
		}
	}
	if _, err := step(); err != engine.ErrStalled {
		t.Errorf("nobody reads: %v", err)
	}
	slow.room, stays.room = -1, -1
	for live := 1; live > 0; {
		var err error
		if live, err = step(); err != nil {
			t.Fatal(err)
		}
		d.audit(t)
	}
	if len(slow.tokens) != 300 || len(stays.tokens) != 300 {
		t.Errorf("%d and %d tokens", len(slow.tokens), len(stays.tokens))
	}
	if used, _ := d.Cache(); used != 0 {
		t.Errorf("%d cells are used by nobody", used)
	}
}

// Memory stays as it is, whatever comes: nothing is allocated for a token but what is handed out.
func TestSteadyStep(t *testing.T) {
	d := smallModel(t, serval.TextSettings{Context: 512, Slots: 4, Cache: 1024})
	in := greedy(someTokens(100, 1), 400)
	in.Sampling.IgnoreEnd = true
	a := ask(in)
	a.tokens = make([]serval.Token, 0, 512)
	if err := d.Admit(&a.call); err != nil {
		t.Fatal(err)
	}
	step := func() {
		if _, err := d.Step(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for range 50 {
		step()
	}
	if n := testing.AllocsPerRun(200, step); n > 6 { // the list, its output, the chunk
		t.Errorf("%g allocations for a token", n)
	}
	a.cancel = true
	step()
}

func TestRefused(t *testing.T) {
	d := smallModel(t, serval.TextSettings{Context: 256, Slots: 2, Cache: 256})
	p := someTokens(20, 1)
	for name, in := range map[string]serval.Input{
		"no tokens":       greedy(nil, 3),
		"token below":     greedy([]int32{-1}, 3),
		"token above":     greedy([]int32{tinyVocab}, 3),
		"too long":        greedy(p, 240),
		"limit":           greedy(p, -1),
		"limit overflows": greedy(p, math.MaxInt),
		"adapter":         &serval.Generate{Tokens: p, Limit: 1, Adapter: "none"},
		"schema":          &serval.Generate{Tokens: p, Limit: 1, Constraint: &serval.Constraint{Kind: "json_schema", Source: `{"type": 5}`}},
		"ranks":           &serval.Encode{List: [][]int32{p}, Pooling: "rank"},
		"pooling":         &serval.Encode{List: [][]int32{p}, Pooling: "most"},
		"no text":         &serval.Encode{List: [][]int32{p, nil}},
		"text above":      &serval.Encode{List: [][]int32{{tinyVocab}}},
		"text too long":   &serval.Encode{List: [][]int32{someTokens(257, 1)}},
	} {
		if err := d.Admit(&ask(in).call); err == nil || serval.AsError(err).Code != serval.InvalidArgument {
			t.Errorf("%s: %v", name, err)
		}
	}
	if len(d.live)+len(d.jobs) > 0 {
		t.Error("a refused call was taken in")
	}
}

// The cache's books, under whatever order of calls.
func TestCacheBooks(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	c := newCache(40, costs{100, 1})
	type holder struct {
		tokens, table []int32
		last          uint64
		named         int
	}
	var live []*holder
	for range 5000 {
		switch {
		case len(live) > 0 && r.IntN(4) == 0: // leaves
			at := r.IntN(len(live))
			c.release(live[at].table)
			live = slices.Delete(live, at, at+1)
		case len(live) > 0 && r.IntN(2) == 0: // grows
			h := live[r.IntN(len(live))]
			if h.named*block >= len(h.tokens)/block*block {
				continue
			}
			b, ok := c.take()
			if !ok {
				if c.idle() != 0 {
					t.Fatalf("%d blocks are idle, and none is given", c.idle())
				}
				continue
			}
			h.table = append(h.table, b)
			h.last = c.full(h.table, h.last, "", h.named, h.tokens)
			h.named++
		default:
			h := &holder{}
			for i := range 1 + r.IntN(8) {
				for range block {
					h.tokens = append(h.tokens, int32(r.IntN(2)*i))
				}
				if r.IntN(2) == 0 {
					clear(h.tokens)
				}
			}
			h.table, h.last = c.find(nil, "", h.tokens)
			h.named = len(h.table)
			if c.held("", h.tokens) < h.named || c.known("", h.tokens) != h.named {
				t.Fatal("what is found is not known")
			}
			live = append(live, h)
		}
		var tables [][]int32
		for _, h := range live {
			tables = append(tables, h.table)
		}
		if err := c.check(tables...); err != nil {
			t.Fatal(err)
		}
	}
}
