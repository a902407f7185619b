package convert

import (
	"encoding/json"
	"errors"
	"fmt"

	"serval/llm/gguf"
)

// unigrams is SentencePiece's other vocabulary, of pieces with log-probabilities; llama.cpp calls it t5.
func (w *words) unigrams(t *tokenizer, normalizer, cut []step) error {
	var m struct {
		Vocab        []scored
		Unk          *int32 `json:"unk_id"`
		ByteFallback bool   `json:"byte_fallback"`
	}
	if err := t.Model.read(&m); err != nil {
		return fmt.Errorf("model: %w", err)
	}
	if len(m.Vocab) > len(w.tokens) {
		return fmt.Errorf("model: %d tokens for the net's %d rows (vocab_size): it belongs to another model", len(m.Vocab), len(w.tokens))
	}
	w.model, w.pre, w.scores = "t5", "default", make([]float32, len(w.tokens))
	for i, p := range m.Vocab {
		w.put(int32(i), p.text, normal)
		w.scores[i] = float32(p.score)
	}
	for i := range 256 {
		if id, ok := w.names[fmt.Sprintf("<0x%02X>", i)]; ok && m.ByteFallback {
			w.types[id] = byteToken
		}
	}
	scores := append([]float32(nil), w.scores...)
	w.add(t.Added, true)
	copy(w.scores, scores) // added tokens keep theirs: their place among the pieces is not asked for
	if m.Unk != nil && int(*m.Unk) < len(w.types) && *m.Unk >= 0 {
		w.types[*m.Unk] = unknown
		w.unk = w.tokens[*m.Unk]
	}
	if len(cut) != 1 || cut[0].Type != "Metaspace" {
		return errors.New("pre_tokenizer: with Unigram GGUF has a place for Metaspace only")
	}
	var s struct {
		Scheme string `json:"prepend_scheme"`
		Prefix *bool  `json:"add_prefix_space"`
	}
	if err := cut[0].read(&s); err != nil {
		return fmt.Errorf("pre_tokenizer: %w", err)
	}
	prefix := s.Scheme == "first" || s.Scheme == "always" || s.Scheme == "" && (s.Prefix == nil || *s.Prefix)
	w.set("add_space_prefix", gguf.Num(prefix))
	return w.normalizing(normalizer)
}

// normalizing reads what is done to a text before it is cut.
func (w *words) normalizing(normalizer []step) error {
	squeeze := false
	for i := range normalizer {
		var s struct {
			Map     []byte `json:"precompiled_charsmap"`
			Content string
			Pattern struct{ Regex string }
		}
		if err := normalizer[i].read(&s); err != nil {
			return fmt.Errorf("normalizer: %w", err)
		}
		switch {
		case normalizer[i].Type == "Precompiled" && i == 0:
			if len(s.Map) > 0 {
				w.set("precompiled_charsmap", gguf.Nums(s.Map))
			}
		case normalizer[i].Type == "Replace" && s.Pattern.Regex == " {2,}" && (s.Content == " " || s.Content == "▁"):
			squeeze = true
		case normalizer[i].Type == "Strip": // part of what remove_extra_whitespaces does
		default:
			return fmt.Errorf("normalizer: %.200s has no place in GGUF with Unigram", normalizer[i].raw)
		}
	}
	w.set("remove_extra_whitespaces", gguf.Num(squeeze))
	return nil
}

// scored is a piece and its score, a list of two.
type scored struct {
	text  string
	score float64
}

func (s *scored) UnmarshalJSON(b []byte) error {
	var list []json.RawMessage
	if err := json.Unmarshal(b, &list); err != nil || len(list) != 2 {
		return fmt.Errorf("%.60s is no list of a piece and its score", b)
	}
	return errors.Join(json.Unmarshal(list[0], &s.text), json.Unmarshal(list[1], &s.score))
}
