package files

import (
	"fmt"
	"testing"

	"serval/stream"
)

// BenchmarkFlush is rows a second into files, 50,000 rows a flush of four lanes.
func BenchmarkFlush(b *testing.B) {
	for _, format := range []string{"parquet", "jsonl"} {
		b.Run(format, func(b *testing.B) {
			o := defaults()
			o.Path, o.Format = b.TempDir()+"/date={date}", format
			opened, err := Broker{}.Target(b.Context(), o, stream.Env{Stream: "bench", Instance: "i"})
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = opened.Close() }()
			to := opened.(*target)
			const rows = 50_000
			var lanes [4]*stream.Lane
			for i := range lanes {
				lanes[i] = stream.NewLane(fmt.Sprintf("t/%d", i), nil)
			}
			list := make([]*stream.Message, rows)
			for i := range list {
				list[i] = message(lanes[i%4], 0, fmt.Sprintf(`{"id":%d,"prediction":{"score":%g},"model":"m","version":"1"}`, i, 1/float64(i+1)))
				list[i].Position.Offset = int64(i)
			}
			for b.Loop() {
				if err := to.Take(b.Context(), list); err != nil {
					b.Fatal(err)
				}
				if err := to.Flush(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(rows*b.N)/b.Elapsed().Seconds(), "rows/s")
		})
	}
}
