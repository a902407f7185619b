package gguf

import "serval/llm/decode"

// sequence is an answer on its way, from Admit to End. Its tokens before Done have their keys and values in the cache.
type sequence struct {
	*decode.Answer
	placed bool    // it has a place in the cache
	table  []int32 // its blocks
	named  int     // how many of them are full and have been named,
	last   uint64  // and the number of the last of those

	rows int // of the batch that is computed
	out  int // the first of them that has logits
}

// running says that only the token picked last is to be computed.
func (s *sequence) running() bool { return s.placed && s.Running() }
