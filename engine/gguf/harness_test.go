package gguf

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"serval"
	"serval/engine"
	"serval/engine/llama"
	"serval/internal/testkit"
	"serval/llm/vocab"
	"serval/native"
)

// peer keeps llama.cpp, which is fetched and opened once.
var peer struct {
	once   sync.Once
	engine *llama.Engine
	err    error
}

// theirs opens a model with engine/llama.
func theirs(t testing.TB, dir string, text serval.TextSettings, threads int) engine.Decoder {
	t.Helper()
	return opened(t, libllama(t), dir, text, threads)
}

func libllama(t testing.TB) *llama.Engine {
	t.Helper()
	peer.once.Do(func() {
		cache, err := os.UserCacheDir()
		if err != nil {
			peer.err = err
			return
		}
		store := native.New(native.Options{Cache: filepath.Join(cache, "serval"), Progress: os.Stderr})
		_, peer.err = store.Ensure(context.Background(), "llama")
		peer.engine = llama.New(store)
	})
	if peer.err != nil {
		t.Fatalf("libllama: %v", peer.err)
	}
	return peer.engine
}

func opened(t testing.TB, e engine.Engine, dir string, text serval.TextSettings, threads int) engine.Decoder {
	t.Helper()
	return openedAs(t, e, dir, serval.ModelSettings{Text: &text}, threads)
}

func openedAs(t testing.TB, e engine.Engine, dir string, s serval.ModelSettings, threads int) engine.Decoder {
	t.Helper()
	m, err := e.Open(t.Context(), engine.Spec{Name: "m", Dir: dir, Settings: s, Threads: threads})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m.(engine.Decoder)
}

// ours opens a model with this engine.
func ours(t testing.TB, dir string, text serval.TextSettings) *decoder {
	t.Helper()
	return opened(t, New(), dir, text, 2).(*decoder)
}

// stores are the settings of a model that keeps keys and values as a kind.
func stores(text serval.TextSettings, kind string) serval.ModelSettings {
	return serval.ModelSettings{Text: &text, Options: map[string]string{"kv_type": kind}}
}

// storing is ours with keys and values of a kind.
func storing(t testing.TB, dir string, text serval.TextSettings, kind string) *decoder {
	t.Helper()
	return openedAs(t, New(), dir, stores(text, kind), 2).(*decoder)
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

func smol(t testing.TB) string { return folder(t, testkit.GGUF(t, "smollm2.gguf")) }

var bare = vocab.Options{Special: true}

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
		a.vector = append(a.vector, out.List...)
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

// equal says that two answers are the same to the last bit.
func equal(a, b *answer) bool {
	same := func(a, b serval.Token) bool {
		return a.ID == b.ID && a.Logprob == b.Logprob && slices.EqualFunc(a.Top, b.Top, func(a, b serval.Token) bool { return a.ID == b.ID && a.Logprob == b.Logprob })
	}
	return len(a.tokens) > 0 && slices.EqualFunc(a.tokens, b.tokens, same) && slices.EqualFunc(a.prompt, b.prompt, same)
}

// greedy is a request for the most likely tokens.
func greedy(tokens []int32, limit int) *serval.Generate {
	return &serval.Generate{Tokens: tokens, Limit: limit, Logprobs: -1, PromptLogprobs: -1, Sampling: serval.Sampling{TopP: 1, RepetitionPenalty: 1}}
}

// run admits the calls, each when there is room, and steps until all have ended.
func run(t testing.TB, d engine.Decoder, answers ...*answer) {
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
		if own, ok := d.(*decoder); ok {
			own.audit(t)
		}
	}
	for i, a := range answers {
		if !a.ended || a.err != nil {
			t.Fatalf("answer %d: ended %v, error %v", i, a.ended, a.err)
		}
	}
}

// audit checks the cache's books.
func (d *decoder) audit(t testing.TB) {
	t.Helper()
	var tables [][]int32
	for _, s := range d.live {
		if !s.placed {
			continue
		}
		tables = append(tables, s.table)
		if len(s.table) < blocksFor(s.Done) || s.named != s.Done/block {
			t.Errorf("a sequence of %d cells has %d blocks, %d of them named", s.Done, len(s.table), s.named)
		}
	}
	for _, e := range d.texts {
		tables = append(tables, e.table)
	}
	if err := d.cache.check(tables...); err != nil {
		t.Error(err)
	}
}
