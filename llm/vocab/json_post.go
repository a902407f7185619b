package vocab

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// readPost reads what is put around a text, and how two are put together.
func (v *Vocabulary) readPost(p *part) error {
	v.single = []slot{{id: noToken}}
	v.pair = []slot{{id: noToken}, {id: noToken, text: 1, kind: 1}}
	if p.raw == nil {
		return nil
	}
	steps := []part{*p}
	if p.kind == "Sequence" {
		var c struct{ Processors []part }
		if err := p.read(&c); err != nil {
			return err
		}
		steps = c.Processors
	}
	framed := false
	for i := range steps {
		if steps[i].kind == "ByteLevel" {
			continue // it only moves the offsets of tokens in the text
		}
		if framed {
			return errors.New("in Sequence: more than one step that adds tokens is not supported")
		}
		framed = true
		if err := v.readFrame(&steps[i]); err != nil {
			return err
		}
	}
	return nil
}

// pieceOf is an item of a template: a special token, or one of the two texts.
type pieceOf struct {
	SpecialToken *struct {
		ID   string
		Kind int32 `json:"type_id"`
	}
	Sequence *struct {
		ID   string
		Kind int32 `json:"type_id"`
	}
}

// tokenID is a token with its id: ["[SEP]", 102].
type tokenID struct{ id int32 }

func (t *tokenID) UnmarshalJSON(b []byte) error {
	var text string
	return json.Unmarshal(b, &[]any{&text, &t.id})
}

func (v *Vocabulary) readFrame(p *part) error {
	switch p.kind {
	case "TemplateProcessing":
		var c struct {
			Single, Pair []pieceOf
			Tokens       map[string]struct{ IDs []int32 } `json:"special_tokens"`
		}
		if err := p.read(&c); err != nil {
			return err
		}
		read := func(items []pieceOf) (out []slot, err error) {
			for _, item := range items {
				switch {
				case item.SpecialToken != nil:
					t, ok := c.Tokens[item.SpecialToken.ID]
					if !ok {
						return nil, fmt.Errorf("in TemplateProcessing: %q is not among its special_tokens", item.SpecialToken.ID)
					}
					for _, id := range t.IDs {
						out = append(out, slot{id: id, kind: item.SpecialToken.Kind})
					}
				case item.Sequence != nil && (item.Sequence.ID == "A" || item.Sequence.ID == "B"):
					out = append(out, slot{id: noToken, text: int(item.Sequence.ID[0] - 'A'), kind: item.Sequence.Kind})
				default:
					return nil, errors.New("in TemplateProcessing: an item is neither a special token nor the sequence A or B")
				}
			}
			return out, nil
		}
		var err error
		if v.single, err = read(c.Single); err != nil {
			return err
		}
		if v.pair, err = read(c.Pair); err != nil {
			return err
		}
	case "BertProcessing", "RobertaProcessing":
		var c struct{ Sep, Cls tokenID }
		if err := p.read(&c); err != nil {
			return err
		}
		a, b := slot{id: noToken}, slot{id: noToken, text: 1}
		cls, sep := slot{id: c.Cls.id}, slot{id: c.Sep.id}
		v.single = []slot{cls, a, sep}
		if p.kind == "BertProcessing" {
			b.kind = 1
			v.pair = []slot{cls, a, sep, b, {id: c.Sep.id, kind: 1}}
		} else {
			v.pair = []slot{cls, a, sep, sep, b, sep}
		}
	default:
		return fmt.Errorf("%q is not supported; %s", p.kind, known("TemplateProcessing", "BertProcessing", "RobertaProcessing", "ByteLevel", "Sequence"))
	}
	for _, s := range append(append([]slot{}, v.single...), v.pair...) {
		if s.id != noToken && (s.id < 0 || int(s.id) >= len(v.tokens)) {
			return fmt.Errorf("%s: there is no token %d", p.kind, s.id)
		}
		if s.id == noToken && s.text > 0 && len(v.pair) == 0 {
			return fmt.Errorf("%s: a single text has no sequence B", p.kind)
		}
	}
	return nil
}

// readDecoder reads how tokens become text again, and sets v.trim.
func (v *Vocabulary) readDecoder(p *part) (func([]byte, *token) []byte, error) {
	steps := []part{*p}
	if p.kind == "Sequence" {
		var c struct{ Decoders []part }
		if err := p.read(&c); err != nil {
			return nil, err
		}
		steps = c.Decoders
	}
	var all []func(string) string
	spelled, bytes := false, false
	for i := range steps {
		step := &steps[i]
		if step.raw == nil {
			continue
		}
		switch step.kind {
		case "ByteLevel":
			spelled = true
		case "ByteFallback":
			bytes = true
		case "Fuse": // the tokens' texts are put together anyway
		case "Replace":
			f, err := replacer(step)
			if err != nil {
				return nil, err
			}
			all = append(all, f)
		case "Strip":
			c := struct {
				Content     string
				Start, Stop int
			}{}
			if err := step.read(&c); err != nil {
				return nil, err
			}
			if c.Content != " " || c.Start > 1 || c.Stop != 0 {
				return nil, fmt.Errorf("a Strip of %q, %d and %d is not supported", c.Content, c.Start, c.Stop)
			}
			v.trim = c.Start == 1
		case "Metaspace":
			c := struct {
				Replacement string
				Scheme      string `json:"prepend_scheme"`
				Prefix      *bool  `json:"add_prefix_space"`
			}{Replacement: spaceMark, Scheme: "always"}
			if err := step.read(&c); err != nil {
				return nil, err
			}
			v.trim = c.Scheme != "never" && (c.Prefix == nil || *c.Prefix)
			all = append(all, func(s string) string { return strings.ReplaceAll(s, c.Replacement, " ") })
		case "WordPiece":
			c := struct{ Prefix string }{"##"}
			if err := step.read(&c); err != nil {
				return nil, err
			}
			v.trim = true
			all = append(all, func(s string) string {
				if rest, inside := strings.CutPrefix(s, c.Prefix); inside {
					return rest
				}
				return " " + s
			})
		case "BPEDecoder":
			c := struct{ Suffix string }{"</w>"}
			if err := step.read(&c); err != nil {
				return nil, err
			}
			all = append(all, func(s string) string { return strings.ReplaceAll(s, c.Suffix, " ") })
		default:
			return nil, fmt.Errorf("%q is not supported; %s", step.kind, known("ByteLevel", "ByteFallback", "Fuse", "Replace", "Strip",
				"Metaspace", "WordPiece", "BPEDecoder", "Sequence"))
		}
	}
	return func(dst []byte, t *token) []byte {
		if b, ok := hexByte(t.text); ok && bytes {
			return append(dst, b)
		}
		if t.attr&special != 0 {
			return append(dst, t.text...)
		}
		s := t.text
		for _, f := range all {
			s = f(s)
		}
		if spelled && !strings.ContainsFunc(s, func(r rune) bool { _, ok := runeByte(r); return !ok }) {
			return spelledBytes(dst, s)
		}
		return append(dst, s...)
	}, nil
}
