package vocab

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// readModel reads the tokens and makes the algorithm. spelled says that the words are to be put into GPT-2's alphabet.
func (v *Vocabulary) readModel(d *document, spelled bool) (func([]int32, string) []int32, error) {
	if spelled && d.Model.kind != "BPE" {
		return nil, fmt.Errorf("%s after ByteLevel is not supported", d.Model.kind)
	}
	switch d.Model.kind {
	case "BPE":
		return v.readBPE(d, spelled)
	case "WordPiece":
		return v.readWordPiece(d)
	case "Unigram":
		return v.readUnigram(d)
	}
	return nil, fmt.Errorf("%q is not supported; %s", d.Model.kind, known("BPE", "WordPiece", "Unigram"))
}

// MergeList is a list of merges in a tokenizer.json: "a b", or ["a", "b"] in newer files.
type MergeList [][2]string

// UnmarshalJSON reads both forms.
func (m *MergeList) UnmarshalJSON(b []byte) error {
	var lines []string
	if err := json.Unmarshal(b, &lines); err != nil {
		return json.Unmarshal(b, (*[][2]string)(m))
	}
	for i, line := range lines {
		left, right, ok := strings.Cut(line, " ")
		if !ok || strings.Contains(right, " ") {
			return fmt.Errorf("merge %d, %q, is not two tokens with a space between", i, line)
		}
		*m = append(*m, [2]string{left, right})
	}
	return nil
}

func (v *Vocabulary) readBPE(d *document, spelled bool) (func([]int32, string) []int32, error) {
	var c struct {
		Vocab        map[string]int32
		Merges       MergeList
		Dropout      *float64
		Unk          *string `json:"unk_token"`
		Prefix       *string `json:"continuing_subword_prefix"`
		Suffix       *string `json:"end_of_word_suffix"`
		Fuse         bool    `json:"fuse_unk"`
		ByteFallback bool    `json:"byte_fallback"`
		IgnoreMerges bool    `json:"ignore_merges"`
	}
	if err := d.Model.read(&c); err != nil {
		return nil, err
	}
	if c.Dropout != nil && *c.Dropout != 0 {
		return nil, fmt.Errorf("dropout is %g; it makes tokens random, which only training wants", *c.Dropout)
	}
	own := make(map[string]int32, len(c.Vocab)) // without the added tokens
	for t, id := range c.Vocab {
		own[t] = id
	}
	if err := v.place(c.Vocab, d.Added); err != nil {
		return nil, err
	}
	b := &bpe{raw: !spelled, whole: c.IgnoreMerges, orByte: c.ByteFallback, fuse: c.Fuse, unk: noToken, cache: newCache(),
		symbols: newSymbols(own, len(v.tokens)), pairs: newPairs(len(c.Merges))}
	if c.Prefix != nil {
		b.begin = *c.Prefix
	}
	if c.Suffix != nil {
		b.end = *c.Suffix
	}
	if spelled && (b.begin != "" || b.end != "") {
		return nil, errors.New("BPE with continuing_subword_prefix or end_of_word_suffix after ByteLevel is not supported")
	}
	if c.Unk != nil {
		id, ok := own[*c.Unk]
		if !ok {
			return nil, fmt.Errorf("unk_token %q is not in the vocabulary", *c.Unk)
		}
		b.unk, v.unk = id, id
	}
	for i, m := range c.Merges {
		merged := m[0] + strings.TrimPrefix(m[1], b.begin)
		left, right, id := b.symbols.find(m[0]), b.symbols.find(m[1]), b.symbols.find(merged)
		if left < 0 || right < 0 || id < 0 {
			return nil, fmt.Errorf("merge %d makes %q of %q and %q, which are not all in the vocabulary", i, merged, m[0], m[1])
		}
		b.pairs.add(left, right, id, int32(i), true)
	}
	for i := range 256 {
		b.bytes[i], b.first[i] = noToken, b.symbols.find(string(byteRune(byte(i))))
		if id, ok := own[fmt.Sprintf("<0x%02X>", i)]; ok {
			b.bytes[i] = id
			if c.ByteFallback && v.tokens[id].attr == normal {
				v.tokens[id].attr = byteToken
			}
		}
	}
	v.name = "byte pair encoding"
	return b.word, nil
}

func (v *Vocabulary) readWordPiece(d *document) (func([]int32, string) []int32, error) {
	c := struct {
		Vocab  map[string]int32
		Unk    string `json:"unk_token"`
		Prefix string `json:"continuing_subword_prefix"`
		Most   int    `json:"max_input_chars_per_word"`
	}{Unk: "[UNK]", Prefix: "##", Most: 100}
	if err := d.Model.read(&c); err != nil {
		return nil, err
	}
	own := make(map[string]int32, len(c.Vocab))
	for t, id := range c.Vocab {
		own[t] = id
	}
	unk, ok := own[c.Unk]
	if !ok {
		return nil, fmt.Errorf("unk_token %q is not in the vocabulary", c.Unk)
	}
	if c.Most <= 0 {
		return nil, fmt.Errorf("max_input_chars_per_word is %d; it must be positive", c.Most)
	}
	if err := v.place(c.Vocab, d.Added); err != nil {
		return nil, err
	}
	v.unk = unk
	m := newWordPiece(own, unk, "", c.Prefix)
	m.most = c.Most
	v.name = "WordPiece"
	return m.word, nil
}

// scored is a token of Unigram: ["▁the", -3.2].
type scored struct {
	text  string
	score float64
}

func (s *scored) UnmarshalJSON(b []byte) error {
	pair := []any{&s.text, &s.score}
	if err := json.Unmarshal(b, &pair); err != nil {
		return err
	}
	if len(pair) != 2 {
		return errors.New("a token of Unigram is not its text and its score")
	}
	return nil
}

func (v *Vocabulary) readUnigram(d *document) (func([]int32, string) []int32, error) {
	var c struct {
		Vocab        []scored
		Unk          *int32 `json:"unk_id"`
		ByteFallback bool   `json:"byte_fallback"`
	}
	if err := d.Model.read(&c); err != nil {
		return nil, err
	}
	own := make(map[string]int32, len(c.Vocab))
	tokens := make([]token, len(c.Vocab))
	for i, s := range c.Vocab {
		if _, twice := own[s.text]; !twice {
			own[s.text] = int32(i)
		}
		tokens[i] = token{text: s.text, attr: normal, score: s.score}
	}
	unk := int32(noToken)
	if c.Unk != nil {
		if unk = *c.Unk; unk < 0 || int(unk) >= len(tokens) {
			return nil, fmt.Errorf("unk_id is %d; there are %d tokens", unk, len(tokens))
		}
	}
	if err := v.place(own, d.Added); err != nil {
		return nil, err
	}
	for i := range tokens { // of equal texts the first has the id, but each keeps its own place
		if v.tokens[i].attr == unused {
			v.tokens[i] = tokens[i]
		}
	}
	v.unk = unk
	m := newUnigram(tokens, unk)
	if c.ByteFallback {
		m.orByte = true
		for i := range 256 {
			id, ok := own[fmt.Sprintf("<0x%02X>", i)]
			if !ok {
				return nil, fmt.Errorf("byte_fallback is set, but there is no token for byte %d", i)
			}
			m.bytes[i] = id
			if v.tokens[id].attr == normal {
				v.tokens[id].attr = byteToken
			}
		}
	}
	v.name = "Unigram"
	return m.append, nil
}
