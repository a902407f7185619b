package compare

import (
	"maps"
	"math"
	"slices"
)

// sketch knows quantiles of positive numbers within 2 %, by counting in buckets whose bounds grow by that: at most some 3,000.
type sketch struct {
	zero    uint64 // numbers below least
	buckets map[int]uint64
	count   uint64
}

const (
	growth = 1.04 // from one bound to the next; its middle is within 2 %
	least  = 1e-12
	most   = 1e36
)

func (s *sketch) add(v float64) {
	s.count++
	if !(v >= least) {
		s.zero++
		return
	}
	if s.buckets == nil {
		s.buckets = map[int]uint64{}
	}
	s.buckets[int(math.Floor(math.Log(min(v, most))/math.Log(growth)))]++
}

// quantile is the number below which the share q of all are; 0 where there are none.
func (s *sketch) quantile(q float64) float64 {
	rank := uint64(math.Ceil(q * float64(s.count)))
	below := s.zero
	if below >= rank {
		return 0
	}
	for _, b := range slices.Sorted(maps.Keys(s.buckets)) {
		if below += s.buckets[b]; below >= rank {
			return math.Pow(growth, float64(b)+0.5)
		}
	}
	return 0
}
