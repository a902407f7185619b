package onnx_test

import (
	"context"
	"fmt"
	"testing"

	"serval"
	"serval/engine"
)

// BenchmarkExecute runs the multi-layer perceptron (30 → 256 → 256 → 1) as one call of many rows.
func BenchmarkExecute(b *testing.B) {
	m := open(b, "mlp")
	for _, rows := range []int64{1, 16, 64, 512} {
		b.Run(fmt.Sprintf("rows=%d", rows), func(b *testing.B) {
			c := call(m, fp32("x", []int64{rows, 30}, make([]float32, rows*30)...))
			bench(b, m, []*engine.Call{c}, rows)
		})
	}
}

// BenchmarkBatch runs the same rows as that many calls of one row.
func BenchmarkBatch(b *testing.B) {
	m := open(b, "mlp")
	for _, rows := range []int{16, 64, 512} {
		b.Run(fmt.Sprintf("calls=%d", rows), func(b *testing.B) {
			var calls []*engine.Call
			for range rows {
				calls = append(calls, call(m, fp32("x", []int64{1, 30}, make([]float32, 30)...)))
			}
			bench(b, m, calls, int64(rows))
		})
	}
}

// BenchmarkZipMap runs a classifier whose answer is a map for each row.
func BenchmarkZipMap(b *testing.B) {
	m := open(b, "zipmap_string")
	for _, rows := range []int64{1, 64} {
		b.Run(fmt.Sprintf("rows=%d", rows), func(b *testing.B) {
			bench(b, m, []*engine.Call{call(m, fp32("x", []int64{rows, 4}, make([]float32, rows*4)...))}, rows)
		})
	}
}

func bench(b *testing.B, m engine.Batcher, calls []*engine.Call, rows int64) {
	inputs := make([][]serval.Tensor, len(calls))
	for i, c := range calls {
		inputs[i] = append(inputs[i], c.Inputs...)
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := m.Execute(context.Background(), calls); err != nil {
			b.Fatal(err)
		}
		for i, c := range calls {
			if c.Err != nil {
				b.Fatal(c.Err)
			}
			c.Reset()
			c.Inputs, c.Rows = append(c.Inputs, inputs[i]...), inputs[i][0].Shape[0]
		}
	}
	b.ReportMetric(float64(b.N)*float64(rows)/b.Elapsed().Seconds(), "rows/s")
}
