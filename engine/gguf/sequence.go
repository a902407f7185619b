package gguf

import (
	"serval"
	"serval/engine"
	"serval/llm/grammar"
	"serval/llm/sample"
)

// sequence is an answer on its way, from Admit to End. Its tokens are the prompt's and then the answer's; those before done
// have their keys and values in the cache. What is left to compute is a long piece of prompt, or the one token that was
// picked last.
type sequence struct {
	call   *engine.Call
	in     *serval.Generate
	tokens []int32
	prompt int // how many of tokens
	done   int
	placed bool    // it has a place in the cache
	table  []int32 // its blocks
	named  int     // how many of them are full and have been named,
	last   uint64  // and the number of the last of those

	sampler *sample.Sampler
	state   *grammar.State // nil: no constraint
	mask    []uint64

	told    bool           // Prompt and Cached were told
	cached  int            // tokens of the prompt that were in the cache
	echo    []serval.Token // log-probabilities of the prompt
	pending *serval.Chunk  // its reader had no room for it
	finish  serval.Finish  // the answer has ended
	err     error

	rows  int // of the batch that is computed
	out   int // the first of them that has logits
	fresh []serval.Token
}

// left is how many tokens are to be computed.
func (s *sequence) left() int { return len(s.tokens) - s.done }

// running says that only the token picked last is to be computed.
func (s *sequence) running() bool { return s.placed && s.left() == 1 && len(s.tokens) > s.prompt }

// over says that nothing is to be computed any more.
func (s *sequence) over() bool { return s.finish != serval.More || s.err != nil }

// waits says that nothing is computed for it until its reader has made room.
func (s *sequence) waits() bool { return s.pending != nil || s.over() }

// made is how many tokens the answer has.
func (s *sequence) made() int { return len(s.tokens) - s.prompt }

// echoes says whether the token at position i of the prompt still needs its log-probability.
func (s *sequence) echoes(i int) bool {
	return s.in.PromptLogprobs >= 0 && i < s.prompt && i >= len(s.echo)
}

// wants says whether the logits after the token at position i are needed.
func (s *sequence) wants(i int) bool {
	return i+1 == len(s.tokens) && (i+1 > s.prompt || s.in.Limit > 0) || s.echoes(i+1)
}

// most is how much of a sequence may come from the cache: the last token is always computed, since its logits are needed, and
// where the prompt's log-probabilities are asked for, all of them are.
func (s *sequence) most() int {
	if s.in.PromptLogprobs >= 0 && len(s.echo) < s.prompt {
		return 0
	}
	return len(s.tokens) - 1
}
