package vocab

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// FromJSON makes the vocabulary of a Hugging Face tokenizer.json, as their library tokenizers reads it. config is the model's
// tokenizer_config.json, which tells the tokens that begin and end a text; nil if there is none. What the file asks for and
// this package does not do is an error that names it. The file's truncation and padding are left to the caller.
func FromJSON(tokenizer, config []byte) (*Vocabulary, error) {
	v, err := fromJSON(tokenizer, config)
	if err != nil {
		return nil, fmt.Errorf("tokenizer.json: %w", err)
	}
	return v, nil
}

// part is one step of a tokenizer.json, of which only the type is read yet.
type part struct {
	kind string
	raw  json.RawMessage
}

func (p *part) UnmarshalJSON(b []byte) error {
	if bytes.Equal(b, []byte("null")) {
		return nil
	}
	var head struct{ Type *string }
	if err := json.Unmarshal(b, &head); err != nil {
		return err
	}
	if head.Type == nil {
		return errors.New("a part has no type")
	}
	p.kind, p.raw = *head.Type, append(json.RawMessage(nil), b...)
	return nil
}

// read reads the step's settings. Those with a default are set before.
func (p *part) read(into any) error {
	if err := json.Unmarshal(p.raw, into); err != nil {
		return fmt.Errorf("%s: %w", p.kind, err)
	}
	return nil
}

// addedToken is a token that is found in text by its name.
type addedToken struct {
	ID         int32
	Content    string
	Single     bool `json:"single_word"`
	LStrip     bool
	RStrip     bool
	Normalized bool // it is looked for in normalized text
	Special    bool
}

// document is a tokenizer.json.
type document struct {
	Model         part
	Normalizer    part
	PreTokenizer  part `json:"pre_tokenizer"`
	PostProcessor part `json:"post_processor"`
	Decoder       part
	Added         []addedToken `json:"added_tokens"`
}

// most is how many times more ids there may be than tokens: files have gaps, but a single token must not ask for gigabytes.
const most = 4

func fromJSON(tokenizer, config []byte) (*Vocabulary, error) {
	var d document
	if err := json.Unmarshal(tokenizer, &d); err != nil {
		return nil, err
	}
	if d.Model.raw == nil {
		return nil, errors.New("it has no model")
	}
	v := &Vocabulary{bos: noToken, eos: noToken, unk: noToken, sep: noToken, pad: noToken, mask: noToken}
	p := &pipeline{}
	normalize, err := normalizerOf(&d.Normalizer)
	if err != nil {
		return nil, fmt.Errorf("normalizer: %w", err)
	}
	p.normalize = normalize
	var cut cutting
	if cut, err = cutterOf(&d.PreTokenizer); err != nil {
		return nil, fmt.Errorf("pre_tokenizer: %w", err)
	}
	p.cut = cut.cut
	if p.model, err = v.readModel(&d, cut.bytes); err != nil {
		return nil, fmt.Errorf("model: %w", err)
	}
	p.addedTokens(d.Added)
	v.coder = p
	if err := v.readPost(&d.PostProcessor); err != nil {
		return nil, fmt.Errorf("post_processor: %w", err)
	}
	piece, err := v.readDecoder(&d.Decoder)
	if err != nil {
		return nil, fmt.Errorf("decoder: %w", err)
	}
	if err := v.readConfig(config); err != nil {
		return nil, fmt.Errorf("tokenizer_config.json: %w", err)
	}
	v.seal(piece, v.answerEnds())
	return v, nil
}

// place makes room for the tokens of the model and the added ones, and puts them in it.
func (v *Vocabulary) place(vocab map[string]int32, added []addedToken) error {
	size, count := int32(0), len(vocab)+len(added)
	check := func(id int32, text string) error {
		if id < 0 || int64(id) > most*int64(count)+1<<16 {
			return fmt.Errorf("token %q has the id %d, which cannot be", text, id)
		}
		size = max(size, id+1)
		return nil
	}
	for text, id := range vocab {
		if err := check(id, text); err != nil {
			return err
		}
	}
	for _, a := range added {
		if err := check(a.ID, a.Content); err != nil {
			return fmt.Errorf("added_tokens: %w", err)
		}
	}
	v.tokens = make([]token, size)
	v.ids = vocab
	for text, id := range vocab {
		t := &v.tokens[id]
		if t.attr != 0 {
			return fmt.Errorf("tokens %q and %q have the same id, %d", t.text, text, id)
		}
		*t = token{text: text, attr: normal}
	}
	for _, a := range added {
		t := &v.tokens[a.ID]
		t.text, t.attr = a.Content, userDefined
		if a.Special {
			t.attr = controlling
		}
		v.ids[a.Content] = a.ID
	}
	for i := range v.tokens {
		if v.tokens[i].attr == 0 {
			v.tokens[i].attr = unused
		}
	}
	return nil
}

// readConfig reads which tokens have a part to play.
func (v *Vocabulary) readConfig(config []byte) error {
	if len(config) == 0 {
		return nil
	}
	var c map[string]json.RawMessage
	if err := json.Unmarshal(config, &c); err != nil {
		return err
	}
	for name, id := range map[string]*int32{"bos_token": &v.bos, "eos_token": &v.eos, "unk_token": &v.unk, "sep_token": &v.sep,
		"pad_token": &v.pad, "mask_token": &v.mask} {
		var text string
		var object struct{ Content string }
		raw := c[name]
		if len(raw) == 0 || bytes.Equal(raw, []byte("null")) {
			continue
		}
		if err := json.Unmarshal(raw, &text); err != nil {
			if err := json.Unmarshal(raw, &object); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			text = object.Content
		}
		if t, ok := v.ids[text]; ok {
			*id = t
		}
	}
	return nil
}

// answerEnds are the end of text, and the special tokens that are known to end an answer by their names.
func (v *Vocabulary) answerEnds() map[int32]bool {
	ends := map[int32]bool{}
	if v.eos >= 0 {
		ends[v.eos] = true
	}
	for _, name := range answerEnds {
		if id, ok := v.ids[name]; ok && v.tokens[id].attr&controlling != 0 {
			ends[id] = true
		}
	}
	r := reading{Vocabulary: v}
	r.exceptions(ends)
	return ends
}

// pipeline is the coder of a tokenizer.json.
type pipeline struct {
	raw       *finder // names in the text as it is
	normal    *finder // names in the text as it is normalized
	normalize func(string) string
	cut       cutter
	model     func(dst []int32, word string) []int32
}

// addedTokens sorts the added tokens into those that are looked for before and after the text is normalized.
func (p *pipeline) addedTokens(added []addedToken) {
	var raw, normal []named
	for _, a := range added {
		n := named{text: a.Content, id: a.ID, always: !a.Special, lstrip: a.LStrip, rstrip: a.RStrip, word: a.Single}
		if a.Normalized {
			n.text = p.normalize(n.text)
			normal = append(normal, n)
		} else {
			raw = append(raw, n)
		}
	}
	p.raw, p.normal = newFinder(raw, true), newFinder(normal, true)
}

func (p *pipeline) encode(dst []int32, s string, special bool) []int32 {
	first := true // the part begins the text
	p.raw.pieces(s, special, func(part string, id int32) {
		if id >= 0 {
			dst = append(dst, id)
		} else {
			begins := first
			p.normal.pieces(p.normalize(part), special, func(part string, id int32) {
				if id >= 0 {
					dst = append(dst, id)
				} else if part != "" {
					p.cut(part, begins, func(word string, _ bool) { dst = p.model(dst, word) })
				}
				begins = false
			})
		}
		first = false
	})
	return dst
}

// known lists what a part may be, for errors.
func known(kinds ...string) string {
	slices.Sort(kinds)
	return "the types that are supported: " + strings.Join(kinds, ", ")
}
