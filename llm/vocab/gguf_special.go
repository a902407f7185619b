package vocab

import (
	"fmt"
	"slices"
	"strings"
)

// readSpecial reads which tokens have a part to play. One that is out of range is as if it were not there.
func (r *reading) readSpecial() {
	r.eot, r.eom = noToken, noToken
	for _, name := range []string{"pre", "suf", "mid", "pad", "rep", "sep"} {
		r.fim[name] = noToken
	}
	inRange := func(id uint64) bool { return id < uint64(len(r.tokens)) }
	for _, s := range []struct {
		name string
		id   *int32
	}{{"bos", &r.bos}, {"eos", &r.eos}, {"eot", &r.eot}, {"eom", &r.eom}, {"unknown", &r.unk}, {"seperator", &r.sep},
		{"padding", &r.pad}, {"mask", &r.mask}} {
		if *s.id >= 0 && !inRange(uint64(*s.id)) {
			*s.id = noToken
		}
		if id, ok := r.file.Uint(key(s.name + "_token_id")); ok && inRange(id) {
			*s.id = int32(id)
		}
	}
	for name := range r.fim {
		if id, ok := r.file.Uint(key("fim_" + name + "_token_id")); ok && inRange(id) {
			r.fim[name] = int32(id)
		}
	}
	for old, name := range map[string]string{"prefix": "pre", "suffix": "suf", "middle": "mid"} {
		if id, ok := r.file.Uint(key(old + "_token_id")); ok && inRange(id) {
			r.fim[name] = int32(id)
		}
	}
	for name, add := range map[string]*bool{"add_bos_token": &r.addBOS, "add_eos_token": &r.addEOS, "add_sep_token": &r.addSEP} {
		if b, ok := r.file.Bool(key(name)); ok {
			*add = b
		}
	}
	if r.preset.newline {
		r.addBOS = true // some Gemma 4 files say otherwise, wrongly
	}
}

// The names by which llama.cpp knows the tokens that end something, and those for filling in the middle of code, of files that
// do not say which they are (llama_vocab::impl::load).
var (
	turnEnds = strings.Fields(`<|eot_id|> <|im_end|> <|end|> <end_of_turn> <|endoftext|> <|end_of_text|> <EOT> _<EOT> [EOT]
		<｜end▁of▁sentence｜> <end_of_utterance>`)
	answerEnds = strings.Fields(`<|eot_id|> <|im_end|> <|end|> <|return|> <|call|> <|flush|> <|calls|> <end_of_turn> <|endoftext|>
		</s> <|eom_id|> <EOT> _<EOT> [EOT] [EOS] <|end_of_text|> <end_of_utterance> <eos> <turn|> <|tool_response>
		<｜end▁of▁sentence｜> [e~[`)
	middleNames = map[string][]string{
		"pre": strings.Fields("<|fim_prefix|> <fim-prefix> <fim_prefix> <｜fim▁begin｜> <PRE> ▁<PRE> <|code_prefix|> <|prefix|>"),
		"suf": strings.Fields("<|fim_suffix|> <fim-suffix> <fim_suffix> <｜fim▁hole｜> <SUF> ▁<SUF> <|code_suffix|> <|suffix|>"),
		"mid": strings.Fields("<|fim_middle|> <fim-middle> <fim_middle> <｜fim▁end｜> <MID> ▁<MID> <|code_middle|> <|middle|>"),
		"pad": strings.Fields("<|fim_pad|> <fim-pad> <fim_pad> <PAD> [PAD]"),
		"rep": strings.Fields("<|fim_repo|> <|repo_name|> <fim-repo> <REPO> <reponame>"),
		"sep": {"<|file_sep|>"},
	}
	alwaysShown = []string{"<|channel|>", "<|message|>", "<|start|>", "<|constrain|>"} // gpt-oss
)

// EndsAnswer tells whether a token ends an answer by its name alone, whatever else a GGUF file says.
func EndsAnswer(name string) bool { return slices.Contains(answerEnds, name) }

// findSpecial finds by their names the tokens that end an answer, and makes control tokens of those that look like one.
func (r *reading) findSpecial() map[int32]bool {
	first := func(id *int32, names ...string) {
		for _, name := range names {
			if *id >= 0 {
				return
			}
			if t, ok := r.ids[name]; ok {
				*id = t
				r.tokens[t].attr |= controlling
			}
		}
	}
	first(&r.eot, turnEnds...)
	first(&r.eom, "<|eom_id|>")
	for name, names := range middleNames {
		id := r.fim[name]
		first(&id, names...)
		r.fim[name] = id
	}
	for i := range r.tokens {
		if t := &r.tokens[i]; t.attr&controlling != 0 && strings.Contains(t.text, "unused") {
			t.attr |= unused
		}
	}
	ends := map[int32]bool{}
	add := func(id int32) {
		if id >= 0 {
			ends[id] = true
		}
	}
	for _, name := range []string{"pad", "rep", "sep"} {
		add(r.fim[name])
	}
	for _, name := range answerEnds {
		if id, ok := r.ids[name]; ok {
			ends[id] = true
			r.tokens[id].attr |= controlling
		}
	}
	for _, name := range alwaysShown {
		if id, ok := r.ids[name]; ok {
			r.tokens[id].attr = userDefined
		}
	}
	add(r.eos)
	add(r.eot)
	add(r.eom)
	r.exceptions(ends)
	return ends
}

// exceptions takes back what the names say where other tokens show that they mean something else.
func (r *reading) exceptions(ends map[int32]bool) {
	has := func(name string) (int32, bool) {
		id, ok := r.ids[name]
		return id, ok && ends[id]
	}
	end, isEnd := has("<|end|>")
	_, isReturn := has("<|return|>")
	_, call := has("<|call|>")
	_, calls := has("<|calls|>")
	_, flush := has("<|flush|>")
	if isEnd && (call || calls) && (isReturn || flush) { // gpt-oss, Solar Open: it ends a message, not an answer
		delete(ends, end)
		r.tokens[end].attr = userDefined
	}
	slash, isSlash := has("</s>")
	_, tool := has("<|tool_response>")
	if isSlash && tool { // Gemma 4: a tag of HTML
		delete(ends, slash)
		r.tokens[slash].attr = normal
	}
}

// named are the tokens that are found in text by their names.
func (r *reading) named() []named {
	var out []named
	jina := containsAny(r.pre, "jina-v2-de", "jina-v2-es", "jina-v2-code") || containsAny(r.file.Architecture(), "nomic-bert-moe", "jina-bert-v3")
	model, _ := r.file.String("general.name")
	model = strings.ToLower(model)
	for i := range r.tokens {
		t := &r.tokens[i]
		if t.attr&(special|userDefined) == 0 {
			continue
		}
		n := named{text: t.text, id: int32(i), always: t.attr&special == 0}
		switch {
		case jina:
			n.lstrip = t.text == "<mask>"
		case containsAny(model, "phi-3", "phi3"):
			n.rstrip = t.text != "<unk>" && t.text != "<s>" && t.text != "<|endoftext|>"
		case containsAny(model, "modern-bert"):
			n.lstrip = t.text == "[MASK]"
		}
		out = append(out, n)
	}
	return out
}

func containsAny(s string, parts ...string) bool {
	for _, p := range parts {
		if strings.Contains(s, p) {
			return true
		}
	}
	return false
}

// frame says what is added around a text and a pair of texts.
func (r *reading) frame() error {
	need := func(add bool, id int32, flag, name string) error { // not SEP, which llama.cpp does without
		if add && id < 0 {
			return fmt.Errorf("%s is true, but %s is not set", key(flag), key(name))
		}
		return nil
	}
	r.addSEP = r.addSEP && r.sep >= 0
	if r.model == "bert" {
		if r.sep < 0 {
			return fmt.Errorf("%s is not set, which BERT needs", key("seperator_token_id"))
		}
		r.addBOS, r.addSEP, r.addEOS = true, true, false
		r.single = []slot{{id: r.bos}, {id: noToken}, {id: r.sep}}
		r.pair = []slot{{id: r.bos}, {id: noToken}, {id: r.sep}, {id: noToken, text: 1, kind: 1}, {id: r.sep, kind: 1}}
	} else {
		eos := r.eos
		if eos < 0 {
			eos = r.sep
		}
		add := func(to *[]slot, when bool, s slot) {
			if when {
				*to = append(*to, s)
			}
		}
		add(&r.single, r.addBOS, slot{id: r.bos})
		add(&r.single, true, slot{id: noToken})
		add(&r.single, r.addEOS, slot{id: r.eos})
		// As llama-server lays out a query and a document.
		if r.addSEP || r.addEOS {
			add(&r.pair, r.addBOS, slot{id: r.bos})
			add(&r.pair, true, slot{id: noToken})
			add(&r.pair, r.addEOS, slot{id: eos})
			add(&r.pair, r.addSEP, slot{id: r.sep})
			add(&r.pair, true, slot{id: noToken, text: 1})
			add(&r.pair, r.addEOS, slot{id: eos})
		}
	}
	for _, err := range []error{need(r.addBOS, r.bos, "add_bos_token", "bos_token_id"), need(r.addEOS, r.eos, "add_eos_token", "eos_token_id")} {
		if err != nil {
			return err
		}
	}
	return nil
}
