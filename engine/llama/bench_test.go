package llama

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"serval"
	"serval/engine"
	"serval/llm/gguf"
	"serval/llm/sample"
)

// BenchmarkAgainstRaw measures the decoder against a bare loop over the same library: the same prompts, the same number of tokens,
// greedy, the same threads, in turns, so that a busy machine hurts both. The metrics are medians: tokens a second, and engine by
// raw in percent, for the whole, for the prompts, and for the tokens after the first.
//
// SERVAL_BENCH_GGUF names another model, SERVAL_BENCH_THREADS the threads (2), SERVAL_BENCH_ROUNDS the rounds (5), SERVAL_BENCH_KV
// the kind of cache, SERVAL_BENCH_DEVICE the device. With SERVAL_BENCH_HEADER, the
// header of SmolLM2's file, a model of its shape is written to SERVAL_BENCH_GGUF first.
func BenchmarkAgainstRaw(b *testing.B) {
	path := os.Getenv("SERVAL_BENCH_GGUF")
	switch header := os.Getenv("SERVAL_BENCH_HEADER"); {
	case path == "":
		path = smol(b)
	case header != "":
		writeModel(b, header, path)
	}
	number := func(name string, otherwise int) int {
		if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
			return n
		}
		return otherwise
	}
	threads, rounds := number("SERVAL_BENCH_THREADS", 2), number("SERVAL_BENCH_ROUNDS", 5)
	device, err := engine.ParseDevice(os.Getenv("SERVAL_BENCH_DEVICE"))
	if err != nil {
		b.Fatal(err)
	}
	m, err := testEngine(b).Open(b.Context(), engine.Spec{
		Name: "m", Device: device, Dir: folder(b, path), Threads: threads,
		Settings: serval.ModelSettings{Text: &serval.TextSettings{Context: 2048, Slots: 16}, Options: map[string]string{"kv": os.Getenv("SERVAL_BENCH_KV")}},
	})
	if err != nil {
		b.Fatal(err)
	}
	defer m.Close()
	d := m.(*decoder)
	for _, shape := range []struct{ sequences, prompt, answer int }{{1, 80, 64}, {8, 80, 64}, {16, 80, 64}, {16, 30, 64}, {1, 1024, 32}} {
		b.Run(fmt.Sprintf("sequences=%d/prompt=%d/answer=%d", shape.sequences, shape.prompt, shape.answer), func(b *testing.B) {
			s := rawSession(b, d, shape.sequences, shape.prompt+shape.answer)
			defer s.close()
			rawRun(b, d, s, benchPrompts(d.vocab, shape.sequences, 30, -1), 2) // so that its memory is there
			for b.Loop() {
				var raw, own []timing
				for i := range rounds {
					prompts := benchPrompts(d.vocab, shape.sequences, shape.prompt, i)
					raw = append(raw, rawRun(b, d, s, prompts, shape.answer))
					own = append(own, ownRun(b, d, prompts, shape.answer))
				}
				n := shape.sequences
				report := func(what string, tokens int, of func(timing) time.Duration) {
					r, o := median(raw, of), median(own, of)
					b.ReportMetric(float64(tokens)/r, what+"-raw-tok/s")
					b.ReportMetric(float64(tokens)/o, what+"-tok/s")
					b.ReportMetric(100*r/o, what+"-%")
				}
				report("all", n*shape.answer, func(t timing) time.Duration { return t.all })
				report("prompt", n*shape.prompt, func(t timing) time.Duration { return t.first })
				report("rest", n*(shape.answer-1), func(t timing) time.Duration { return t.all - t.first })
			}
		})
	}
}

// timing is one run: until every sequence had its first token, and until the end.
type timing struct{ first, all time.Duration }

func median(list []timing, of func(timing) time.Duration) float64 {
	var values []float64
	for _, t := range list {
		values = append(values, of(t).Seconds())
	}
	slices.Sort(values)
	return values[len(values)/2]
}

func benchPrompts(vocab, n, length, round int) [][]int32 {
	list := make([][]int32, n)
	for i := range list {
		for j := range length {
			list[i] = append(list[i], int32(100+(i*7919+j*104729+(round+1)*1299709)%(vocab-200)))
		}
	}
	return list
}

// rawSession is a context for n sequences of so many tokens, each with cells of its own, which is the faster way.
func rawSession(b *testing.B, d *decoder, n, tokens int) *session {
	b.Helper()
	p := d.lib.contextDefaults()
	p.Ctx, p.Batch, p.Ubatch, p.SeqMax = uint32(n*max(512, tokens)), 512, 512, uint32(n)
	s, err := d.newSession(p, d.threads)
	if err != nil {
		b.Fatal(err)
	}
	return s
}

// rawRun is the bare loop: the prompts in batches as large as llama.cpp likes them, then all sequences a token at a time.
func rawRun(b *testing.B, d *decoder, s *session, prompts [][]int32, answer int) timing {
	b.Helper()
	d.lib.memClear(s.mem, false)
	s.batch.reset()
	next := make([]int32, len(prompts))
	last := make([]int, len(prompts))
	decode := func() {
		if err := s.decode(); err != nil {
			b.Fatal(err)
		}
	}
	start := time.Now()
	flush := func() {
		decode()
		for i, row := range last {
			if row >= 0 {
				next[i] = sample.Argmax(s.logits(row, d.vocab))
			}
			last[i] = -1
		}
		s.batch.reset()
	}
	for i := range last {
		last[i] = -1
	}
	for i, prompt := range prompts {
		for j, id := range prompt {
			if s.batch.room() == 0 {
				flush()
			}
			row := s.batch.add(id, int32(j), int32(i), j == len(prompt)-1)
			if j == len(prompt)-1 {
				last[i] = row
			}
		}
	}
	flush()
	first := time.Since(start)
	for n := 1; n < answer; n++ {
		s.batch.reset()
		for i, id := range next {
			s.batch.add(id, int32(len(prompts[i])+n-1), int32(i), true)
		}
		decode()
		for i := range next {
			next[i] = sample.Argmax(s.logits(i, d.vocab))
		}
	}
	return timing{first, time.Since(start)}
}

// ownRun is the same through the decoder.
func ownRun(b *testing.B, d *decoder, prompts [][]int32, answer int) timing {
	b.Helper()
	d.clearCache()
	var all []*answerTimed
	start := time.Now()
	for _, p := range prompts {
		in := greedy(p, answer)
		in.Sampling.IgnoreEnd = true
		a := &answerTimed{}
		a.room = -1
		a.call = engine.Call{Input: in, Rows: 1, Stream: a}
		all = append(all, a)
		if err := d.Admit(&a.call); err != nil {
			b.Fatal(err)
		}
	}
	var first time.Duration
	for live := len(all); live > 0; {
		var err error
		if live, err = d.Step(b.Context()); err != nil {
			b.Fatal(err)
		}
		if first == 0 && !slices.ContainsFunc(all, func(a *answerTimed) bool { return a.chunks == 0 }) {
			first = time.Since(start)
		}
	}
	return timing{first, time.Since(start)}
}

type answerTimed struct{ answer }

// writeModel writes a model of SmolLM2's shape with random weights, from the header of its file: for machines that the file does
// not get to.
func writeModel(t testing.TB, header, out string) {
	t.Helper()
	raw, err := os.ReadFile(header)
	if err != nil {
		t.Fatal(err)
	}
	const size = 98362432
	file, err := os.Create(out)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := file.Write(raw); err != nil {
		t.Fatal(err)
	}
	if err := file.Truncate(size); err != nil {
		t.Fatal(err)
	}
	f, err := gguf.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	seed := uint32(1)
	random := func() byte { seed = seed*1664525 + 1013904223; return byte(seed >> 24) }
	for _, x := range f.Tensors {
		data := make([]byte, x.Size)
		for i := range data {
			switch at := i % 20; {
			case x.Type.String() == "F32": // 1.0
				data[i] = [4]byte{0, 0, 0x80, 0x3f}[i%4]
			case x.Type.String() == "Q8_0":
				data[i] = random()
				if at := i % 34; at < 2 {
					data[i] = [2]byte{0x00, 0x0c}[at] // 2^-12
				}
			case at < 4: // Q4_1: scale 2^-8 and least -2^-5
				data[i] = [4]byte{0x00, 0x1c, 0x00, 0xa8}[at]
			default:
				data[i] = random()
			}
		}
		if _, err := file.WriteAt(data, x.Offset); err != nil {
			t.Fatal(err)
		}
	}
}
