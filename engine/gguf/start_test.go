package gguf

import (
	"os"
	"testing"
	"time"

	"serval"
	"serval/engine"
	"serval/engine/gguf/kernel"
	"serval/engine/gguf/packed"
	"serval/llm/grammar"
	"serval/llm/vocab"
)

// BenchmarkStart says where the time of a start goes, in ms. SERVAL_BENCH_GGUF names another file, SERVAL_BENCH_KEPT a folder for packed
// weights, which the first run writes and a second one maps.
func BenchmarkStart(b *testing.B) {
	dir := smol(b)
	if path := os.Getenv("SERVAL_BENCH_GGUF"); path != "" {
		dir = folder(b, path)
	}
	spec := &engine.Spec{Name: "m", Dir: dir, Threads: 2, Settings: serval.ModelSettings{Text: &serval.TextSettings{Slots: 8}}}
	var kept *packed.Store
	if dir := os.Getenv("SERVAL_BENCH_KEPT"); dir != "" {
		kept = packed.New(dir, 0)
	}
	sum := map[string]time.Duration{}
	at := time.Now()
	lap := func(name string) {
		sum[name] += time.Since(at)
		at = time.Now()
	}
	for b.Loop() {
		at = time.Now()
		f, err := openFile(spec)
		if err != nil {
			b.Fatal(err)
		}
		lap("header-ms")
		x, err := shapeOf(f)
		if err != nil {
			b.Fatal(err)
		}
		p, err := makePlan(x, &spec.Settings, 2, 0)
		if err != nil {
			b.Fatal(err)
		}
		lap("shape-ms")
		words, err := vocab.FromGGUF(f)
		if err != nil {
			b.Fatal(err)
		}
		lap("vocab-ms")
		team := kernel.NewTeam(2)
		w, err := loadTensors(b.Context(), source{f, kept}, x, team)
		if err != nil {
			b.Fatal(err)
		}
		w.words = words
		lap("load-ms")
		n, err := newNet(w, p, team)
		if err != nil {
			b.Fatal(err)
		}
		lap("net-ms")
		kernel.Touch(team, n.kv)
		lap("kv-ms")
		d := &decoder{weights: w, plan: p, team: team, net: n, cache: newCache(p.blocks, p.shape.costs())}
		if err := d.warm(); err != nil {
			b.Fatal(err)
		}
		lap("warm-ms")
		grammar.Index(w.words)
		lap("grammar-ms")
		if err := d.Close(); err != nil {
			b.Fatal(err)
		}
		lap("close-ms")
	}
	for name, t := range sum {
		b.ReportMetric(float64(t.Microseconds())/1000/float64(b.N), name)
	}
}
