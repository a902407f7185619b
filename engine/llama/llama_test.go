package llama

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"serval"
	"serval/engine"
	"serval/internal/testkit"
	"serval/llm/sample"
	"serval/native"
)

// shared keeps the engine, whose library is fetched and opened once.
var shared struct {
	once   sync.Once
	engine *Engine
	err    error
}

func testEngine(t testing.TB) *Engine {
	t.Helper()
	shared.once.Do(func() {
		cache, err := os.UserCacheDir()
		if err != nil {
			shared.err = err
			return
		}
		o := native.Options{Cache: filepath.Join(cache, "serval"), Progress: os.Stderr, Libraries: map[string]string{}}
		for _, name := range []string{"llama", "llama-cuda"} { // of machines that reach no registry
			if path := os.Getenv("SERVAL_TEST_" + strings.ReplaceAll(name, "-", "_")); path != "" {
				o.Libraries[name] = path
			}
		}
		store := native.New(o)
		_, shared.err = store.Ensure(context.Background(), "llama")
		shared.engine = New(store)
	})
	if shared.err != nil {
		t.Fatalf("libllama: %v", shared.err)
	}
	return shared.engine
}

// folder is a version folder with a model's file in it.
func folder(t testing.TB, path string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Symlink(path, filepath.Join(dir, "model.gguf")); err != nil {
		t.Fatal(err)
	}
	return dir
}

// open loads a model with a cache that all sequences share; settings may be nil.
func open(t testing.TB, path string, text *serval.TextSettings) *decoder {
	t.Helper()
	return openKV(t, "shared", path, text)
}

// eachCache runs a test with both kinds of cache.
func eachCache(t *testing.T, path string, text *serval.TextSettings, f func(*testing.T, *decoder)) {
	for _, kv := range []string{"shared", "streams"} {
		t.Run(kv, func(t *testing.T) {
			with := text
			if kv == "streams" && text != nil {
				copied := *text
				copied.Cache = 0
				with = &copied
			}
			d := openKV(t, kv, path, with)
			if (d.plan.Stream > 0) != (kv == "streams") {
				t.Fatalf("the cache is another: %+v", d.plan)
			}
			f(t, d)
		})
	}
}

func openKV(t testing.TB, kv, path string, text *serval.TextSettings) *decoder {
	t.Helper()
	if text == nil {
		text = &serval.TextSettings{Context: 1024}
		if kv == "shared" {
			text.Cache = 4096
		}
	}
	settings := serval.ModelSettings{Text: text, Options: map[string]string{"kv": kv}}
	m, err := testEngine(t).Open(t.Context(), engine.Spec{Name: "m", Dir: folder(t, path), Settings: settings, Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	d := m.(*decoder)
	d.pace.patience = time.Hour // what is computed with what must not depend on how busy the machine is
	return d
}

// answer is a call's Stream: what came out of it.
type answer struct {
	call   engine.Call
	tokens []serval.Token
	prompt []serval.Token
	vector [][]float32
	usage  serval.Usage
	finish serval.Finish
	ended  bool
	err    error
	cancel bool
	room   int // chunks that are taken; negative: all
	chunks int
}

func (a *answer) Emit(c serval.Chunk) bool {
	if a.room == 0 {
		return false
	}
	a.room--
	a.chunks++
	switch out := c.Output.(type) {
	case *serval.Tokens:
		a.tokens = append(a.tokens, out.List...)
		a.prompt = append(a.prompt, out.Prompt...)
	case *serval.Embeddings:
		a.vector = out.List
	}
	a.usage.Add(c.Usage)
	a.finish = c.Finish
	return true
}

func (a *answer) End(err error) {
	if a.ended {
		panic("ended twice")
	}
	a.ended, a.err = true, err
}

func (a *answer) Canceled() bool { return a.cancel }

func (a *answer) ids() []int32 {
	var out []int32
	for _, t := range a.tokens {
		out = append(out, t.ID)
	}
	return out
}

// ask makes a call.
func ask(in serval.Input) *answer {
	a := &answer{room: -1}
	a.call = engine.Call{Input: in, Rows: 1, Stream: a}
	return a
}

// greedy is a request for the most likely tokens.
func greedy(tokens []int32, limit int) *serval.Generate {
	return &serval.Generate{Tokens: tokens, Limit: limit, Logprobs: -1, PromptLogprobs: -1, Sampling: serval.Sampling{TopP: 1, RepetitionPenalty: 1}}
}

// run admits the calls, each when there is room, and steps until all have ended.
func run(t testing.TB, d *decoder, answers ...*answer) {
	t.Helper()
	waiting := slices.Clone(answers)
	live := 0
	for len(waiting) > 0 || live > 0 {
		for len(waiting) > 0 {
			err := d.Admit(&waiting[0].call)
			if errors.Is(err, engine.ErrNoRoom) && live > 0 {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			waiting = waiting[1:]
			live++
		}
		var err error
		if live, err = d.Step(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for i, a := range answers {
		if !a.ended || a.err != nil {
			t.Fatalf("answer %d: ended %v, error %v", i, a.ended, a.err)
		}
	}
}

// reference is llama.cpp's own greedy answer: one sequence, its prompt in one batch, its own context.
func reference(t testing.TB, d *decoder, prompt []int32, limit int) []int32 {
	t.Helper()
	p := d.lib.contextDefaults()
	p.Ctx, p.Batch, p.Ubatch = 1024, 1024, 512
	s, err := d.newSession(p, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	var out []int32
	for i, id := range prompt {
		s.batch.add(id, int32(i), 0, i == len(prompt)-1)
	}
	for {
		if err := s.decode(); err != nil {
			t.Fatal(err)
		}
		id := sample.Argmax(s.logits(s.batch.n-1, d.vocab))
		out = append(out, id)
		if len(out) == limit || d.words.IsEnd(id) {
			return out
		}
		s.batch.reset()
		s.batch.add(id, int32(len(prompt)+len(out)-1), 0, true)
	}
}

// prompts are n different texts, some of which begin alike.
func prompts(d *decoder, n int) [][]int32 {
	starts := []string{
		"The capital of France is", "Once upon a time, in a small village by the sea, there lived", "Q: What is 12 times 9?\nA:",
		"def fibonacci(n):\n    ", "The three laws of thermodynamics state that", "Dear Sir or Madam,\n\nI am writing to",
		"1, 2, 3, 4, 5,", "<|im_start|>user\nName three colours.<|im_end|>\n<|im_start|>assistant\n",
	}
	var out [][]int32
	for i := range n {
		text := starts[i%len(starts)]
		for range i / len(starts) {
			text += " And then, as everybody knows, there was more to say about it, for instance"
		}
		out = append(out, d.words.Encode(nil, text, options))
	}
	return out
}

func smol(t testing.TB) string { return testkit.GGUF(t, "smollm2.gguf") }
