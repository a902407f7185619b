package sample

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"serval"
)

// BenchmarkSample is one step for a vocabulary, the copy of the logits included.
func BenchmarkSample(b *testing.B) {
	for _, vocab := range []int{49152, 262144} {
		r := rand.New(rand.NewPCG(1, 1))
		logits, work := make([]float32, vocab), make([]float32, vocab)
		for i := range logits {
			logits[i] = float32(r.NormFloat64()*3 - 5)
		}
		logits[vocab/2] = 15
		half := make([]uint64, (vocab+63)/64)
		few := make([]uint64, (vocab+63)/64)
		for i := range half {
			half[i] = r.Uint64()
		}
		few[3], few[len(few)-1] = 0xff, 0xff
		for _, c := range []struct {
			name    string
			change  func(*serval.Sampling)
			allowed []uint64
		}{
			{"greedy", func(s *serval.Sampling) { s.Temperature = 0 }, nil},
			{"greedy, half allowed", func(s *serval.Sampling) { s.Temperature = 0 }, half},
			{"greedy, 16 allowed", func(s *serval.Sampling) { s.Temperature = 0 }, few},
			{"temperature", func(s *serval.Sampling) {}, nil},
			{"top_p", func(s *serval.Sampling) { s.TopP = 0.95 }, nil},
			{"top_p, hot", func(s *serval.Sampling) { s.TopP, s.Temperature = 0.95, 3 }, nil},
			{"top_k", func(s *serval.Sampling) { s.TopK = 40 }, nil},
			{"top_k, top_p, min_p", func(s *serval.Sampling) { s.TopK, s.TopP, s.MinP = 40, 0.95, 0.05 }, nil},
			{"top_p, half allowed", func(s *serval.Sampling) { s.TopP = 0.95 }, half},
			{"penalties", func(s *serval.Sampling) { s.Temperature, s.RepetitionPenalty, s.FrequencyPenalty = 0, 1.1, 0.5 }, nil},
		} {
			b.Run(fmt.Sprintf("%d/%s", vocab, c.name), func(b *testing.B) {
				s := plain()
				c.change(&s)
				p := New(s, vocab, make([]int32, 100))
				copy(work, logits)
				p.Sample(work, c.allowed)
				b.ReportAllocs()
				b.ResetTimer()
				for range b.N {
					copy(work, logits)
					id := p.Sample(work, c.allowed)
					p.Accept(id)
				}
			})
		}
		b.Run(fmt.Sprintf("%d/logprobs, 20", vocab), func(b *testing.B) {
			sum := float32(0)
			for range b.N {
				sum += Logprobs(logits, 5, 20).Logprob
			}
			if math.IsNaN(float64(sum)) {
				b.Fatal("NaN")
			}
		})
	}
}
