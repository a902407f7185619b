package convert

import (
	"errors"
	"fmt"
	"strings"

	"serval/llm/gguf"
)

// wordPieces is BERT's vocabulary. In GGUF the tokens that begin a word are marked, not those that go on.
func (w *words) wordPieces(t *tokenizer, normal, cut []step) error {
	m := struct {
		Vocab  map[string]int32
		Unk    string `json:"unk_token"`
		Prefix string `json:"continuing_subword_prefix"`
	}{Unk: "[UNK]", Prefix: "##"}
	if err := t.Model.read(&m); err != nil {
		return fmt.Errorf("model: %w", err)
	}
	if m.Prefix != "##" {
		return fmt.Errorf("model: continuing_subword_prefix is %q; GGUF has a place for ## only", m.Prefix)
	}
	if len(cut) != 1 || cut[0].Type != "BertPreTokenizer" {
		return errors.New("pre_tokenizer: with WordPiece GGUF has a place for BertPreTokenizer only")
	}
	if len(normal) != 1 || normal[0].Type != "BertNormalizer" {
		return errors.New("normalizer: with WordPiece GGUF has a place for BertNormalizer only")
	}
	s := struct {
		Clean     bool  `json:"clean_text"`
		Chinese   bool  `json:"handle_chinese_chars"`
		Accents   *bool `json:"strip_accents"`
		Lowercase bool
	}{true, true, nil, true}
	if err := normal[0].read(&s); err != nil {
		return fmt.Errorf("normalizer: %w", err)
	}
	if !s.Clean || !s.Chinese {
		return errors.New("normalizer: BertNormalizer without clean_text or handle_chinese_chars has no place in GGUF")
	}
	w.model, w.pre, w.unk = "bert", "default", m.Unk
	if err := w.own(m.Vocab); err != nil {
		return err
	}
	w.add(t.Added, false)
	for i, text := range w.tokens {
		if w.types[i] == control || w.types[i] == 0 {
			continue
		}
		if rest, goes := strings.CutPrefix(text, "##"); goes {
			w.tokens[i] = rest
		} else {
			w.tokens[i] = "▁" + text
		}
	}
	w.keys = append(w.keys, pair{"tokenizer.ggml.normalizer.lowercase", gguf.Num(s.Lowercase)})
	if s.Accents != nil {
		w.keys = append(w.keys, pair{"tokenizer.ggml.normalizer.strip_accents", gguf.Num(*s.Accents)})
	}
	return nil
}
