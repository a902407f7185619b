package batch_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"serval"
	"serval/batch"
	formats "serval/batch/all"
)

// BenchmarkRun is what a job costs beside its model: 16 numbers and an id in, the id and a number out.
func BenchmarkRun(b *testing.B) {
	const rows = 100000
	dir := b.TempDir()
	var data bytes.Buffer
	data.WriteString("id")
	model := serval.ModelInfo{Name: "m", Version: "1", Signature: serval.Signature{Inputs: []serval.TensorInfo{{Name: "x", DType: serval.FP32, Shape: []int64{-1, 16}}}}}
	job := batch.Job{Map: map[string][]string{}}
	for c := range 16 {
		fmt.Fprintf(&data, ",f%d", c)
		job.Map["x"] = append(job.Map["x"], fmt.Sprint("f", c))
	}
	for i := range rows {
		fmt.Fprintf(&data, "\nr%d", i)
		for c := range 16 {
			fmt.Fprintf(&data, ",%v", float32(i*(c+1)%4001)/float32(c%4+1))
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "in.csv"), data.Bytes(), 0o644); err != nil {
		b.Fatal(err)
	}
	h := serval.HandlerFunc(func(_ context.Context, req *serval.Request, sink serval.Sink) error {
		in := &req.Input.(*serval.Tensors).List[0]
		n := in.Shape[0]
		out := serval.Tensor{Name: "y", DType: serval.FP32, Shape: []int64{n, 1}, Data: in.Data[:4*n]}
		return sink.Send(&serval.Chunk{Output: &serval.Tensors{List: []serval.Tensor{out}}, Finish: serval.Stop})
	})
	b.SetBytes(int64(data.Len()))
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		o := batch.Options{Handler: h, Model: model, Formats: formats.Formats(), Job: job}
		var err error
		if o.Inputs, err = (batch.Files{}).Locate(b.Context(), filepath.Join(dir, "in.csv")); err != nil {
			b.Fatal(err)
		}
		if o.Target, err = (batch.Files{}).Target(b.Context(), filepath.Join(dir, fmt.Sprintf("out%d.csv", n))); err != nil {
			b.Fatal(err)
		}
		if _, err := batch.Run(b.Context(), o); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(rows*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}
