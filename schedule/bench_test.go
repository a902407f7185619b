package schedule

import (
	"context"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"serval"
)

// BenchmarkCalls says what the contract costs a plain call, from Handle to the answer, with as many callers as -cpu says
// (times 8): the share of a request that is neither wire nor arithmetic.
func BenchmarkCalls(b *testing.B) {
	o := open(b, nil, serval.ModelSettings{Instances: 2})
	defer o.Loaded.Close()
	sink := serval.SinkFunc(func(*serval.Chunk) error { return nil })
	b.SetParallelism(8)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		req := request(1, 1)
		for pb.Next() {
			if err := o.Loaded.Handle(context.Background(), req, sink); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// BenchmarkSequences says the same of a call of a sequence, with a state of 1 KiB; each caller has a sequence of its own.
func BenchmarkSequences(b *testing.B) {
	io := func(x, h string) []map[string]any {
		return []map[string]any{{"name": x, "datatype": "FP32", "shape": []int{-1, 2}}, {"name": h, "datatype": "FP32", "shape": []int{-1, 256}}}
	}
	o := open(b, map[string]any{"inputs": io("x", "h"), "outputs": io("y", "h_next")}, serval.ModelSettings{Instances: 2,
		Sequence: &serval.SequenceSettings{States: []serval.SequenceState{{Input: "h", Output: "h_next"}}}})
	defer o.Loaded.Close()
	sink := serval.SinkFunc(func(*serval.Chunk) error { return nil })
	var callers atomic.Int64
	b.SetParallelism(8)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		req := request(1, 1)
		req.Sequence = serval.Sequence{ID: strconv.FormatInt(callers.Add(1), 10), Start: true}
		for pb.Next() {
			if err := o.Loaded.Handle(context.Background(), req, sink); err != nil {
				b.Error(err)
				return
			}
			req.Sequence.Start = false
		}
	})
}

// Benchmark10000Streams says what a Chunk costs from the decode loop to its reader, with 10,000 readers at once.
func Benchmark10000Streams(b *testing.B) {
	const streams, steps = 10_000, 50
	o := open(b, map[string]any{"steps": steps}, serval.ModelSettings{Queue: serval.QueueSettings{Limit: streams}})
	defer o.Loaded.Close()
	b.ReportAllocs()
	for b.Loop() {
		var wg sync.WaitGroup
		var chunks atomic.Int64
		for range streams {
			wg.Add(1)
			go func() {
				defer wg.Done()
				n := int64(0)
				err := o.Loaded.Handle(context.Background(), request(1, 1), serval.SinkFunc(func(*serval.Chunk) error { n++; return nil }))
				if err != nil {
					b.Error(err)
				}
				chunks.Add(n)
			}()
		}
		wg.Wait()
		if chunks.Load() != streams*steps {
			b.Fatalf("%d chunks", chunks.Load())
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*streams*steps), "ns/chunk")
}
