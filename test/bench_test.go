package test

import (
	"encoding/binary"
	"math"
	"testing"
)

func appendFloat(b []byte, v float32) []byte {
	return binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
}

// TestBench runs each loop and wire for a moment: what it reports must be consistent; how fast it is is not asked here.
func TestBench(t *testing.T) {
	t.Parallel()
	s := serve(t)
	for name, args := range map[string][]string{
		"closed":  {"-c", "4", "-n", "300"},
		"binary":  {"--format", "binary", "-c", "2", "-n", "200"},
		"grpc":    {"--format", "grpc", "--grpc", s.GRPC, "-c", "4", "-n", "300"},
		"open":    {"--rate", "200", "-d", "1s"},
		"poisson": {"--rate", "200", "-d", "1s", "--arrivals", "poisson"},
		"rows":    {"--rows", "16", "-c", "2", "-n", "50"},
	} {
		t.Run(name, func(t *testing.T) {
			var r struct {
				Requests, Errors uint64
				Throughput       float64
				Rate             float64
				Rows             int
				Elapsed          float64            `json:"elapsed_s"`
				Latency          map[string]float64 `json:"latency_ms"`
				Service          map[string]float64 `json:"service_ms"`
			}
			run(t, append([]string{"bench", "mlp", "-o", "json", "--warm-up", "100ms", "--server", s.URL("")}, args...)...).into(t, &r)
			l := r.Latency
			if r.Requests == 0 || r.Errors != 0 || r.Elapsed <= 0 || r.Throughput <= 0 {
				t.Errorf("%+v", r)
			}
			if !(0 < l["min"] && l["min"] <= l["p50"] && l["p50"] <= l["p90"] && l["p90"] <= l["p99"] && l["p99"] <= l["p99.9"] && l["p99.9"] <= l["max"]*1.01) {
				t.Errorf("latencies are not in order: %v", l)
			}
			if open := r.Rate > 0; open != (name == "open" || name == "poisson") || open != (r.Service != nil) {
				t.Errorf("rate %v, service %v", r.Rate, r.Service)
			}
			if counted := float64(r.Requests) / r.Elapsed; counted < r.Throughput*0.99 || counted > r.Throughput*1.01 {
				t.Errorf("%d requests in %vs are not %v a second", r.Requests, r.Elapsed, r.Throughput)
			}
		})
	}
	run(t, "bench", "mlp", "-n", "20", "--warm-up", "0s", "--server", s.HTTP).want(t, 0, "p99")
	run(t, "bench", "credit", "--file", models(t)+"/credit/applicants.csv", "-n", "20", "--warm-up", "0s", "--server", s.HTTP).want(t, 0, "p99")
	run(t, "bench", "nobody", "-n", "1", "--server", s.HTTP).want(t, 1, "'nobody'")
}
