package child

import (
	"sync"
	"testing"
)

// BenchmarkCall is one call of a model that costs nothing: what the way to the process and back costs.
func BenchmarkCall(b *testing.B) {
	for _, callers := range []int{1, 16} {
		b.Run(map[int]string{1: "c=1", 16: "c=16"}[callers], func(b *testing.B) {
			k := launch(b, quick(b), echo, "")
			b.ReportAllocs()
			b.ResetTimer()
			var wg sync.WaitGroup
			for range callers {
				wg.Go(func() {
					for range b.N / callers {
						if _, err := k.ask(b.Context(), 1); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
		})
	}
}

// BenchmarkChunk is one chunk of 16 answers that are made together.
func BenchmarkChunk(b *testing.B) {
	k := launch(b, quick(b), `{"inputs":[{"name":"x","datatype":"INT32","shape":[1]}],"outputs":[{"name":"step","datatype":"INT32","shape":[1]}],"steps":%d}`, max(1, b.N/16))
	b.ReportAllocs()
	b.ResetTimer()
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			if err := k.count(b.Context(), 1, func(int) error { return nil }); err != nil {
				b.Error(err)
			}
		})
	}
	wg.Wait()
}
