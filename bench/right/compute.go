package main

import (
	"context"
	"encoding/gob"
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"

	"serval"
	"serval/engine"
	"serval/llm/gguf"
	"serval/llm/vocab"
)

// top is how many of the most likely tokens are kept of each position.
const top = 8

// answered is what one way of computing gave: of -show logits a list for each window, whose tokens are the text's; of -show greedy a
// list for each prompt, whose tokens are the answer's.
type answered struct {
	Code  string // the library that computed; "": engine/gguf
	Lists [][]serval.Token
}

// answer is a call's Stream.
type answer struct {
	call           engine.Call
	tokens, prompt []serval.Token
	ended          bool
	err            error
}

func (a *answer) Emit(c serval.Chunk) bool {
	if out, ok := c.Output.(*serval.Tokens); ok {
		a.tokens, a.prompt = append(a.tokens, out.List...), append(a.prompt, out.Prompt...)
	}
	return true
}

func (a *answer) End(err error) { a.ended, a.err = true, err }

func (a *answer) Canceled() bool { return false }

// ask has the decoder answer one call, alone.
func ask(ctx context.Context, d engine.Decoder, in *serval.Generate) (*answer, error) {
	a := &answer{}
	a.call = engine.Call{Input: in, Rows: 1, Stream: a}
	if err := d.Admit(&a.call); err != nil {
		return nil, err
	}
	for live := 1; live > 0; {
		var err error
		if live, err = d.Step(ctx); err != nil {
			return nil, err
		}
	}
	if !a.ended && a.err == nil {
		return nil, fmt.Errorf("a call did not end")
	}
	return a, a.err
}

// compute computes one way and keeps what it gave.
func compute(ctx context.Context, o *options) error {
	list, err := chosen(o.way + "," + o.way)
	if err != nil {
		return err
	}
	w := &list[0]
	inputs, name, err := makeInputs(o)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "serval-right-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }() // it is the system's folder for temporary files
	d, err := w.open(ctx, o, dir, serval.TextSettings{Context: 1024, Slots: 1, Cache: 2048})
	if err != nil {
		return err
	}
	out := answered{Code: code()}
	for i, in := range inputs {
		in.Salt = fmt.Sprint(i) // nothing comes from the cache
		a, err := ask(ctx, d, in)
		if err != nil {
			return fmt.Errorf("%s: %w", w.name, err)
		}
		if o.show == "logits" {
			out.Lists = append(out.Lists, a.prompt)
		} else {
			out.Lists = append(out.Lists, a.tokens)
		}
	}
	if err := d.Close(); err != nil {
		return err
	}
	return out.save(o.kept(name, w))
}

// kept is the file of what a way gave; name is that of the inputs.
func (o *options) kept(name string, w *way) string {
	return filepath.Join(o.keep, fmt.Sprintf("%s-%s-%s.gob", filepath.Base(o.gguf), name, w.name))
}

func (a *answered) save(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.Create(path + ".part")
	if err != nil {
		return err
	}
	err = gob.NewEncoder(f).Encode(a)
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return err
	}
	return os.Rename(path+".part", path)
}

func restore(path string) (*answered, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // it was only read
	a := &answered{}
	return a, gob.NewDecoder(f).Decode(a)
}

// makeInputs makes what every way is asked, and a name that no other inputs have.
func makeInputs(o *options) (list []*serval.Generate, name string, err error) {
	f, err := gguf.Open(o.gguf)
	if err != nil {
		return nil, "", err
	}
	defer func() { _ = f.Close() }() // it was only read
	words, err := vocab.FromGGUF(f)
	if err != nil {
		return nil, "", err
	}
	plain := serval.Sampling{TopP: 1, RepetitionPenalty: 1}
	if o.show == "greedy" {
		for _, p := range prompts(o.prompts) {
			tokens := words.Encode(nil, p, vocab.Options{Special: true, Around: true})
			list = append(list, &serval.Generate{Tokens: tokens, Limit: o.tokens, Logprobs: top, PromptLogprobs: -1, Sampling: plain})
		}
	} else {
		texts, err := windows(o, words)
		if err != nil {
			return nil, "", err
		}
		for _, t := range texts {
			list = append(list, &serval.Generate{Tokens: t, Logprobs: -1, PromptLogprobs: top, Sampling: plain})
		}
	}
	sum := fnv.New64a()
	for _, in := range list {
		fmt.Fprintln(sum, in.Tokens, in.Limit)
	}
	return list, fmt.Sprintf("%s-%016x", o.show, sum.Sum64()), nil
}
