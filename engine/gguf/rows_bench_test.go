package gguf

import (
	"fmt"
	"os"
	"testing"

	"serval"
)

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
