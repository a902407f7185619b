package vocab

import (
	"strings"
	"testing"
)

func TestJSONRefusals(t *testing.T) {
	const model = `"model":{"type":"BPE","vocab":{"a":0,"b":1,"ab":2},"merges":["a b"]}`
	with := func(more string) string { return "{" + model + "," + more + "}" }
	for name, c := range map[string]struct{ file, want string }{
		"no JSON":        {"{", "unexpected end"},
		"no model":       {`{}`, "it has no model"},
		"no type":        {`{"model":{}}`, "a part has no type"},
		"model":          {`{"model":{"type":"WordLevel","vocab":{}}}`, `model: "WordLevel" is not supported; the types that are supported: BPE, Unigram, WordPiece`},
		"merge":          {`{"model":{"type":"BPE","vocab":{"a":0},"merges":["a c"]}}`, `merge 0 makes "ac" of "a" and "c", which are not all in the vocabulary`},
		"merge form":     {`{"model":{"type":"BPE","vocab":{"a":0},"merges":["a"]}}`, "is not two tokens"},
		"dropout":        {`{"model":{"type":"BPE","vocab":{"a":0},"merges":[],"dropout":0.1}}`, "dropout is 0.1"},
		"unk":            {`{"model":{"type":"BPE","vocab":{"a":0},"merges":[],"unk_token":"x"}}`, `unk_token "x" is not in the vocabulary`},
		"unk piece":      {`{"model":{"type":"WordPiece","vocab":{"a":0}}}`, `unk_token "[UNK]" is not in the vocabulary`},
		"most":           {`{"model":{"type":"WordPiece","vocab":{"[UNK]":0},"max_input_chars_per_word":-1}}`, "max_input_chars_per_word is -1"},
		"unk id":         {`{"model":{"type":"Unigram","vocab":[["a",0]],"unk_id":7}}`, "unk_id is 7; there are 1 tokens"},
		"no bytes":       {`{"model":{"type":"Unigram","vocab":[["a",0]],"unk_id":0,"byte_fallback":true}}`, "there is no token for byte 0"},
		"huge id":        {`{"model":{"type":"BPE","vocab":{"a":999999999},"merges":[]}}`, `token "a" has the id 999999999, which cannot be`},
		"negative id":    {`{"model":{"type":"BPE","vocab":{"a":-1},"merges":[]}}`, "has the id -1"},
		"same id":        {`{"model":{"type":"BPE","vocab":{"a":0,"b":0},"merges":[]}}`, "have the same id, 0"},
		"added id":       {with(`"added_tokens":[{"id":1000000,"content":"x"}]`), `added_tokens: token "x" has the id 1000000`},
		"normalizer":     {with(`"normalizer":{"type":"Precompiled","precompiled_charsmap":""}`), `normalizer: "Precompiled" is not supported`},
		"in a sequence":  {with(`"normalizer":{"type":"Sequence","normalizers":[{"type":"Nmt"}]}`), `normalizer: "Nmt" is not supported`},
		"replace":        {with(`"normalizer":{"type":"Replace","pattern":{"Regex":"a|b"},"content":""}`), `the expression "a|b" is not supported`},
		"pre_tokenizer":  {with(`"pre_tokenizer":{"type":"UnicodeScripts"}`), `pre_tokenizer: "UnicodeScripts" is not supported`},
		"expression":     {with(`"pre_tokenizer":{"type":"Split","pattern":{"Regex":"[abc]"},"behavior":"Isolated","invert":false}`), `the expression "[abc]" is not known`},
		"behavior":       {with(`"pre_tokenizer":{"type":"Split","pattern":{"String":" "},"behavior":"Odd","invert":false}`), `the behavior "Odd" is not supported`},
		"no pattern":     {with(`"pre_tokenizer":{"type":"Split","behavior":"Removed"}`), "Split: no pattern"},
		"after bytes":    {with(`"pre_tokenizer":{"type":"Sequence","pretokenizers":[{"type":"ByteLevel"},{"type":"Digits"}]}`), "a step after ByteLevel is not supported"},
		"bytes":          {`{"model":{"type":"Unigram","vocab":[["a",0]]},"pre_tokenizer":{"type":"ByteLevel"}}`, "Unigram after ByteLevel is not supported"},
		"scheme":         {with(`"pre_tokenizer":{"type":"Metaspace","prepend_scheme":"odd"}`), `prepend_scheme "odd"`},
		"post_processor": {with(`"post_processor":{"type":"Odd"}`), `post_processor: "Odd" is not supported`},
		"template":       {with(`"post_processor":{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"[X]","type_id":0}}],"pair":[],"special_tokens":{}}`), `"[X]" is not among its special_tokens`},
		"template id":    {with(`"post_processor":{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"X","type_id":0}}],"pair":[],"special_tokens":{"X":{"ids":[77]}}}`), "there is no token 77"},
		"sequence":       {with(`"post_processor":{"type":"TemplateProcessing","single":[{"Sequence":{"id":"C","type_id":0}}],"pair":[],"special_tokens":{}}`), "neither a special token nor the sequence A or B"},
		"bert id":        {with(`"post_processor":{"type":"BertProcessing","sep":["x",9],"cls":["a",0]}`), "there is no token 9"},
		"decoder":        {with(`"decoder":{"type":"CTC"}`), `decoder: "CTC" is not supported`},
	} {
		v, err := FromJSON([]byte(c.file), nil)
		if err == nil {
			t.Errorf("%s: was read as %s", name, v.Kind())
		} else if !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "tokenizer.json: ") {
			t.Errorf("%s: %v; want %q", name, err, c.want)
		}
	}
}

// TestConfig reads the tokens that begin and end a text from tokenizer_config.json.
func TestConfig(t *testing.T) {
	const file = `{"model":{"type":"BPE","vocab":{"a":0},"merges":[]},"added_tokens":[{"id":1,"content":"<s>","special":true},
		{"id":2,"content":"</s>","special":true},{"id":3,"content":"<|im_end|>","special":true},{"id":4,"content":"<|end|>","special":false}]}`
	v, err := FromJSON([]byte(file), []byte(`{"bos_token":"<s>","eos_token":{"content":"</s>"},"pad_token":null,"unk_token":"none"}`))
	if err != nil {
		t.Fatal(err)
	}
	bos, _ := v.BOS()
	eos, _ := v.EOS()
	if _, ok := v.Pad(); bos != 1 || eos != 2 || ok || !v.IsEnd(2) || !v.IsEnd(3) || v.IsEnd(4) || v.IsSpecial(4) || !v.IsSpecial(1) {
		t.Errorf("BOS %d, EOS %d, ends %v", bos, eos, v.Ends())
	}
	if _, err := FromJSON([]byte(file), []byte(`{"bos_token":7}`)); err == nil || !strings.Contains(err.Error(), "tokenizer_config.json: bos_token") {
		t.Errorf("%v", err)
	}
}
