package llama

import "serval/llm/decode"

// sequence is an answer on its way, from Admit to End. Its tokens before Done have their keys and values in the cache.
type sequence struct {
	*decode.Answer
	id      int32 // llama_seq_id; -1: it has no place in the cache yet, or lost it
	cells   []int32
	adapter *adapter

	row, rows int // of the batch that is computed: its first one, and how many that are no guesses
}

// running says that only the token picked last is to be computed.
func (s *sequence) running() bool { return s.id >= 0 && s.Running() }

// kept is a finished sequence whose keys and values stay in the cache.
type kept struct {
	tokens  []int32
	prompt  int // how many of them were a prompt
	id      int32
	cells   []int32
	adapter *adapter
	salt    string
	used    uint64 // when, in steps
}

// adapter is a LoRA adapter of the model.
type adapter struct {
	name string
	ptr  uintptr // llama_adapter_lora
}
