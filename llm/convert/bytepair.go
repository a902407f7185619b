package convert

import (
	"errors"
	"fmt"
	"strings"

	"serval/llm/vocab"
)

// pairsModel is the model of a tokenizer.json that merges pairs.
type pairsModel struct {
	Vocab        map[string]int32
	Merges       vocab.MergeList
	Dropout      *float64
	Unk          *string `json:"unk_token"`
	Prefix       *string `json:"continuing_subword_prefix"`
	Suffix       *string `json:"end_of_word_suffix"`
	ByteFallback bool    `json:"byte_fallback"`
	IgnoreMerges bool    `json:"ignore_merges"`
}

func readPairs(t *tokenizer) (*pairsModel, error) {
	var m pairsModel
	if err := t.Model.read(&m); err != nil {
		return nil, fmt.Errorf("model: %w", err)
	}
	switch {
	case m.Dropout != nil && *m.Dropout != 0:
		return nil, fmt.Errorf("model: dropout is %g; it makes tokens random, which only training wants", *m.Dropout)
	case m.Prefix != nil && *m.Prefix != "" || m.Suffix != nil && *m.Suffix != "":
		return nil, errors.New("model: continuing_subword_prefix and end_of_word_suffix of BPE have no place in GGUF")
	}
	return &m, nil
}

// bytePairs is the vocabulary of GPT-2 and its kin: merges of bytes that are written as letters.
func (w *words) bytePairs(t *tokenizer, normal, cut []step) error {
	for _, s := range normal {
		if s.Type != "NFC" { // which Qwen has, and no reader of GGUF does
			return fmt.Errorf("normalizer: %q has no place in GGUF with byte pairs", s.Type)
		}
	}
	m, err := readPairs(t)
	if err != nil {
		return err
	}
	if w.pre, err = preOf(cut, m.IgnoreMerges); err != nil {
		return fmt.Errorf("pre_tokenizer: %w", err)
	}
	w.model = "gpt2"
	if err := w.own(m.Vocab); err != nil {
		return err
	}
	w.add(t.Added, true)
	w.merges = make([]string, 0, len(m.Merges))
	for i, pair := range m.Merges {
		if strings.Contains(pair[0], " ") || strings.Contains(pair[1], " ") {
			return fmt.Errorf("model: merge %d has a space in a token, where bytes are letters", i)
		}
		w.merges = append(w.merges, pair[0]+" "+pair[1])
	}
	return nil
}
