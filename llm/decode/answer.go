package decode

import (
	"context"

	"serval"
	"serval/llm/grammar"
	"serval/llm/sample"
)

// Stream is who is told; engine.Stream is one. Nothing in it blocks.
type Stream interface {
	// Emit hands over a chunk; false: there is no room for it now.
	Emit(serval.Chunk) bool
	End(err error)
	Canceled() bool
}

// Answer is an answer on its way. Its Tokens are the prompt's and then its own; those before Done have been computed. What is left
// to compute is a long piece of prompt, or the one token that was picked last. It belongs to one goroutine at a time.
type Answer struct {
	In     *serval.Generate
	Tokens []int32
	Prompt int // how many of Tokens
	Done   int
	// Guesses are tokens that may follow, to be computed behind the token that was picked last and in the same batch; see
	// [Guesses.Choose]. Take leaves none.
	Guesses []int32

	model   *Model
	stream  Stream
	sampler *sample.Sampler // nil: no tokens are asked for
	state   *grammar.State  // nil: no constraint
	mask    []uint64
	raw     []float32 // scratch of pickAndTell

	speculate bool
	guesser   guesser

	told    bool           // the prompt's usage was told
	cached  int            // tokens of the prompt that were in the cache
	echo    []serval.Token // log-probabilities of the prompt
	fresh   []serval.Token // picked and not told
	drafted int            // guesses not told, and how many of them were right
	right   int
	pending *serval.Chunk // its reader had no room for it
	finish  serval.Finish // it has ended
	err     error
}

// Left is how many tokens are to be computed.
func (a *Answer) Left() int { return len(a.Tokens) - a.Done }

// Made is how many tokens the answer has.
func (a *Answer) Made() int { return len(a.Tokens) - a.Prompt }

// Running says that only the token picked last is to be computed.
func (a *Answer) Running() bool { return a.Left() == 1 && a.Made() > 0 }

// Over says that nothing is to be computed any more.
func (a *Answer) Over() bool { return a.finish != serval.More || a.err != nil }

// Waits says that nothing is to be computed until its reader has made room.
func (a *Answer) Waits() bool { return a.pending != nil || a.Over() }

// Echoes says whether the token at position i of the prompt still needs its log-probability.
func (a *Answer) Echoes(i int) bool {
	return a.In.PromptLogprobs >= 0 && i < a.Prompt && i >= len(a.echo)
}

// Wants says whether the logits after the token at position i are needed.
func (a *Answer) Wants(i int) bool {
	return i+1 == len(a.Tokens) && (i+1 > a.Prompt || a.In.Limit > 0) || a.Echoes(i+1)
}

// Cacheable is how many of the tokens need not be computed where a cache has them: all but the last, whose logits are needed; none
// while the prompt's log-probabilities are asked for.
func (a *Answer) Cacheable() int {
	if a.In.PromptLogprobs >= 0 && len(a.echo) < a.Prompt {
		return 0
	}
	return len(a.Tokens) - 1
}

// Work says that picking its next token is more than to find the largest logit.
func (a *Answer) Work() bool {
	return a.sampler != nil && (!a.sampler.Plain() || a.state != nil || a.In.Logprobs >= 0)
}

// Began notes that tokens before Done come from the cache. Once its reader knows what it had of the prompt, that is not told again.
func (a *Answer) Began() {
	if !a.told {
		a.cached = min(a.Done, a.Prompt)
	}
}

// Tell hands what is new to the reader, who may have no room for it; see Offer.
func (a *Answer) Tell() {
	if len(a.fresh) == 0 && (a.finish == serval.More || a.err != nil) {
		return
	}
	// The chunk is the reader's, the usual single token with it: one allocation.
	box := new(struct {
		serval.Tokens
		one [1]serval.Token
	})
	box.List = append(box.one[:0], a.fresh...)
	chunk := serval.Chunk{Finish: a.finish, Output: &box.Tokens}
	chunk.Usage = serval.Usage{Completion: int64(len(a.fresh)), Drafted: int64(a.drafted), Accepted: int64(a.right)}
	if !a.told {
		a.told = true
		chunk.Usage.Prompt, chunk.Usage.Cached = int64(a.Prompt), int64(a.cached)
		box.Prompt = a.echo
	}
	clear(a.fresh)
	a.fresh, a.drafted, a.right = a.fresh[:0], 0, 0
	if !a.stream.Emit(chunk) {
		kept := chunk
		a.pending = &kept
	}
}

// Offer gives the reader again what it had no room for. It reports whether that was taken.
func (a *Answer) Offer() bool {
	if a.pending == nil || !a.stream.Emit(*a.pending) {
		return false
	}
	a.pending = nil
	return true
}

// Drop ends the answer if its reader left and did not have all of it. It reports whether it did so.
func (a *Answer) Drop() bool {
	if !a.stream.Canceled() || a.Over() && a.pending == nil {
		return false
	}
	a.err, a.pending = context.Canceled, nil
	return true
}

// End is the last word to the reader of an answer that is over; false: it had no room yet for what comes before.
func (a *Answer) End() bool {
	if a.pending != nil {
		return false
	}
	a.stream.End(a.err)
	return true
}

// Fail is the last word of an answer that cannot go on. Nothing may be called after it.
func (a *Answer) Fail(err error) { a.stream.End(err) }

// Common is how many tokens two lists begin with that are the same.
func Common(a, b []int32) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}
