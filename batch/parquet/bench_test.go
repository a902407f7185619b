package parquet

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"testing"

	"serval"
	"serval/batch"
	"serval/internal/column/columntest"
)

// BenchmarkRead reads 5,000,000 rows of 10 columns as floats, in blocks of 8192 rows; test/python/columns/bench.py does the same
// with pyarrow.
func BenchmarkRead(b *testing.B) {
	for _, codec := range []string{"snappy", "zstd"} {
		cache, err := os.UserCacheDir()
		if err != nil {
			b.Fatal(err)
		}
		path := filepath.Join(cache, "serval-test", "columns-"+codec+".parquet")
		if _, err := os.Stat(path); err != nil {
			columntest.Python(b, "bench.py", "make", path)
		}
		b.Run(codec, func(b *testing.B) {
			for b.Loop() {
				r := columntest.Open(b, Format{}, path)
				columns := r.Columns()
				for i := range columns {
					columns[i].Type = serval.FP32
				}
				if err := r.Select(columns, nil); err != nil {
					b.Fatal(err)
				}
				rows := 0
				var block batch.Block
				for {
					err := r.Read(context.Background(), &block, 8192)
					if err == io.EOF {
						break
					} else if err != nil {
						b.Fatal(err)
					}
					rows += block.Rows
				}
				if rows != 5_000_000 {
					b.Fatalf("%d rows", rows)
				}
			}
			b.ReportMetric(5*float64(b.N)/b.Elapsed().Seconds(), "Mrows/s")
		})
	}
}
