package schedule

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"serval"
	"serval/engine"
	"serval/engine/onnx"
)

// encoderSpec lays out a model of testdata, which test/python/minilm/export.py made, with a tokenizer and other files beside it.
func encoderSpec(t testing.TB, fixture string, s serval.ModelSettings, files map[string]string) engine.Spec {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", fixture, "model.onnx"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	all := map[string]string{"1/model.onnx": string(raw), "tokenizer.json": "{}", "config.json": `{"max_position_embeddings": 48, "pad_token_id": 0}`}
	for name, text := range files {
		all[name] = text
	}
	for name, text := range all {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return engine.Spec{Name: fixture, Version: "1", Dir: filepath.Join(dir, "1"), Root: dir, Settings: s, Device: engine.Device{Kind: "cpu"}, Threads: 1}
}

func openEncoder(t testing.TB, fixture string, s serval.ModelSettings, files map[string]string) *Opened {
	t.Helper()
	mustOpen(t, "accumulate", serval.ModelSettings{Sequence: accumulating()}) // finds the library
	o, err := Open(t.Context(), onnx.New(library.store, onnx.Options{}), encoderSpec(t, fixture, s, files), 2)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := o.Loaded.Close(); err != nil {
			t.Error(err)
		}
	})
	return o
}

// encode asks for vectors.
func encode(ctx context.Context, h serval.Handler, in *serval.Encode) (vectors [][]float32, usage serval.Usage, err error) {
	err = h.Handle(ctx, &serval.Request{Input: in}, serval.SinkFunc(func(c *serval.Chunk) error {
		if vectors != nil || c.Finish != serval.Stop {
			return fmt.Errorf("a chunk %+v after %d vectors", c, len(vectors))
		}
		vectors, usage = c.Output.(*serval.Embeddings).List, c.Usage
		return nil
	}))
	return vectors, usage, err
}

// plain is the same model with its tensors, one text at a time and without padding: what the vectors must be.
type plain struct {
	t testing.TB
	h serval.Handler
}

func openPlain(t testing.TB, fixture string) plain {
	o := openEncoder(t, fixture, serval.ModelSettings{Text: &serval.TextSettings{Tensors: true}}, nil)
	if o.Language != nil {
		t.Fatal("a model of tensors has a language")
	}
	return plain{t, o.Loaded}
}

// output is the model's own, as rows of width numbers.
func (p plain) output(tokens, types []int32, width int) [][]float64 {
	p.t.Helper()
	var list []serval.Tensor
	for _, name := range []string{"input_ids", "attention_mask", "token_type_ids"} {
		x := serval.Tensor{Name: name, DType: serval.Int64, Shape: []int64{1, int64(len(tokens))}}
		for i := range tokens {
			v := int64(1)
			switch {
			case name == "input_ids":
				v = int64(tokens[i])
			case name == "token_type_ids" && types != nil:
				v = int64(types[i])
			case name == "token_type_ids":
				v = 0
			}
			x.Data = binary.LittleEndian.AppendUint64(x.Data, uint64(v))
		}
		list = append(list, x)
	}
	var rows [][]float64
	err := p.h.Handle(p.t.Context(), &serval.Request{Input: &serval.Tensors{List: list}}, serval.SinkFunc(func(c *serval.Chunk) error {
		all := floats(&c.Output.(*serval.Tensors).List[0])
		for at := 0; at < len(all); at += width {
			rows = append(rows, slices.Clone(all[at:at+width]))
		}
		return nil
	}))
	if err != nil {
		p.t.Fatal(err)
	}
	return rows
}

// vector pools the model's own output.
func (p plain) vector(tokens []int32, pooling string) []float64 {
	rows := p.output(tokens, nil, 16)
	switch pooling {
	case "cls":
		return rows[0]
	case "last":
		return rows[len(rows)-1]
	}
	sum := make([]float64, 16)
	for _, row := range rows {
		for k, v := range row {
			sum[k] += v / float64(len(rows))
		}
	}
	return sum
}

func distance(a []float32, b []float64) float64 {
	d := 0.0
	for i := range a {
		d = max(d, math.Abs(float64(a[i])-b[i]))
	}
	return d
}

// randomTexts are of mixed lengths, in the fixture's vocabulary.
func randomTexts(seed uint64, n int) [][]int32 {
	r := rand.New(rand.NewPCG(seed, 1))
	list := make([][]int32, n)
	for i := range list {
		long := 1 + r.IntN(12)
		if r.IntN(8) == 0 {
			long = 1 + r.IntN(48)
		}
		list[i] = make([]int32, long)
		for k := range list[i] {
			list[i][k] = int32(r.IntN(64))
		}
	}
	return list
}

func TestEncoderEqualsItsTensors(t *testing.T) {
	o, want := openEncoder(t, "encoder", serval.ModelSettings{}, nil), openPlain(t, "encoder")
	l := o.Language
	if l == nil || !l.Embed || l.Rank || l.Generate || l.Context != 48 || l.Width != 16 || l.Pooling != "mean" || filepath.Base(l.File) != "tokenizer.json" {
		t.Fatalf("language %+v", l)
	}
	if b := o.Loaded.Batching(); !b.On || o.Settings.Batching.Max < leastTokens || o.Settings.Batching.Max > mostTokens {
		t.Errorf("batching %+v, of %d", b, o.Settings.Batching.Max)
	}
	texts := randomTexts(1, 60)
	tokens := int64(0)
	for _, list := range texts {
		tokens += int64(len(list))
	}
	for _, pooling := range []string{"", "mean", "cls", "last"} {
		got, usage, err := encode(t.Context(), o.Loaded, &serval.Encode{List: texts, Pooling: pooling})
		if err != nil {
			t.Fatal(err)
		}
		if usage.Prompt != tokens || usage.Rows != 60 {
			t.Errorf("usage %+v, want %d tokens", usage, tokens)
		}
		for i := range texts {
			if d := distance(got[i], want.vector(texts[i], pooling)); d > 1e-5 {
				t.Errorf("pooling %q, text %d of %d tokens: off by %g", pooling, i, len(texts[i]), d)
			}
		}
	}
	s := o.Loaded.Stats()
	if s.Inferences != 240 || s.Tokens.Prompt != 4*tokens || s.Success.Count != 4 {
		t.Errorf("statistics %+v", s)
	}
}

func TestScorerSeesThePair(t *testing.T) {
	o, want := openEncoder(t, "scorer", serval.ModelSettings{}, nil), openPlain(t, "scorer")
	if l := o.Language; l == nil || !l.Rank || l.Embed || l.Pooling != "rank" {
		t.Fatalf("language %+v", l)
	}
	in := &serval.Encode{Pooling: "rank", List: randomTexts(2, 20)}
	for _, list := range in.List {
		types := make([]int32, len(list))
		for k := len(list) / 2; k < len(list); k++ {
			types[k] = 1
		}
		in.Types = append(in.Types, types)
	}
	got, _, err := encode(t.Context(), o.Loaded, in)
	if err != nil {
		t.Fatal(err)
	}
	typed := false
	for i, list := range in.List {
		score := want.output(list, in.Types[i], 1)[0]
		if d := distance(got[i], score); len(got[i]) != 1 || d > 1e-5 {
			t.Errorf("pair %d: %v, want %v", i, got[i], score)
		}
		typed = typed || math.Abs(want.output(list, nil, 1)[0][0]-score[0]) > 1e-3
	}
	if !typed {
		t.Error("the types change nothing; the test shows nothing")
	}
}

// TestEncoderNeighbours asks for the same texts in ever other company.
func TestEncoderNeighbours(t *testing.T) {
	o := openEncoder(t, "encoder", serval.ModelSettings{Batching: serval.BatchSettings{Max: 200}, Instances: 2}, nil)
	texts := randomTexts(3, 400)
	alone := make([][]float32, len(texts))
	for i := range texts {
		v, _, err := encode(t.Context(), o.Loaded, &serval.Encode{List: texts[i : i+1]})
		if err != nil {
			t.Fatal(err)
		}
		alone[i] = v[0]
	}
	var work sync.WaitGroup
	for k := range 16 {
		work.Go(func() {
			r := rand.New(rand.NewPCG(uint64(k), 9))
			for range 20 {
				from := r.IntN(len(texts))
				part := texts[from:min(len(texts), from+1+r.IntN(60))]
				got, _, err := encode(t.Context(), o.Loaded, &serval.Encode{List: part})
				if err != nil {
					t.Error(err)
					return
				}
				for i := range got {
					for d := range got[i] {
						if math.Abs(float64(got[i][d]-alone[from+i][d])) > 1e-5 {
							t.Errorf("text %d: %v among others, %v alone", from+i, got[i], alone[from+i])
							return
						}
					}
				}
			}
		})
	}
	work.Wait()
}

func TestManyTexts(t *testing.T) {
	o := openEncoder(t, "encoder", serval.ModelSettings{Batching: serval.BatchSettings{Max: 64}, Queue: serval.QueueSettings{Limit: 1}}, nil)
	texts := randomTexts(4, 2048)
	got, _, err := encode(t.Context(), o.Loaded, &serval.Encode{List: texts})
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range []int{0, 1, 500, 1023, 2047} {
		one, _, err := encode(t.Context(), o.Loaded, &serval.Encode{List: texts[i : i+1]})
		if err != nil {
			t.Fatal(err)
		}
		for d := range one[0] {
			if math.Abs(float64(one[0][d]-got[i][d])) > 1e-5 {
				t.Fatalf("text %d stands in another's place", i)
			}
		}
	}
}

func TestEncoderRefuses(t *testing.T) {
	o, scorer := openEncoder(t, "encoder", serval.ModelSettings{}, nil), openEncoder(t, "scorer", serval.ModelSettings{}, nil)
	good := []int32{1, 2, 3}
	for _, c := range []struct {
		h    serval.Handler
		in   serval.Input
		want string
	}{
		{o.Loaded, &serval.Encode{}, "give at least one text"},
		{o.Loaded, &serval.Encode{List: [][]int32{good, {}}}, "text 1 has no tokens"},
		{o.Loaded, &serval.Encode{List: [][]int32{good, make([]int32, 50)}}, "text 1 has 50 tokens; model 'encoder' version 1 takes 48, so it is 2 too long"},
		{o.Loaded, &serval.Encode{List: [][]int32{{1, -5}}}, "token -5"},
		{o.Loaded, &serval.Encode{List: [][]int32{good}, Pooling: "sum"}, "use mean, cls or last"},
		{o.Loaded, &serval.Encode{List: [][]int32{good}, Pooling: "rank"}, "ranks no pairs"},
		{scorer.Loaded, &serval.Encode{List: [][]int32{good}, Pooling: "mean"}, "makes no vectors"},
		{o.Loaded, &serval.Tensors{}, "tensors: true under text:"},
		{o.Loaded, &serval.Encode{List: [][]int32{{1, 1000}}}, "indices element out of data bounds"},
	} {
		err := c.h.Handle(t.Context(), &serval.Request{Input: c.in}, serval.SinkFunc(func(*serval.Chunk) error { return errors.New("answered") }))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c.in, err, c.want)
		}
	}
	if _, _, err := encode(t.Context(), o.Loaded, &serval.Encode{List: [][]int32{good}}); err != nil {
		t.Errorf("after all that: %v", err)
	}
}

// TestOneBadTextFailsAlone puts a text with a token that the model does not have between others.
func TestOneBadTextFailsAlone(t *testing.T) {
	r := openRagged(t, serval.ModelSettings{}, nil)
	var calls []*engine.Call
	for _, list := range [][][]int32{{{1, 2, 3}, {4}}, {{5, 1000}}, {{7, 8}}} {
		calls = append(calls, &engine.Call{Rows: 3, Input: &serval.Encode{List: list}})
	}
	if err := r.Execute(t.Context(), calls); err != nil {
		t.Fatal(err)
	}
	for i, c := range calls {
		if bad := i == 1; (c.Err != nil) != bad || !c.Answered() || !bad && c.Outputs[0].Shape[0] != int64(len(c.Input.(*serval.Encode).List)) {
			t.Errorf("call %d: %v, %v", i, c.Outputs, c.Err)
		}
		c.Reset()
	}
}

// openRagged opens one instance without a queue.
func openRagged(t testing.TB, s serval.ModelSettings, files map[string]string) *ragged {
	t.Helper()
	mustOpen(t, "accumulate", serval.ModelSettings{Sequence: accumulating()})
	spec := encoderSpec(t, "encoder", s, files)
	m, err := texts(onnx.New(library.store, onnx.Options{}), &spec, s.Batching.Max).Open(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	return m.(*ragged)
}

// TestGroups compares the cuts with the best of all.
func TestGroups(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	for range 300 {
		g := &ragged{plan: &textPlan{masked: r.IntN(5) > 0, budget: 20 + r.IntN(60)}, overhead: r.IntN(30), alone: r.IntN(10) == 0}
		for range 1 + r.IntN(9) {
			g.texts = append(g.texts, ragText{tokens: make([]int32, 1+r.IntN(40))})
		}
		slices.SortFunc(g.texts, func(a, b ragText) int { return len(b.tokens) - len(a.tokens) })
		n := len(g.texts)
		cost := func(ends []int) int {
			sum, begin := 0, 0
			for _, end := range ends {
				long, texts := len(g.texts[begin].tokens), end-begin
				if texts > 1 && (g.alone || texts*long > g.plan.budget || !g.plan.masked && long != len(g.texts[end-1].tokens)) {
					return math.MaxInt
				}
				sum += g.overhead + texts*long
				begin = end
			}
			return sum
		}
		best := math.MaxInt
		for cuts := range 1 << (n - 1) {
			var ends []int
			for i := 1; i < n; i++ {
				if cuts&(1<<(i-1)) != 0 {
					ends = append(ends, i)
				}
			}
			best = min(best, cost(append(ends, n)))
		}
		if got := cost(g.groups()); got != best {
			t.Fatalf("cuts %v cost %d, the best %d", g.ends, got, best)
		}
	}
}

// TestEncoderCanceled leaves in the middle of a large request; the model closes and answers others.
func TestEncoderCanceled(t *testing.T) {
	o := openEncoder(t, "encoder", serval.ModelSettings{Batching: serval.BatchSettings{Max: 48}}, nil)
	ctx, cancel := context.WithCancel(t.Context())
	var work sync.WaitGroup
	for range 8 {
		work.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				if _, _, err := encode(ctx, o.Loaded, &serval.Encode{List: randomTexts(uint64(i), 2048)}); err != nil && ctx.Err() == nil {
					t.Error(err)
				}
			}
		})
	}
	for range 5 {
		if _, _, err := encode(t.Context(), o.Loaded, &serval.Encode{List: [][]int32{{1, 2}}}); err != nil {
			t.Error(err)
		}
	}
	cancel()
	work.Wait()
	if s := o.Loaded.Stats(); s.Waiting != 0 {
		t.Errorf("%d calls wait, though all have left", s.Waiting)
	}
	if _, _, err := encode(t.Context(), o.Loaded, &serval.Encode{List: [][]int32{{1, 2}}}); err != nil {
		t.Error(err)
	}
}

// TestEncoderCloses lets a large request that is inside finish, and refuses new ones.
func TestEncoderCloses(t *testing.T) {
	mustOpen(t, "accumulate", serval.ModelSettings{Sequence: accumulating()})
	spec := encoderSpec(t, "encoder", serval.ModelSettings{Batching: serval.BatchSettings{Max: 48}}, nil)
	o, err := Open(t.Context(), onnx.New(library.store, onnx.Options{}), spec, 2)
	if err != nil {
		t.Fatal(err)
	}
	n := o.Loaded.(*Encoder)
	result := make(chan error, 1)
	go func() {
		_, _, err := encode(context.Background(), n, &serval.Encode{List: randomTexts(6, 2048)})
		result <- err
	}()
	for n.Stats().Executions == 0 {
		time.Sleep(time.Millisecond)
	}
	if err := n.Close(); err != nil {
		t.Error(err)
	}
	select {
	case err := <-result:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(time.Second): // it has left the encoder, but its goroutine may not have run yet
		t.Error("closed with a request inside")
	}
	if _, _, err := encode(t.Context(), n, &serval.Encode{List: [][]int32{{1}}}); err != serval.ErrRetired {
		t.Errorf("after Close: %v", err)
	}
}
