package gguf

import (
	"fmt"
	"reflect"
	"testing"
	"time"

	"serval"
	"serval/llm/decode"
)

// rowsCostNothing has every guess computed that may be right.
func rowsCostNothing(d *decoder) {
	d.pace = decode.Pace{}
	for n := range 129 {
		d.pace.SawRows(n, time.Second)
	}
}

// With guesses answers are what they are without, to the last bit of their log-probabilities: whatever is asked, alone and in a batch of
// others, in a cache that has room and in one where answers lose their places, again from the cache, beside prompts that are read.
func TestGuesses(t *testing.T) {
	dir := smol(t)
	d := ours(t, dir, serval.TextSettings{Context: 512, Slots: 12, Cache: 4096})
	tight := ours(t, dir, serval.TextSettings{Context: 512, Slots: 12, Cache: 640})
	list := d.words.Encode(nil, "Repeat: red green blue white black. red green blue white black. red green blue white black. red green", bare)
	code := d.words.Encode(nil, "if a == 1 {\n\treturn 1\n}\nif a == 2 {\n\treturn 2\n}\nif a == 3 {\n", bare)
	long := text(t, d, 150)
	asked := map[string]func() *serval.Generate{
		"greedy": func() *serval.Generate { return greedy(list, 60) },
		"code":   func() *serval.Generate { return greedy(code, 70) },
		"drawn": func() *serval.Generate {
			in := greedy(list, 50)
			in.Sampling.Temperature, in.Sampling.TopP, in.Sampling.Seed = 0.7, 0.95, 11
			return in
		},
		"told": func() *serval.Generate {
			in := greedy(list, 40)
			in.Logprobs, in.PromptLogprobs, in.Salt = 3, 1, "told"
			return in
		},
		"told, drawn": func() *serval.Generate {
			in := greedy(code, 40)
			in.Logprobs, in.Sampling.Temperature, in.Sampling.TopK, in.Sampling.Seed = 0, 0.5, 20, 4
			return in
		},
		"penalties": func() *serval.Generate {
			in := greedy(list, 50)
			in.Sampling.FrequencyPenalty, in.Sampling.RepetitionPenalty, in.Sampling.PenaltyWindow = 0.1, 1.02, 64
			return in
		},
		"constraint": func() *serval.Generate {
			in := greedy(list, 60)
			in.Constraint = &serval.Constraint{Kind: "regex", Source: `( (red|green|blue|white|black)\.?){4,20}`}
			return in
		},
		"stops": func() *serval.Generate {
			in := greedy(list, 60)
			in.Sampling.StopTokens = d.words.Encode(nil, " white", bare)
			return in
		},
		"long":  func() *serval.Generate { return greedy(long, 60) },
		"one":   func() *serval.Generate { return greedy(list, 1) },
		"three": func() *serval.Generate { return greedy(list, 3) },
	}
	want := map[string]*answer{}
	for name, in := range asked {
		want[name] = askFor(in(), false)
		run(t, d, want[name])
	}
	var drafted, right int64
	check := func(where, name string, a *answer) {
		t.Helper()
		w := want[name]
		if !reflect.DeepEqual(a.tokens, w.tokens) || !reflect.DeepEqual(a.prompt, w.prompt) || a.finish != w.finish {
			t.Errorf("%s, %s: with guesses %v %q, without %v %q", name, where, a.ids(), a.finish, w.ids(), w.finish)
		}
		if a.usage.Completion != w.usage.Completion || a.usage.Accepted > a.usage.Drafted || w.usage.Drafted > 0 {
			t.Errorf("%s, %s: usage %+v, without guesses %+v", name, where, a.usage, w.usage)
		}
		drafted, right = drafted+a.usage.Drafted, right+a.usage.Accepted
	}
	for name, in := range asked {
		a := askFor(in(), true)
		rowsCostNothing(d)
		run(t, d, a)
		check("alone", name, a)
	}
	rounds := map[*decoder]int{d: 2, tight: 1} // the second finds the prompts in the cache
	for where, m := range map[string]*decoder{"together": d, "together, in a small cache": tight} {
		for round := range rounds[m] {
			all, names := []*answer(nil), []string(nil)
			for name, in := range asked {
				all, names = append(all, askFor(in(), len(all)%4 != 3)), append(names, name)
			}
			rowsCostNothing(m)
			run(t, m, all...)
			for i, a := range all {
				check(fmt.Sprint(where, ", round ", round), names[i], a)
			}
		}
	}
	t.Logf("%d of %d guesses were right", right, drafted)
	if right < 200 {
		t.Error("those are few")
	}
}

func askFor(in *serval.Generate, speculate bool) *answer {
	in.Speculate = speculate
	return ask(in)
}
