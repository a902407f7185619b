package postgres

import (
	"context"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"

	"serval/internal/testkit"
	"serval/stream"
)

// BenchmarkWrite is rows a second into a table with a key, 5,000 rows a transaction.
func BenchmarkWrite(b *testing.B) {
	db := testkit.Postgres(b)
	for _, once := range []bool{false, true} {
		b.Run(fmt.Sprintf("once=%v", once), func(b *testing.B) {
			o := defaults()
			o.URL, o.Table = db.URL, fmt.Sprintf("bench_%v", once)
			o.Key = []string{"id"}
			to, err := Broker{}.Target(b.Context(), o, stream.Env{Stream: "bench", Once: once})
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = to.Close() }()
			c, err := pgx.Connect(b.Context(), db.URL)
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = c.Close(context.Background()) }()
			if _, err := c.Exec(b.Context(), "CREATE TABLE IF NOT EXISTS "+o.Table+" (id bigint PRIMARY KEY, score double precision, model text)"); err != nil {
				b.Fatal(err)
			}
			lane, at := stream.NewLane("t/0", nil), int64(0)
			const rows = 5000
			b.ResetTimer()
			for b.Loop() {
				list := make([]*stream.Message, rows)
				for i := range list {
					list[i] = result(lane, at, fmt.Sprintf(`{"id":%d,"prediction":{"score":%g},"model":"m"}`, at, 1/float64(at+1)))
					at++
				}
				if err := to.Write(context.Background(), list); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(rows*b.N)/b.Elapsed().Seconds(), "rows/s")
		})
	}
}
