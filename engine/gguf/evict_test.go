package gguf

import (
	"math/rand/v2"
	"slices"
	"testing"

	"serval"
)

// A long beginning that is used now and then outlasts a flood of short prompts that are used once, where by age alone it is computed
// again each time; answers are the same, to the last bit.
func TestEvictByCost(t *testing.T) {
	dir := written(t, small.write())
	system := someTokens(256, 1)
	var first []*answer
	read := map[string]int64{}
	for _, by := range []string{"cost", "age"} {
		d := ours(t, dir, serval.TextSettings{Context: 512, Slots: 4, Cache: 640})
		if by == "age" {
			d.cache = newCache(d.plan.blocks, costs{})
		}
		var all []*answer
		ask := func(salt string, tokens []int32) {
			in := greedy(tokens, 4)
			in.Salt, in.Logprobs, in.Sampling.IgnoreEnd = salt, 2, true
			a := ask(in)
			run(t, d, a)
			all = append(all, a)
			read[by] += a.usage.Prompt - a.usage.Cached
		}
		for round := range 12 {
			ask("a", slices.Concat(system, someTokens(20, 100+round)))
			for i := range 10 {
				ask("b", someTokens(60, 1000+10*round+i))
			}
		}
		if first == nil {
			first = all
			continue
		}
		for i := range all {
			if !equal(all[i], first[i]) {
				t.Errorf("answer %d is another", i)
			}
		}
	}
	t.Logf("tokens of prompts that were computed: %d by cost, %d by age", read["cost"], read["age"])
	// The flood and the questions must be computed, but for a token or two that some begin with in common; the beginning once or twice by
	// cost, and by age each of the 12 times.
	must := int64(12 * (10*60 + 20))
	if read["cost"] > must+2*256 || read["age"] < must+11*256 {
		t.Errorf("by cost %d tokens were computed and by age %d; %d must be", read["cost"], read["age"], must)
	}
}

// What was often used and is not any more goes in the end, and its tenant's uses are worth nothing to another tenant's blocks.
func TestEvictAtLast(t *testing.T) {
	c := newCache(40, costs{100, 1})
	r := rand.New(rand.NewPCG(5, 6))
	use := func(salt string, tokens []int32) (found int) {
		table, last := c.find(nil, salt, tokens)
		found = len(table)
		for i := found; i < len(tokens)/block; i++ {
			b, ok := c.take()
			if !ok {
				t.Fatal("there is no room")
			}
			table = append(table, b)
			last = c.full(table, last, salt, i, tokens)
		}
		c.release(table)
		if err := c.check(); err != nil {
			t.Fatal(err)
		}
		return found
	}
	text := func(blocks int) []int32 {
		out := make([]int32, blocks*block)
		for i := range out {
			out[i] = int32(r.IntN(1000))
		}
		return out
	}
	hot := text(10)
	for range 1000 {
		use("a", hot)
	}
	if use("b", hot) != 0 {
		t.Error("another tenant is given it")
	}
	once := 0
	for c.known("a", hot) == 10 {
		use("c", text(5))
		once++
	}
	if n := c.known("b", hot); n != 0 {
		t.Errorf("%d blocks that were used once outlast those that were used often", n)
	}
	if once < 40 || once > 2000 {
		t.Errorf("it began to go after %d others", once)
	}
	for c.known("a", hot) > 0 {
		use("c", text(5))
	}
}

// Evicting costs a logarithm of what is kept, and allocates nothing.
func TestEvictSteady(t *testing.T) {
	e := newEvictor(1000, costs{10, 1})
	for b := range int32(1000) {
		e.born(b, int(b*7%1000))
		e.price(b, block, 0)
		e.link(b)
	}
	last := uint64(0)
	if n := testing.AllocsPerRun(2000, func() {
		b := e.evict()
		if e.clock < last {
			t.Fatal("the clock went back")
		}
		last = e.clock
		e.born(b, int(b))
		e.price(b, block, 0)
		e.link(b)
	}); n > 0 {
		t.Errorf("%g allocations", n)
	}
	e.unlink(500)
	for len(e.heap) > 0 {
		if b := e.evict(); b == 500 {
			t.Error("what was taken out is evicted")
		}
	}
}
