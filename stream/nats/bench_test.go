package nats

import (
	"testing"

	"serval/internal/testkit"
	"serval/stream"
)

// BenchmarkEnds reads messages of 280 bytes through the lanes of a source, writes each to a target and acks it, without a model
// in between: go test -run xxx -bench Ends -benchtime 200000x ./stream/nats
func BenchmarkEnds(b *testing.B) {
	for _, order := range []string{"lane", "none"} {
		b.Run(order, func(b *testing.B) { ends(b, order) })
	}
}

func ends(b *testing.B, order string) {
	bus := newBus(b, New(), "", testkit.NATSAlone(b, nil).URL)
	bus.create(b, "in", 1)
	bus.create(b, "out", 1)
	list := numbers(0, b.N, 1000)
	for i := range list {
		list[i].Value = append(list[i].Value, make([]byte, 270)...)
	}
	for i := 0; i < b.N; i += 2000 {
		bus.send(b, "in", list[i:min(b.N, i+2000)])
	}
	env := stream.Env{Stream: "flow", Instance: "i", Owner: nobody{}, Warn: func(text string, args ...any) { b.Log(text, args) }}
	o := bus.source("in")
	o.Order = order
	src, err := bus.b.Source(b.Context(), o, env)
	if err != nil {
		b.Fatal(err)
	}
	defer src.Close()
	dst, err := bus.b.Target(b.Context(), bus.target("out"), env)
	if err != nil {
		b.Fatal(err)
	}
	defer dst.Close()
	b.ResetTimer()
	for done := 0; done < b.N; {
		list, err := src.Read(b.Context(), 4096)
		if err != nil {
			b.Fatal(err)
		}
		results := make([]*stream.Message, len(list))
		acks := make([]*stream.Message, len(list))
		for i := range list {
			m := &list[i]
			acks[i], results[i] = m, &stream.Message{Key: m.Key, Value: m.Value, Position: m.Position, Time: m.Time, Lane: m.Lane}
		}
		if err := dst.Write(b.Context(), results); err != nil {
			b.Fatal(err)
		}
		if err := src.Ack(b.Context(), acks); err != nil {
			b.Fatal(err)
		}
		done += len(list)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
}
