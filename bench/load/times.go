package load

import (
	"encoding/json"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

const (
	maxLatency    = time.Hour // longer ones are recorded as this
	latencyDigits = 3
)

// Times collects durations in bounded memory, to three digits. It is not safe for concurrent use.
type Times struct{ h *hdrhistogram.Histogram }

// NewTimes makes an empty one.
func NewTimes() *Times {
	return &Times{hdrhistogram.New(1, maxLatency.Nanoseconds(), latencyDigits)}
}

// Add counts d.
func (t *Times) Add(d time.Duration) {
	// A value within the histogram's range is never refused.
	_ = t.h.RecordValue(int64(min(max(d, 1), maxLatency)))
}

// Merge adds what other holds.
func (t *Times) Merge(other *Times) { t.h.Merge(other.h) }

// Latency is the distribution of what was added; zero if that is nothing, or if t is nil.
func (t *Times) Latency() Latency {
	if t == nil || t.h.TotalCount() == 0 {
		return Latency{}
	}
	at := func(percentile float64) time.Duration { return time.Duration(t.h.ValueAtQuantile(percentile)) }
	return Latency{
		Min: time.Duration(t.h.Min()), Mean: time.Duration(t.h.Mean()), P50: at(50), P90: at(90), P99: at(99), P999: at(99.9), Max: time.Duration(t.h.Max()),
	}
}

// Latency is a distribution of times.
type Latency struct{ Min, Mean, P50, P90, P99, P999, Max time.Duration }

// MarshalJSON writes the times in milliseconds.
func (l Latency) MarshalJSON() ([]byte, error) {
	ms := func(d time.Duration) float64 { return float64(d.Nanoseconds()/10) / 1e5 }
	return json.Marshal(struct {
		Min  float64 `json:"min"`
		Mean float64 `json:"mean"`
		P50  float64 `json:"p50"`
		P90  float64 `json:"p90"`
		P99  float64 `json:"p99"`
		P999 float64 `json:"p99.9"`
		Max  float64 `json:"max"`
	}{ms(l.Min), ms(l.Mean), ms(l.P50), ms(l.P90), ms(l.P99), ms(l.P999), ms(l.Max)})
}
