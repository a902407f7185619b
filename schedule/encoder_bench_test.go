package schedule

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"serval"
	"serval/engine"
	"serval/engine/onnx"
)

// BenchmarkMixedTexts says what batches by tokens are worth with all-MiniLM-L6-v2, which test/setup.sh exports: texts of 4 to
// 256 tokens, most of them short, on one instance with one thread. count/32 is the usual way: 32 texts as they come, padded
// to the longest; tokens/N are batches as the queue makes them.
func BenchmarkMixedTexts(b *testing.B) {
	cache, err := os.UserCacheDir()
	if err != nil {
		b.Fatal(err)
	}
	dir := filepath.Join(cache, "serval-test", "minilm", "1")
	if _, err := os.Stat(dir); err != nil {
		b.Skip("run test/setup.sh first")
	}
	mustOpen(b, "accumulate", serval.ModelSettings{Sequence: accumulating()})
	spec := engine.Spec{Name: "minilm", Version: "1", Dir: dir, Device: engine.Device{Kind: "cpu"}, Threads: 1}
	m, err := texts(onnx.New(library.store, onnx.Options{}), &spec, 0).Open(b.Context(), spec)
	if err != nil {
		b.Fatal(err)
	}
	defer m.Close()
	e := m.(*ragged)
	e.probe(b.Context(), "auto")
	b.Logf("beginning a tensor costs as much as %d tokens", e.overhead)
	r := rand.New(rand.NewPCG(1, 1))
	var list [][]int32
	tokens := 0
	for range 256 {
		n := int(min(256, max(4, math.Exp(2.9+0.9*r.NormFloat64()))))
		list = append(list, madeUp(n, tokens))
		tokens += n
	}
	run := func(name string, overhead int, full func(texts, tokens int) bool) {
		b.Run(name, func(b *testing.B) {
			was, budget := e.overhead, e.plan.budget
			e.overhead, e.plan.budget = overhead, 1<<20
			defer func() { e.overhead, e.plan.budget = was, budget }()
			longest := time.Duration(0)
			for b.Loop() {
				for at := 0; at < len(list); {
					in, size := &serval.Encode{}, 0
					for at < len(list) && (len(in.List) == 0 || !full(len(in.List)+1, size+len(list[at]))) {
						in.List, size = append(in.List, list[at]), size+len(list[at])
						at++
					}
					c := &engine.Call{Rows: int64(size), Input: in}
					begun := time.Now()
					if err := e.Execute(b.Context(), []*engine.Call{c}); err != nil {
						b.Fatal(err)
					}
					longest = max(longest, time.Since(begun))
					c.Reset()
				}
			}
			b.ReportMetric(float64(tokens*b.N)/b.Elapsed().Seconds(), "tokens/s")
			b.ReportMetric(float64(longest.Milliseconds()), "ms/longest")
		})
	}
	for _, n := range []int{1, 8, 32, 64} {
		run(fmt.Sprintf("count/%d", n), 1<<30, func(texts, _ int) bool { return texts > n })
	}
	for _, n := range []int{256, 512, 1024, 2048, 4096} {
		run(fmt.Sprintf("tokens/%d", n), e.overhead, func(_, tokens int) bool { return tokens > n })
	}
}
