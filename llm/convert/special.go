package convert

import (
	"encoding/json"
	"fmt"
	"slices"

	"serval/llm/gguf"
	"serval/llm/vocab"
)

// special are the tokens that have a part to play, and which of them are put around a text.
type special struct {
	ids   map[string]int32 // by roles; the first that says it is right
	adds  map[string]bool  // by bos, eos and sep
	names map[string]string
}

// roles are the parts that tokens play, in the order of the file's keys, with GGUF's names.
func roles() [][2]string {
	return [][2]string{{"bos", "bos_token_id"}, {"eos", "eos_token_id"}, {"eot", "eot_token_id"}, {"eom", "eom_token_id"},
		{"unk", "unknown_token_id"}, {"sep", "seperator_token_id"}, {"pad", "padding_token_id"}, {"mask", "mask_token_id"}}
}

// specials finds them: by the tokenizer's files, then by config.json. generation is generation_config.json.
func (w *words) specials(generation map[string]json.RawMessage, x *texts, c, inside *config) error {
	s := &special{ids: map[string]int32{}, adds: map[string]bool{}, names: map[string]string{}}
	for _, role := range append(roles(), [2]string{"cls"}) {
		s.names[role[0]] = x.name(role[0] + "_token")
	}
	if x.read != nil {
		if s.names["bos"] == "" {
			s.names["bos"] = s.names["cls"]
		}
		if s.names["eos"] == "" {
			s.names["eos"] = s.names["sep"]
		}
		if err := s.post(x.read); err != nil {
			return wrong("tokenizer.json", "post_processor", "post_processor: %w", err)
		}
	}
	for _, role := range []string{"bos", "eos", "sep"} {
		var is bool
		if raw := x.config["add_"+role+"_token"]; len(raw) > 0 && json.Unmarshal(raw, &is) == nil && string(raw) != "null" {
			if _, said := s.adds[role]; !said {
				s.adds[role] = is
			}
		}
	}
	for _, role := range roles() {
		if id, ok := w.names[s.names[role[0]]]; ok && s.names[role[0]] != "" {
			s.ids[role[0]] = id
		}
	}
	for _, from := range []*config{c, inside} {
		for _, role := range roles() {
			var id *int32
			raw := from.raw[role[0]+"_token_id"]
			if json.Unmarshal(raw, &id) != nil || id == nil || *id < 0 || int(*id) >= len(w.tokens) {
				continue // a list, or beyond the net's rows
			}
			if _, said := s.ids[role[0]]; !said {
				s.ids[role[0]] = *id
			}
		}
	}
	if id, ok := w.names[w.unk]; ok && w.unk != "" {
		if _, said := s.ids["unk"]; !said {
			s.ids["unk"] = id
		}
	}
	w.ends(s, generation["eos_token_id"], c.raw["eos_token_id"])
	for _, role := range roles() {
		if id, ok := s.ids[role[0]]; ok {
			w.set(role[1], gguf.Num(uint32(id)))
		}
	}
	for _, role := range []string{"bos", "eos", "sep"} {
		is, said := s.adds[role]
		if said || role == "bos" { // what is not said depends on tokenizer.ggml.pre, which a reader may not think of
			w.set("add_"+role+"_token", gguf.Num(is))
		}
	}
	return nil
}

// name is the content of a token that tokenizer_config.json names; "" if it does not.
func (x *texts) name(key string) string {
	var text string
	var object struct{ Content string }
	if json.Unmarshal(x.config[key], &text) == nil {
		return text
	}
	_ = json.Unmarshal(x.config[key], &object) // neither is none
	return object.Content
}

// post reads which tokens the post-processor puts around a text.
func (s *special) post(t *tokenizer) error {
	steps, err := t.PostProcessor.flat("processors")
	if err != nil {
		return err
	}
	for i := range steps {
		switch p := &steps[i]; p.Type {
		case "ByteLevel":
			for _, role := range []string{"bos", "eos"} {
				if _, said := s.adds[role]; !said {
					s.adds[role] = false
				}
			}
		case "TemplateProcessing":
			if err := s.template(p); err != nil {
				return err
			}
		case "BertProcessing", "RobertaProcessing":
			s.adds["bos"], s.adds["eos"], s.adds["sep"] = true, true, p.Type == "RobertaProcessing"
		default:
			return fmt.Errorf("%q is not converted; TemplateProcessing, BertProcessing, RobertaProcessing and ByteLevel are", p.Type)
		}
	}
	return nil
}

// slot is what a template has at a place: a token or a text.
type slot struct {
	SpecialToken struct{ ID string }
	Sequence     struct{ ID string }
}

// template reads a template for one text and one for two.
func (s *special) template(p *step) error {
	var t struct{ Single, Pair []slot }
	if err := p.read(&t); err != nil {
		return err
	}
	at := slices.IndexFunc(t.Single, func(p slot) bool { return p.SpecialToken.ID == "" })
	if at < 0 || at > 1 || len(t.Single)-at > 2 || t.Single[at].Sequence.ID != "A" {
		return fmt.Errorf("TemplateProcessing: GGUF has a place for one token before a text and one behind it; this one: %.300s", p.raw)
	}
	first, last := "", ""
	if at == 1 {
		first = t.Single[0].SpecialToken.ID
	}
	if len(t.Single)-at == 2 {
		last = t.Single[at+1].SpecialToken.ID
	}
	if first != "" {
		if s.names["bos"] == "" {
			s.names["bos"] = first
		}
		if first != s.names["bos"] && first != s.names["cls"] {
			return fmt.Errorf("TemplateProcessing: it puts %q before a text, and tokenizer_config.json says that %q begins one", first, s.names["bos"])
		}
		s.adds["bos"] = true
	}
	if last != "" {
		if s.names["eos"] != last && s.names["eos"] != "" {
			s.names["eot"] = s.names["eos"]
		}
		s.names["eos"], s.adds["eos"] = last, true
	}
	if at == 0 && last == "" && len(t.Pair) == 0 {
		return nil
	}
	s.adds["sep"] = s.between(t.Pair, first, last)
	return nil
}

// between tells whether a second text comes behind a token that ends the first.
func (s *special) between(pair []slot, first, last string) bool {
	if first != "" && len(pair) > 0 && pair[0].SpecialToken.ID == first {
		pair = pair[1:]
	}
	if last != "" && len(pair) > 0 && pair[len(pair)-1].SpecialToken.ID == last {
		pair = pair[:len(pair)-1]
	}
	if len(pair) < 3 || pair[0].Sequence.ID != "A" || pair[len(pair)-1].Sequence.ID != "B" {
		return false
	}
	ends := func(p slot) bool {
		id := p.SpecialToken.ID
		return id != "" && (id == s.names["sep"] || id == s.names["eos"])
	}
	inner := pair[1 : len(pair)-1]
	return ends(inner[0]) && last == "" || len(inner) == 2 && ends(inner[1])
}

// ends adds the tokens that end an answer by generation_config.json or config.json, which may list several, and that have no name
// by which a reader would know them.
func (w *words) ends(s *special, lists ...json.RawMessage) {
	for _, raw := range lists {
		var ids []int32
		if json.Unmarshal(raw, &ids) != nil {
			continue
		}
		for _, id := range ids {
			if id < 0 || int(id) >= len(w.tokens) || w.types[id] != control {
				continue
			}
			if _, said := s.ids["eos"]; !said {
				s.ids["eos"] = id
			}
			known := s.ids["eos"] == id || vocab.EndsAnswer(w.tokens[id])
			for _, role := range []string{"eot", "eom"} {
				other, said := s.ids[role]
				if known = known || said && other == id; !known && !said {
					s.ids[role], known = id, true
				}
			}
			if !known {
				w.note("token %d, %s, ends an answer by generation_config.json; the file has no place for it", id, w.tokens[id])
			}
		}
	}
}

// sampling reads how generation_config.json wants tokens to be picked.
func sampling(generation map[string]json.RawMessage) ([]pair, error) {
	var out []pair
	for _, key := range [][2]string{{"top_k", "top_k"}, {"top_p", "top_p"}, {"min_p", "min_p"}, {"temperature", "temp"},
		{"repetition_penalty", "penalty_repeat"}} {
		var v *float64
		if raw := generation[key[0]]; raw != nil {
			if err := json.Unmarshal(raw, &v); err != nil {
				return nil, wrong("generation_config.json", key[0], "%s is %.60s, which cannot be: %w", key[0], raw, err)
			}
		}
		switch {
		case v == nil:
		case *v < 0 || *v > 1<<30:
			return nil, wrong("generation_config.json", key[0], "%s is %g, which cannot be", key[0], *v)
		case key[0] == "top_k":
			out = append(out, pair{"general.sampling.top_k", gguf.Num(int32(*v))})
		default:
			out = append(out, pair{"general.sampling." + key[1], gguf.Num(float32(*v))})
		}
	}
	return out, nil
}
