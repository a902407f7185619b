package convert

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"serval/llm/gguf"
)

// GGUF's numbers for the types of tokens.
const (
	normal int32 = iota + 1
	unknown
	control
	userDefined
	unused
	byteToken
)

// words are a vocabulary as the file has it.
type words struct {
	model  string // tokenizer.ggml.model
	pre    string // tokenizer.ggml.pre
	tokens []string
	types  []int32
	scores []float32 // nil: none
	merges []string  // nil: none
	keys   []pair    // more of them, whole names
	names  map[string]int32
	unk    string // the model's unknown token; "": none
	notes  []string
}

// step is a part of a tokenizer.json.
type step struct {
	Type string
	raw  json.RawMessage
}

func (s *step) UnmarshalJSON(b []byte) error {
	if bytes.Equal(b, []byte("null")) {
		return nil
	}
	var head struct{ Type string }
	if err := json.Unmarshal(b, &head); err != nil {
		return err
	}
	s.Type, s.raw = head.Type, bytes.Clone(b)
	return nil
}

// read reads the step's settings.
func (s *step) read(into any) error {
	if err := json.Unmarshal(s.raw, into); err != nil {
		return fmt.Errorf("%s: %w", s.Type, err)
	}
	return nil
}

// flat are the steps of a Sequence, else the step itself; nothing if there is none.
func (s *step) flat(field string) ([]step, error) { return s.flatten(nil, field, 4) }

// flatten appends the steps to out. Sequences may be in each other so many times.
func (s *step) flatten(out []step, field string, deep int) ([]step, error) {
	if s.Type != "Sequence" {
		if s.Type == "" {
			return out, nil
		}
		return append(out, *s), nil
	}
	var parts map[string]json.RawMessage
	if err := s.read(&parts); err != nil {
		return nil, err
	}
	var list []step
	if parts[field] != nil {
		if err := json.Unmarshal(parts[field], &list); err != nil {
			return nil, fmt.Errorf("in Sequence: %s: %w", field, err)
		}
	}
	if deep == 0 || len(list) > 64 {
		return nil, fmt.Errorf("in Sequence: %s: more steps than any tokenizer has", field)
	}
	for i := range list {
		var err error
		if out, err = list[i].flatten(out, field, deep-1); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// added is a token that is found in text by its name.
type added struct {
	ID         int32
	Content    string
	Special    bool
	Normalized bool
}

// tokenizer is a tokenizer.json.
type tokenizer struct {
	Model         step
	Normalizer    step
	PreTokenizer  step    `json:"pre_tokenizer"`
	PostProcessor step    `json:"post_processor"`
	Added         []added `json:"added_tokens"`
}

// texts are the files of the folder that a vocabulary is made of.
type texts struct {
	json    []byte     // tokenizer.json; nil: none
	read    *tokenizer // the same, read
	config  map[string]json.RawMessage
	raw     []byte // tokenizer_config.json; nil: none
	decoder []added
}

// readTexts reads them.
func readTexts(dir string) (*texts, error) {
	const jsonName, configName = "tokenizer.json", "tokenizer_config.json"
	x := &texts{}
	var err error
	if x.raw, err = readFile(dir, configName, maxTokenizer); err != nil {
		return nil, err
	}
	if x.raw != nil {
		if err := json.Unmarshal(x.raw, &x.config); err != nil {
			return nil, wrong(configName, configName, "%w", err)
		}
	}
	if x.json, err = readFile(dir, jsonName, maxTokenizer); err != nil {
		return nil, err
	}
	if x.json != nil {
		x.read = &tokenizer{}
		if err := json.Unmarshal(x.json, x.read); err != nil {
			return nil, wrong(jsonName, jsonName, "%w", err)
		}
		return x, nil
	}
	return x, x.decoders()
}

// decoders reads the added tokens that tokenizer_config.json lists, which tokenizer.json has, too.
func (x *texts) decoders() error {
	var list map[int32]added
	if raw := x.config["added_tokens_decoder"]; raw != nil {
		if err := json.Unmarshal(raw, &list); err != nil {
			return wrong("tokenizer_config.json", "added_tokens_decoder", "added_tokens_decoder: %w", err)
		}
	}
	for id, a := range list {
		a.ID = id
		x.decoder = append(x.decoder, a)
	}
	return nil
}

// wordsOf makes the vocabulary of a folder for a net of so many tokens.
func wordsOf(dir string, x *texts, n *net) (*words, error) {
	w := &words{names: map[string]int32{}, tokens: make([]string, n.vocab), types: make([]int32, n.vocab)}
	var err error
	if x.read == nil {
		err = w.sentencePieces(dir, x, n)
	} else {
		err = w.fromJSON(x, n)
		if err != nil {
			err = wrong("tokenizer.json", "tokenizer.json", "%w", err)
		}
	}
	if err != nil {
		return nil, err
	}
	for i, t := range w.types {
		if t == 0 { // rows of the embedding without a token
			w.tokens[i], w.types[i] = fmt.Sprintf("[PAD%d]", i), unused
			if w.scores != nil {
				w.scores[i] = -10000
			}
		}
	}
	return w, nil
}

// put sets a token; false if the net has no row for it.
func (w *words) put(id int32, text string, kind int32) bool {
	if id < 0 || int(id) >= len(w.tokens) {
		return false
	}
	w.tokens[id], w.types[id] = text, kind
	w.names[text] = id
	return true
}

func (w *words) note(format string, args ...any) {
	w.notes = append(w.notes, fmt.Sprintf(format, args...))
}

func (w *words) set(key string, v gguf.Value) {
	w.keys = append(w.keys, pair{"tokenizer.ggml." + key, v})
}

// add puts the added tokens; spaced says that ▁ stands for a space in the vocabulary. Scores, where there are any, are -1000.
func (w *words) add(list []added, spaced bool) {
	lost := 0
	for _, a := range list {
		text, kind := a.Content, control
		if !a.Special && !looksSpecial(text) {
			kind = userDefined
			if spaced {
				text = strings.ReplaceAll(text, "▁", " ")
			}
		}
		if !w.put(a.ID, text, kind) {
			lost++
			continue
		}
		w.names[a.Content] = a.ID
		if w.scores != nil {
			w.scores[a.ID] = -1000
		}
	}
	if lost > 0 {
		w.note("%d added tokens are left out: their ids are beyond the net's %d rows (vocab_size)", lost, len(w.tokens))
	}
}

// looksSpecial tells by its name that a token is a mark and no text, where a file does not say so: llama.cpp's converter knows the
// same names.
func looksSpecial(s string) bool {
	switch s {
	case "<pad>", "<mask>", "<2mass>", "[@BOS@]":
		return true
	}
	within := func(open, end string) bool { return strings.HasPrefix(s, open) && strings.HasSuffix(s, end) }
	return within("<|", "|>") || within("<｜", "｜>") || within("<unused", ">")
}

// fromJSON makes the vocabulary of a tokenizer.json.
func (w *words) fromJSON(x *texts, n *net) error {
	t := x.read
	normal, err := t.Normalizer.flat("normalizers")
	if err != nil {
		return fmt.Errorf("normalizer: %w", err)
	}
	cut, err := t.PreTokenizer.flat("pretokenizers")
	if err != nil {
		return fmt.Errorf("pre_tokenizer: %w", err)
	}
	switch {
	case n.bert && t.Model.Type != "WordPiece":
		return fmt.Errorf("its model is %q; BERT is converted with WordPiece only", t.Model.Type)
	case t.Model.Type == "WordPiece":
		return w.wordPieces(t, normal, cut)
	case t.Model.Type == "Unigram":
		return w.unigrams(t, normal, cut)
	case t.Model.Type == "BPE" && len(cut) > 0 && cut[len(cut)-1].Type == "ByteLevel":
		return w.bytePairs(t, normal, cut)
	case t.Model.Type == "BPE":
		return w.pieces(t, normal, cut)
	}
	return fmt.Errorf("model: %q is not converted; BPE, Unigram and WordPiece are", t.Model.Type)
}

// own puts the tokens of the tokenizer's model.
func (w *words) own(vocab map[string]int32) error {
	lost := 0
	for text, id := range vocab {
		if id >= 0 && int(id) < len(w.types) && w.types[id] != 0 {
			return fmt.Errorf("model: tokens %q and %q have the same id, %d", w.tokens[id], text, id)
		}
		if !w.put(id, text, normal) {
			lost++
		}
	}
	if lost > 0 {
		return fmt.Errorf("model: %d tokens have ids beyond the net's %d rows (vocab_size): it belongs to another model", lost, len(w.tokens))
	}
	return nil
}
