package llama

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"serval"
	"serval/engine"
)

// long is a text of n tokens.
func long(d *decoder, n int) []int32 {
	var out []int32
	for i := 0; len(out) < n; i++ {
		out = d.words.Encode(out, fmt.Sprintf("Rule %d says that whoever comes to place %d must wait for number %d. ", i, 7*i%11, 31*i%17), options)
	}
	return out[:n]
}

// audit compares the mirror of the cache with llama.cpp's own.
func audit(t *testing.T, d *decoder) {
	t.Helper()
	used := map[int32]bool{}
	check := func(what string, id int32, cells []int32, done int) {
		if len(cells) != done {
			t.Errorf("%s: %d cells for %d tokens", what, len(cells), done)
		}
		if last := int(d.lib.posMax(d.main.mem, id)); last != done-1 {
			t.Errorf("%s: llama.cpp has it up to position %d, we up to %d", what, last, done-1)
		}
		for _, c := range cells {
			used[c] = true
		}
	}
	for i, s := range d.live {
		if s.id >= 0 {
			check(fmt.Sprint("live ", i), s.id, s.cells, s.Done)
		}
	}
	for i, k := range d.kept {
		check(fmt.Sprint("kept ", i), k.id, k.cells, len(k.tokens))
	}
	if want := d.cells.size() - len(used); len(d.cells.free) != want {
		t.Errorf("%d cells are free, expected %d", len(d.cells.free), want)
	}
	if len(d.ids)+len(d.kept) > d.sequences() {
		t.Errorf("%d ids are free and %d kept, of %d", len(d.ids), len(d.kept), d.sequences())
	}
}

func TestPrefixCache(t *testing.T) {
	eachCache(t, small(t), nil, func(t *testing.T, d *decoder) {
		system := long(d, 200)
		question := func(i int) []int32 {
			return d.words.Encode(slices.Clone(system), fmt.Sprintf("Question %d: who comes to place %d?", i, i), options)
		}
		var want [][]int32
		for i := range 4 {
			d.clearCache()
			a := ask(greedy(question(i), 8))
			run(t, d, a)
			if a.usage.Cached != 0 {
				t.Errorf("an empty cache held %d tokens", a.usage.Cached)
			}
			want = append(want, a.ids())
		}
		t.Run("one after the other", func(t *testing.T) {
			d.clearCache()
			for i := range 4 {
				a := ask(greedy(question(i), 8))
				run(t, d, a)
				if !slices.Equal(a.ids(), want[i]) {
					t.Errorf("question %d: %v, without cache %v", i, a.ids(), want[i])
				}
				if i > 0 && a.usage.Cached < int64(len(system)) {
					t.Errorf("question %d: %d tokens were cached, expected the %d that all begin with", i, a.usage.Cached, len(system))
				}
				audit(t, d)
			}
		})
		t.Run("at once", func(t *testing.T) {
			d.clearCache()
			var all []*answer
			for i := range 4 {
				all = append(all, ask(greedy(question(i), 8)))
			}
			run(t, d, all...)
			read := int64(0)
			for i, a := range all {
				read += a.usage.Prompt - a.usage.Cached
				if !slices.Equal(a.ids(), want[i]) {
					t.Errorf("question %d: %v, without cache %v", i, a.ids(), want[i])
				}
			}
			if most := int64(len(system) + 4*20); read > most {
				t.Errorf("%d tokens were read, expected the shared ones once: at most %d", read, most)
			}
			audit(t, d)
		})
		t.Run("the same again", func(t *testing.T) {
			a := ask(greedy(question(1), 8))
			run(t, d, a)
			if a.usage.Cached != a.usage.Prompt-1 || !slices.Equal(a.ids(), want[1]) {
				t.Errorf("%d of %d cached, %v, without cache %v", a.usage.Cached, a.usage.Prompt, a.ids(), want[1])
			}
		})
		t.Run("the next turn", func(t *testing.T) {
			first := ask(greedy(question(2), 8))
			run(t, d, first)
			next := slices.Concat(question(2), first.ids(), d.words.Encode(nil, " And then?", options))
			a := ask(greedy(next, 8))
			run(t, d, a)
			if least := int64(len(question(2)) + 7); a.usage.Cached < least {
				t.Errorf("%d cached, expected question and answer: at least %d", a.usage.Cached, least)
			}
		})
		t.Run("another salt", func(t *testing.T) {
			in := greedy(question(2), 8)
			in.Salt = "other tenant"
			a := ask(in)
			run(t, d, a)
			if a.usage.Cached != 0 || !slices.Equal(a.ids(), want[2]) {
				t.Errorf("%d cached, %v, expected %v", a.usage.Cached, a.ids(), want[2])
			}
		})
		audit(t, d)
	})
}

// What is kept makes room for what is asked, and sequences that do not fit together get there one after the other.
func TestSmallCache(t *testing.T) {
	d := open(t, small(t), &serval.TextSettings{Context: 256, Cache: 256, Slots: 4})
	var want [][]int32
	var list [][]int32
	for i := range 6 {
		list = append(list, append(d.words.Encode(nil, fmt.Sprintf("Story %d. ", i*i), options), long(d, 45)...))
		a := ask(greedy(list[i], 60))
		d.clearCache()
		run(t, d, a)
		want = append(want, a.ids())
	}
	audit(t, d)
	// Four of them have 200 tokens of prompt and 240 of answers; there are 256 cells.
	var all []*answer
	for _, p := range list {
		all = append(all, ask(greedy(p, 60)))
	}
	run(t, d, all...)
	for i, a := range all {
		if len(a.ids()) != len(want[i]) || a.usage.Completion != int64(len(want[i])) || a.usage.Prompt != int64(len(list[i])) {
			t.Errorf("story %d: %d tokens, usage %+v, expected %d", i, len(a.ids()), a.usage, len(want[i]))
		}
	}
	audit(t, d)
}

func TestNoRoom(t *testing.T) {
	d := open(t, small(t), &serval.TextSettings{Context: 512, Cache: 512, Slots: 2})
	a, b, c := ask(greedy(long(d, 20), 4)), ask(greedy(long(d, 30), 4)), ask(greedy(long(d, 40), 4))
	for _, x := range []*answer{a, b} {
		if err := d.Admit(&x.call); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Admit(&c.call); !errors.Is(err, engine.ErrNoRoom) {
		t.Errorf("a third call for two slots: %v", err)
	}
	for live := 2; live > 0; {
		var err error
		if live, err = d.Step(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	big := ask(greedy(append(d.words.Encode(nil, "Other. ", options), long(d, 400)...), 50))
	if err := d.Admit(&big.call); err != nil {
		t.Fatal(err)
	}
	if err := d.Admit(&c.call); err != nil { // its prompt is the beginning of nothing there, but there is room
		t.Errorf("40 tokens beside 400 in 512 cells: %v", err)
	}
	other := ask(greedy(append(d.words.Encode(nil, "Third. ", options), long(d, 200)...), 50))
	if err := d.Admit(&other.call); !errors.Is(err, engine.ErrNoRoom) {
		t.Errorf("200 tokens beside 400 in 512 cells: %v", err)
	}
}

// A canceled call's slot is free after one step, also in the middle of its prompt.
func TestCancel(t *testing.T) {
	eachCache(t, small(t), &serval.TextSettings{Context: 1024, Cache: 1024, Slots: 2, Chunk: 64}, func(t *testing.T, d *decoder) {
		a, b := ask(greedy(long(d, 900), 16)), ask(greedy(d.words.Encode(nil, "Hello", options), 64))
		for _, x := range []*answer{b, a} {
			if err := d.Admit(&x.call); err != nil {
				t.Fatal(err)
			}
		}
		for range 3 {
			if _, err := d.Step(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		a.cancel, b.cancel = true, true
		live, err := d.Step(t.Context())
		if live != 0 || err != nil || !a.ended || !b.ended || a.err == nil || len(a.tokens) > 0 {
			t.Errorf("after a step: %d live, %v, ended %v %v, error %v, %d tokens", live, err, a.ended, b.ended, a.err, len(a.tokens))
		}
		audit(t, d)
	})
}

// A reader that does not read pauses its own answer only.
func TestSlowReader(t *testing.T) {
	eachCache(t, small(t), nil, func(t *testing.T, d *decoder) {
		want := ask(greedy(long(d, 30), 10))
		run(t, d, want)
		slow, quick := ask(greedy(long(d, 30), 10)), ask(greedy(long(d, 25), 10))
		slow.room = 2
		for _, x := range []*answer{slow, quick} {
			if err := d.Admit(&x.call); err != nil {
				t.Fatal(err)
			}
		}
		stalled := false
		for range 40 {
			live, err := d.Step(t.Context())
			if errors.Is(err, engine.ErrStalled) {
				stalled = true
				break
			}
			if err != nil || live == 0 {
				t.Fatal(live, err)
			}
		}
		if !stalled || !quick.ended || len(slow.tokens) != 2 {
			t.Fatalf("stalled %v, the quick one ended %v, the slow one has %d tokens", stalled, quick.ended, len(slow.tokens))
		}
		slow.room = -1
		for !slow.ended {
			if _, err := d.Step(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if !slices.Equal(slow.ids(), want.ids()) || slow.usage.Completion != 10 {
			t.Errorf("%v, read at once %v", slow.ids(), want.ids())
		}
	})
}

// Running answers get their next token in every step while a long prompt is read in pieces.
func TestLongPromptStarvesNobody(t *testing.T) {
	eachCache(t, small(t), &serval.TextSettings{Context: 1024, Cache: 2048, Slots: 4, Chunk: 64}, func(t *testing.T, d *decoder) {
		a := ask(greedy(d.words.Encode(nil, "Hello there", options), 100))
		a.call.Input.(*serval.Generate).Sampling.IgnoreEnd = true
		if err := d.Admit(&a.call); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if _, err := d.Step(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		b := ask(greedy(long(d, 950), 2))
		if err := d.Admit(&b.call); err != nil {
			t.Fatal(err)
		}
		steps := 0
		for len(b.tokens) == 0 {
			before := len(a.tokens)
			if _, err := d.Step(t.Context()); err != nil {
				t.Fatal(err)
			}
			steps++
			if len(a.tokens) != before+1 {
				t.Fatalf("step %d made %d tokens of the running answer", steps, len(a.tokens)-before)
			}
		}
		if want := 950/64 + 1; steps < want-1 || steps > want+1 {
			t.Errorf("the prompt took %d steps, expected %d", steps, want)
		}
	})
}
