package convert

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"serval/llm/gguf"
)

// special are the tokens that have a part to play, and which of them are put around a text.
type special struct {
	ids   map[string]int32 // by roles; the first that says it is right
	adds  map[string]bool  // by bos, eos and sep
	names map[string]string
}

// roles are the parts that tokens play, in the order of the file's keys, with GGUF's names.
func roles() [][2]string {
	return [][2]string{{"bos", "bos_token_id"}, {"eos", "eos_token_id"}, {"eot", "eot_token_id"}, {"eom", "eom_token_id"}, {"unk", "unknown_token_id"},
		{"sep", "seperator_token_id"}, {"pad", "padding_token_id"}, {"mask", "mask_token_id"}}
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
			return fmt.Errorf("TemplateProcessing: it puts %q before a text, tokenizer_config.json says that %q is what begins one", first, s.names["bos"])
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
			known := slices.Contains([]int32{s.ids["eos"]}, id) || knownEnd(w.tokens[id])
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
	for _, key := range [][2]string{{"top_k", "top_k"}, {"top_p", "top_p"}, {"min_p", "min_p"}, {"temperature", "temp"}, {"repetition_penalty", "penalty_repeat"}} {
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

// knownEnd tells whether readers of GGUF know by its name that a token ends an answer.
func knownEnd(name string) bool {
	return slices.Contains(strings.Fields("<|eot_id|> <|im_end|> <|end|> <end_of_turn> <|endoftext|> <|eom_id|> <EOT> _<EOT> <|end_of_text|> <｜end▁of▁sentence｜> <end_of_utterance>"), name)
}

// chat adds the chat template: chat_template.jinja, as transformers has it, else tokenizer_config.json's, which may be a list.
func (w *words) chat(dir string, x *texts) error {
	type named struct{ Name, Template string }
	var list []named
	b, err := readFile(dir, "chat_template.jinja", maxConfig)
	if err != nil {
		return err
	}
	raw := x.config["chat_template"]
	if b == nil && raw == nil {
		var file map[string]json.RawMessage
		if _, err := readJSON(dir, "chat_template.json", maxConfig, &file); err != nil {
			return err
		}
		raw = file["chat_template"]
	}
	switch text := ""; {
	case b != nil:
		list = append(list, named{"default", string(b)})
		more, err := filepath.Glob(filepath.Join(dir, "additional_chat_templates", "*.jinja"))
		if err != nil {
			return err
		}
		for _, path := range more {
			b, err := readFile(filepath.Dir(path), filepath.Base(path), maxConfig)
			if err != nil {
				return err
			}
			list = append(list, named{strings.TrimSuffix(filepath.Base(path), ".jinja"), string(b)})
		}
	case raw == nil || string(raw) == "null":
		return nil
	case json.Unmarshal(raw, &text) == nil:
		list = append(list, named{"default", text})
	default:
		if err := json.Unmarshal(raw, &list); err != nil {
			return wrong("tokenizer_config.json", "chat_template", "chat_template: %w", err)
		}
	}
	var names []string
	for _, t := range list {
		name := strings.Map(func(r rune) rune {
			if r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' {
				return r
			}
			return '_'
		}, t.Name)
		if name == "" || name == "default" {
			w.keys = append(w.keys, pair{"tokenizer.chat_template", gguf.Text(t.Template)})
			continue
		}
		names = append(names, name)
		w.keys = append(w.keys, pair{"tokenizer.chat_template." + name, gguf.Text(t.Template)})
	}
	if len(names) > 0 {
		w.keys = append(w.keys, pair{"tokenizer.chat_templates", gguf.Texts(names)})
	}
	return nil
}

// pooling reads how vectors of texts are made, where the folder is sentence-transformers': GGUF's number for it; 0: not said.
func pooling(dir string) (uint32, error) {
	var modules []struct{ Path, Type string }
	found, err := readJSON(dir, "modules.json", maxConfig, &modules)
	if err != nil || !found {
		return 0, err
	}
	var kind uint32
	for _, m := range modules {
		class := m.Type[strings.LastIndexByte(m.Type, '.')+1:]
		switch class {
		case "Transformer", "Normalize":
			continue
		case "Pooling":
		default:
			return 0, wrong("modules.json", "type", "a module is %q, which has no place in GGUF; Transformer, Pooling and Normalize have", m.Type)
		}
		if !filepath.IsLocal(m.Path) {
			return 0, wrong("modules.json", "path", "%q is no folder inside this one", m.Path)
		}
		name := filepath.Join(m.Path, "config.json")
		var p map[string]any
		if found, err := readJSON(dir, name, maxConfig, &p); err != nil {
			return 0, err
		} else if !found {
			return 0, wrong("modules.json", "path", "%s is missing", name)
		}
		var modes []string
		for key, v := range p {
			if mode, is := strings.CutPrefix(key, "pooling_mode_"); is && v == true {
				modes = append(modes, strings.TrimSuffix(strings.TrimSuffix(mode, "_tokens"), "_token"))
			}
		}
		if mode, ok := p["pooling_mode"].(string); ok && len(modes) == 0 {
			modes = append(modes, mode)
		}
		slices.Sort(modes)
		at := slices.Index([]string{"", "mean", "cls", "lasttoken"}, strings.Join(modes, " + "))
		if at < 1 {
			return 0, wrong(name, "pooling_mode", "it pools by %q; mean, cls and lasttoken have a place in GGUF", strings.Join(modes, " + "))
		}
		kind = uint32(at)
	}
	return kind, nil
}
