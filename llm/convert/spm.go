package convert

import (
	"errors"
	"fmt"
	"unicode/utf8"

	"serval/llm/gguf"
)

// pieces is the vocabulary of SentencePiece's byte pairs, as a tokenizer.json of Llama 2, Mistral or Gemma has it. GGUF has scores
// where that has merges: the pair whose token has the highest is merged first.
func (w *words) pieces(t *tokenizer, normal, cut []step) error {
	m, err := readPairs(t)
	if err != nil {
		return err
	}
	if !m.ByteFallback {
		return errors.New("model: BPE without ByteLevel and byte_fallback has no place in GGUF")
	}
	prefix, err := spaces(normal, cut)
	if err != nil {
		return err
	}
	w.model, w.pre, w.scores = "llama", "default", make([]float32, len(w.tokens))
	if err := w.own(m.Vocab); err != nil {
		return err
	}
	if m.Unk != nil {
		w.unk = *m.Unk
		if id, ok := w.names[*m.Unk]; ok {
			w.types[id] = unknown
		}
	}
	for i := range 256 {
		if id, ok := w.names[fmt.Sprintf("<0x%02X>", i)]; ok {
			w.types[id] = byteToken
		}
	}
	w.add(t.Added, true)
	w.score(m)
	w.set("add_space_prefix", gguf.Num(prefix))
	return nil
}

// spaces tells whether a space is put before a text, and refuses what else may be done to one.
func spaces(normal, cut []step) (prefix bool, err error) {
	replaced := false
	for i := range normal {
		var s struct {
			Prepend, Content string
			Pattern          struct{ String string }
		}
		if err := normal[i].read(&s); err != nil {
			return false, fmt.Errorf("normalizer: %w", err)
		}
		switch {
		case normal[i].Type == "Prepend" && s.Prepend == "▁":
			prefix = true
		case normal[i].Type == "Replace" && s.Pattern.String == " " && s.Content == "▁":
			replaced = true
		default:
			return false, fmt.Errorf("normalizer: %.200s has no place in GGUF with SentencePiece's byte pairs", normal[i].raw)
		}
	}
	for i := range cut {
		var s struct {
			Scheme      string `json:"prepend_scheme"`
			Prefix      *bool  `json:"add_prefix_space"`
			Replacement string
			Split       *bool
			Pattern     struct{ String string }
		}
		if err := cut[i].read(&s); err != nil {
			return false, fmt.Errorf("pre_tokenizer: %w", err)
		}
		switch {
		case cut[i].Type == "Metaspace" && s.Replacement == "▁" && s.Split != nil && !*s.Split:
			replaced = true
			prefix = s.Scheme == "first" || s.Scheme == "always" || s.Scheme == "" && (s.Prefix == nil || *s.Prefix)
		case cut[i].Type == "Split" && s.Pattern.String == " " && replaced: // Gemma's, of spaces that are no more
		default:
			return false, fmt.Errorf("pre_tokenizer: %.200s has no place in GGUF with SentencePiece's byte pairs", cut[i].raw)
		}
	}
	if !replaced {
		return false, errors.New("normalizer: spaces are not written as ▁, which is how GGUF has them with SentencePiece's byte pairs")
	}
	return prefix, nil
}

// score gives the tokens their scores: SentencePiece numbers its pieces downwards from 0 in the order in which it found them, and
// these are ids. Where ids and merges disagree, the merges are right.
func (w *words) score(m *pairsModel) {
	rank := make(map[int32]int, len(m.Merges)) // of a token, by the first merge that makes it
	var made []int32
	for _, pair := range m.Merges {
		id, ok := w.names[pair[0]+pair[1]]
		if _, again := rank[id]; ok && !again && w.types[id] == normal {
			rank[id] = len(made)
			made = append(made, id)
		}
	}
	ordered := true
	for i := 1; i < len(made); i++ {
		ordered = ordered && made[i-1] < made[i]
	}
	next := 0
	for id := range w.tokens {
		if w.types[id] != normal {
			continue
		}
		switch r, merged := rank[int32(id)]; {
		case ordered:
			w.scores[id] = -float32(next)
			next++
		case merged:
			w.scores[id] = -float32(r)
		default:
			w.scores[id] = -float32(len(made) + utf8.RuneCountInString(w.tokens[id]))
		}
	}
}
