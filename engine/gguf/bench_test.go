package gguf

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"serval"
	"serval/engine"
	"serval/engine/gguf/kernel"
)

// BenchmarkAgainstLlama measures the decoder against engine/llama's: the same file, prompts, number of tokens and threads, greedy, in
// turns, so that a busy machine hurts both. The metrics are medians of SERVAL_BENCH_ROUNDS (3): tokens a second of the prompts until
// everybody has its first token, and of the tokens after the first.
//
// SERVAL_BENCH_GGUF names another file, SERVAL_BENCH_THREADS the threads (2); SERVAL_BENCH_OWN leaves llama.cpp out.
func BenchmarkAgainstLlama(b *testing.B) {
	dir := smol
	if path := os.Getenv("SERVAL_BENCH_GGUF"); path != "" {
		dir = func(t testing.TB) string { return folder(t, path) }
	}
	number := func(name string, otherwise int) int {
		if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
			return n
		}
		return otherwise
	}
	threads, rounds := number("SERVAL_BENCH_THREADS", 2), number("SERVAL_BENCH_ROUNDS", 3)
	settings := serval.TextSettings{Context: 2048, Slots: 32}
	models := map[string]engine.Decoder{"own": opened(b, New(), dir(b), settings, threads)}
	if os.Getenv("SERVAL_BENCH_OWN") == "" {
		models["llama"] = theirs(b, dir(b), settings, threads)
	}
	vocab := models["own"].(*decoder).vocab
	seed := 0
	for _, shape := range []struct{ sequences, prompt, answer int }{{1, 80, 64}, {8, 80, 64}, {16, 80, 64}, {32, 80, 64}, {1, 1024, 32}} {
		b.Run(fmt.Sprintf("sequences=%d/prompt=%d/answer=%d", shape.sequences, shape.prompt, shape.answer), func(b *testing.B) {
			for b.Loop() {
				prompts, rest := map[string][]float64{}, map[string][]float64{}
				for range rounds {
					seed++
					for name, d := range models {
						first, all := timed(b, d, benchPrompts(vocab, shape.sequences, shape.prompt, seed), shape.answer)
						prompts[name] = append(prompts[name], float64(shape.sequences*shape.prompt)/first.Seconds())
						rest[name] = append(rest[name], float64(shape.sequences*(shape.answer-1))/(all-first).Seconds())
					}
				}
				for name := range models {
					b.ReportMetric(median(prompts[name]), name+"-prompt-tok/s")
					b.ReportMetric(median(rest[name]), name+"-tok/s")
				}
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}

func median(list []float64) float64 {
	slices.Sort(list)
	return list[len(list)/2]
}

func benchPrompts(vocab, n, length, round int) [][]int32 {
	list := make([][]int32, n)
	for i := range list {
		for j := range length {
			list[i] = append(list[i], int32(100+(i*7919+j*104729+(round+1)*1299709)%(vocab-200)))
		}
	}
	return list
}

// timed is how long it took until every sequence had its first token, and until the end.
func timed(b *testing.B, d engine.Decoder, prompts [][]int32, most int) (first, all time.Duration) {
	b.Helper()
	var list []*answer
	start := time.Now()
	for _, p := range prompts {
		in := greedy(p, most)
		in.Sampling.IgnoreEnd = true
		a := ask(in)
		list = append(list, a)
		if err := d.Admit(&a.call); err != nil {
			b.Fatal(err)
		}
	}
	for live := len(list); live > 0; {
		var err error
		if live, err = d.Step(b.Context()); err != nil {
			b.Fatal(err)
		}
		if first == 0 && !slices.ContainsFunc(list, func(a *answer) bool { return a.chunks == 0 }) {
			first = time.Since(start)
		}
	}
	return first, time.Since(start)
}

// BenchmarkRows is what a step of so many rows costs, each with logits, behind 200 tokens: of one sequence, the token that was picked last
// and guesses at what follows, or of as many sequences.
func BenchmarkRows(b *testing.B) {
	dir := smol
	if path := os.Getenv("SERVAL_BENCH_GGUF"); path != "" {
		dir = func(t testing.TB) string { return folder(t, path) }
	}
	const behind = 200
	d := ours(b, dir(b), serval.TextSettings{Context: 512, Slots: 32, Cache: 16384})
	tokens := make([]int32, 32)
	for i := range tokens {
		tokens[i] = int32(100 + i)
	}
	for _, n := range []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 16, 17, 20, 24, 28, 32} {
		for _, name := range []string{"one", "many"} {
			b.Run(fmt.Sprintf("%s/rows=%d", name, n), func(b *testing.B) {
				for b.Loop() {
					d.net.reset()
					every := func(int) bool { return true }
					for i := range n {
						var table []int32
						for j := range blocksFor(behind + 32) {
							table = append(table, int32(i*10+j))
						}
						if name == "one" {
							d.net.add(tokens[:n], behind, table, every)
							break
						}
						d.net.add(tokens[i:i+1], behind, table, every)
					}
					if err := d.net.run(); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkStore is what a step costs over caches of each kind: of one and of 16 sequences with 1,500 tokens behind each, and of a piece
// of a prompt at its beginning and behind 1,024 tokens. The cells hold zeros, which take as long as others.
func BenchmarkStore(b *testing.B) {
	dir := smol
	if path := os.Getenv("SERVAL_BENCH_GGUF"); path != "" {
		dir = func(t testing.TB) string { return folder(t, path) }
	}
	const behind, cells = 1500, 1536
	tokens := make([]int32, 512)
	for i := range tokens {
		tokens[i] = int32(100 + i)
	}
	for s := kernel.StoreF16; s <= kernel.StoreQ8; s++ {
		d := storing(b, dir(b), serval.TextSettings{Context: 2048, Slots: 16, Cache: 16 * cells}, s.String())
		step := func(name string, sequences, n, pos int) {
			b.Run(fmt.Sprintf("%s/%s", s, name), func(b *testing.B) {
				for b.Loop() {
					d.net.reset()
					for i := range sequences {
						var table []int32
						for j := range cells / block {
							table = append(table, int32(i*cells/block+j))
						}
						d.net.add(tokens[:n], pos, table, func(i int) bool { return i == n-1 })
					}
					if err := d.net.run(); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(sequences*n*b.N)/b.Elapsed().Seconds(), "tok/s")
				b.ReportMetric(float64(d.plan.cache)/(1<<20), "MiB")
			})
		}
		step("decode=1", 1, 1, behind)
		step("decode=16", 16, 1, behind)
		step("prompt=512", 1, 512, 0)
		step("prompt=512/behind=1024", 1, 512, 1024)
	}
}
