package convert

import (
	"encoding/json"
	"path/filepath"
	"strings"

	"serval/llm/gguf"
)

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
