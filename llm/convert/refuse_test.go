package convert

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"serval"
	"serval/internal/testkit"
	"serval/llm/gguf"
	"serval/llm/quantize"
	"serval/llm/safetensors"
)

// refused opens a folder, which must fail as a mistake of the folder's.
func refused(t *testing.T, what, dir, want string) {
	t.Helper()
	m, err := Open(Options{Dir: dir})
	if err == nil {
		m.Close()
	}
	var e *serval.Error
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%s: %v; want %q", what, err, want)
	} else if !errors.As(err, &e) || e.Code != serval.InvalidArgument {
		t.Errorf("%s: %v is no invalid argument", what, err)
	}
}

// TestConfig changes one key of config.json at a time.
func TestConfig(t *testing.T) {
	type change struct {
		model, key string
		value      any
		want       string // "": it is converted
	}
	for _, c := range []change{
		{"llama", "hidden_act", "relu", `hidden_act is "relu", and the net is converted with silu only`},
		{"llama", "architectures", []string{"MambaForCausalLM"}, `"MambaForCausalLM", which is not converted; these are: LlamaForCausalLM`},
		{"llama", "architectures", []string{}, "architectures must have one name"},
		{"llama", "architectures", "LlamaForCausalLM", "architectures is \"LlamaForCausalLM\", which cannot be"},
		{"llama", "num_hidden_layers", 0, "num_hidden_layers is 0; it must be a number from 1"},
		{"llama", "num_hidden_layers", 4000, "more than the 1024 allowed"},
		{"llama", "num_hidden_layers", nil, "num_hidden_layers is missing"},
		{"llama", "num_hidden_layers", 3, "have no tensor model.layers.2."},
		{"llama", "num_hidden_layers", 1, "is none of llama's"},
		{"llama", "vocab_size", 1 << 23, "more than the 4194304 allowed"},
		{"llama", "vocab_size", 400, "has the shape [363 64]; by config.json it is [400 64]"},
		{"llama", "num_key_value_heads", 3, "which 4 heads of 32 values cannot share"},
		{"llama", "rms_norm_eps", -1, "rms_norm_eps is -1; it must be a positive number"},
		{"llama", "rms_norm_eps", "small", `rms_norm_eps is "small", which cannot be`},
		{"llama", "mlp_bias", true, "mlp_bias is true, and biases of the feed-forward layers are not converted"},
		{"llama", "attention_bias", true, "have no tensor model.layers.0.self_attn.q_proj.bias"},
		{"llama", "quantization_config", map[string]any{"quant_method": "gptq"}, "quantised already"},
		{"llama", "residual_multiplier", 0.22, "residual_multiplier is 0.22, which may change the net and is not known; if it does not, say so with --ignore residual_multiplier"},
		{"llama", "use_magic", false, "use_magic is false, which may change the net"},
		{"llama", "use_magic", nil, ""},
		{"llama", "rope_parameters", map[string]any{"rope_type": "yarn", "factor": 4}, `rope_parameters.rope_type is "yarn", which is not converted for llama`},
		{"llama", "rope_parameters", map[string]any{"rope_type": "linear"}, "rope_parameters.factor is missing"},
		{"llama", "rope_parameters", map[string]any{"rope_type": "default", "mscale": 2}, "rope_parameters.mscale is 2, which may change the net"},
		{"llama", "rope_parameters", map[string]any{"rope_type": "llama3", "low_freq_factor": 4, "high_freq_factor": 4}, "it must be below high_freq_factor"},
		{"llama", "partial_rotary_factor", 0.5, "partial_rotary_factor is 0.5, and only 1 is known"},
		{"llama", "tie_word_embeddings", true, ""},             // the embedding does the head's work, whatever else is there
		{"qwen3", "architectures", []string{"Qwen3Model"}, ""}, // whose head, if it is there, is not its own
		{"smollm", "tie_word_embeddings", false, "have no tensor lm_head.weight"},
		{"qwen2", "layer_types", []string{"full_attention"}, "layer_types has 1 entries for 2 layers"},
		{"qwen2", "layer_types", []string{"full_attention", "linear_attention"}, `layer_types has a "linear_attention", which is not known`},
		{"qwen3", "rope_parameters", map[string]any{"rope_type": "llama3", "rope_theta": 1e6}, `"llama3", which is not converted for qwen3`},
		{"qwen3", "attention_bias", true, "attention_bias is true"},
		{"gemma2", "layer_types", []string{"full_attention", "full_attention", "full_attention"}, "every 2-th layer is full_attention"},
		{"gemma2", "query_pre_attn_scalar", 64, "query_pre_attn_scalar is 64; gemma2 of this size is read with 32"},
		{"gemma2", "attn_logit_softcapping", nil, "attn_logit_softcapping is missing"},
		{"gemma2", "hidden_activation", "gelu", `hidden_activation is "gelu"`},
		{"gemma3", "_sliding_window_pattern", 4, "_sliding_window_pattern is 4, and only 6 is known"},
		{"gemma3", "attn_logit_softcapping", 50, "gemma3 has none"},
		{"gemma3", "use_bidirectional_attention", true, "use_bidirectional_attention is true"},
		{"gemma3", "rope_parameters", map[string]any{"full_attention": map[string]any{"rope_type": "default"}}, "must have full_attention and sliding_attention"},
		{"bert", "position_embedding_type", "relative_key", "position_embedding_type is \"relative_key\""},
		{"bert", "hidden_act", "gelu_new", "hidden_act is \"gelu_new\""},
		{"bert", "is_decoder", true, "is_decoder is true"},
		{"bert", "num_attention_heads", 3, "num_attention_heads is 3, for a width of 64"},
	} {
		dir, _ := lay(t, c.model, 1)
		edit(t, filepath.Join(dir, "config.json"), func(m map[string]any) { m[c.key] = c.value })
		if c.want != "" {
			refused(t, c.model+" "+c.key, dir, c.want)
		} else if m, err := Open(Options{Dir: dir}); err != nil {
			t.Errorf("%s %s: %v", c.model, c.key, err)
		} else {
			m.Close()
		}
	}
}

// TestIgnore names a key that need not be known.
func TestIgnore(t *testing.T) {
	dir, _ := lay(t, "llama", 1)
	edit(t, filepath.Join(dir, "config.json"), func(m map[string]any) { m["trained_on"] = "mars" })
	refused(t, "an unknown key", dir, "--ignore trained_on")
	m, err := Open(Options{Dir: dir, Ignore: []string{"trained_on"}})
	if err != nil {
		t.Fatal(err)
	}
	m.Close()
}

// TestWindow makes the context as long as a window for which the architecture has no place in GGUF.
func TestWindow(t *testing.T) {
	for name, change := range map[string]func(m map[string]any){
		"mistral": func(m map[string]any) { m["sliding_window"] = 100 },
		"qwen2": func(m map[string]any) {
			m["sliding_window"], m["use_sliding_window"], m["max_window_layers"] = 100, true, 1
			m["layer_types"] = []string{"full_attention", "sliding_attention"}
		},
		"qwen3": func(m map[string]any) {
			m["sliding_window"], m["use_sliding_window"], m["max_window_layers"] = 100, true, 1
			delete(m, "layer_types")
		},
	} {
		dir, _ := lay(t, name, 1)
		edit(t, filepath.Join(dir, "config.json"), change)
		m, err := Open(Options{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		f, err := m.draft.Read()
		if err != nil {
			t.Fatal(err)
		}
		if n, _ := f.Uint(m.Architecture + ".context_length"); n != 100 || len(m.Notes) != 1 || !strings.Contains(m.Notes[0], "the context is 100 tokens, not 512") {
			t.Errorf("%s: context %d, notes %q", name, n, m.Notes)
		}
		m.Close()
	}
}

// TestTokenizer changes one thing of the tokenizer's files at a time.
func TestTokenizer(t *testing.T) {
	sub := func(m map[string]any, keys ...string) map[string]any {
		for _, k := range keys {
			m = m[k].(map[string]any)
		}
		return m
	}
	template := func(first, last string) map[string]any {
		slot := func(id string) map[string]any {
			return map[string]any{"SpecialToken": map[string]any{"id": id, "type_id": 0}}
		}
		single := []any{slot(first), map[string]any{"Sequence": map[string]any{"id": "A", "type_id": 0}}, slot(last), slot(last)}
		return map[string]any{"type": "TemplateProcessing", "single": single, "pair": []any{}, "special_tokens": map[string]any{}}
	}
	for what, c := range map[string]struct {
		model, want string
		change      func(m map[string]any)
	}{
		"an expression": {"llama", "GGUF has no name for this way to cut text", func(m map[string]any) {
			sub(m, "pre_tokenizer")["pretokenizers"].([]any)[0].(map[string]any)["pattern"] = map[string]string{"Regex": `\w+`}
		}},
		"ignore_merges": {"llama", "", func(m map[string]any) { sub(m, "model")["ignore_merges"] = false }},
		"a prefix": {"smollm", "add_prefix_space", func(m map[string]any) {
			sub(m, "pre_tokenizer")["pretokenizers"].([]any)[1].(map[string]any)["add_prefix_space"] = true
		}},
		"lower case":      {"smollm", `normalizer: "Lowercase" has no place`, func(m map[string]any) { m["normalizer"] = map[string]any{"type": "Lowercase"} }},
		"dropout":         {"smollm", "dropout is 0.1", func(m map[string]any) { sub(m, "model")["dropout"] = 0.1 }},
		"another model":   {"smollm", `model: "WordLevel" is not converted`, func(m map[string]any) { sub(m, "model")["type"] = "WordLevel" }},
		"no type":         {"smollm", "is not converted", func(m map[string]any) { m["model"] = nil }},
		"two of one id":   {"smollm", "have the same id", func(m map[string]any) { sub(m, "model", "vocab")["xyz"] = 5 }},
		"too many tokens": {"smollm", "beyond the net's 384 rows", func(m map[string]any) { sub(m, "model", "vocab")["xyz"] = 5000 }},
		"negative":        {"smollm", "beyond the net's 384 rows", func(m map[string]any) { sub(m, "model", "vocab")["xyz"] = -1 }},
		"a merge":         {"smollm", "which are not all in the vocabulary", func(m map[string]any) { sub(m, "model")["merges"] = [][2]string{{"a", "qqq"}} }},
		"nested": {"smollm", "more steps than any tokenizer has", func(m map[string]any) {
			for range 9 {
				m["pre_tokenizer"] = map[string]any{"type": "Sequence", "pretokenizers": []any{m["pre_tokenizer"]}}
			}
		}},
		"a template":     {"llama", "one token before a text and one behind it", func(m map[string]any) { m["post_processor"] = template("<|begin_of_text|>", "<|end_of_text|>") }},
		"a post step":    {"llama", `post_processor: "Magic" is not converted`, func(m map[string]any) { m["post_processor"] = map[string]any{"type": "Magic"} }},
		"no bytes":       {"mistral", "byte_fallback has no place", func(m map[string]any) { sub(m, "model")["byte_fallback"] = false }},
		"another space":  {"mistral", "has no place in GGUF with SentencePiece", func(m map[string]any) { m["normalizer"] = map[string]any{"type": "Prepend", "prepend": "_"} }},
		"no spaces":      {"mistral", "spaces are not written as ▁", func(m map[string]any) { m["normalizer"] = nil }},
		"fewer merges":   {"mistral", "GGUF has no place for all that this tokenizer does", func(m map[string]any) { sub(m, "model")["merges"] = sub(m, "model")["merges"].([]any)[:10] }},
		"its own prefix": {"bert", "continuing_subword_prefix is \"@@\"", func(m map[string]any) { sub(m, "model")["continuing_subword_prefix"] = "@@" }},
		"chinese":        {"bert", "handle_chinese_chars has no place", func(m map[string]any) { sub(m, "normalizer")["handle_chinese_chars"] = false }},
		"no normalizer":  {"bert", "BertNormalizer only", func(m map[string]any) { m["normalizer"] = nil }},
		"its own cut":    {"bert", "BertPreTokenizer only", func(m map[string]any) { m["pre_tokenizer"] = map[string]any{"type": "Whitespace"} }},
	} {
		dir, _ := lay(t, c.model, 1)
		edit(t, filepath.Join(dir, "tokenizer.json"), c.change)
		if c.want != "" {
			refused(t, what, dir, c.want)
		} else if m, err := Open(Options{Dir: dir}); err != nil {
			t.Errorf("%s: %v", what, err)
		} else {
			m.Close()
		}
	}
	dir, _ := lay(t, "llama", 1)
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("generation_config.json", `{"top_p": "most"}`)
	refused(t, "sampling", dir, `generation_config.json: top_p is "most", which cannot be`)
	write("generation_config.json", `{"temperature": -1}`)
	refused(t, "sampling", dir, "generation_config.json: temperature is -1, which cannot be")
	write("tokenizer.json", "{")
	refused(t, "half a file", dir, "tokenizer.json: unexpected end of JSON input")
	if err := os.Remove(filepath.Join(dir, "tokenizer.json")); err != nil {
		t.Fatal(err)
	}
	refused(t, "no tokenizer", dir, "neither tokenizer.json nor tokenizer.model")
	write("tokenizer.model", "version https://git-lfs.github.com/spec/v1\n")
	refused(t, "a pointer", dir, "tokenizer.model: it is no protocol buffer message of SentencePiece")
	refused(t, "no folder", filepath.Join(dir, "none"), "config.json: ")
}

// TestModules changes how vectors are pooled.
func TestModules(t *testing.T) {
	for pooling, want := range map[string]string{
		`{"pooling_mode_mean_tokens": true}`:                                   "1",
		`{"pooling_mode": "lasttoken"}`:                                        "3",
		`{"pooling_mode_max_tokens": true}`:                                    `it pools by "max"`,
		`{"pooling_mode_mean_tokens": true, "pooling_mode_cls_token": true}`:   `it pools by "cls + mean"`,
		`{"pooling_mode_mean_tokens": false, "pooling_mode_cls_token": false}`: `it pools by ""`,
	} {
		dir, _ := lay(t, "bert", 1)
		if err := os.WriteFile(filepath.Join(dir, "1_Pooling", "config.json"), []byte(pooling), 0o644); err != nil {
			t.Fatal(err)
		}
		if len(want) > 1 {
			refused(t, pooling, dir, want)
			continue
		}
		if got, _ := converted(t, dir, "").Text("bert.pooling_type"); got != want {
			t.Errorf("%s: %s, want %s", pooling, got, want)
		}
	}
	for modules, want := range map[string]string{
		`[{"path": "", "type": "sentence_transformers.models.Transformer"}, {"path": "2_Dense", "type": "sentence_transformers.models.Dense"}]`: "Dense",
		`[{"path": "../1_Pooling", "type": "sentence_transformers.models.Pooling"}]`:                                                            "no folder inside",
		`[{"path": "none", "type": "sentence_transformers.models.Pooling"}]`:                                                                    "none/config.json is missing",
	} {
		dir, _ := lay(t, "bert", 1)
		if err := os.WriteFile(filepath.Join(dir, "modules.json"), []byte(modules), 0o644); err != nil {
			t.Fatal(err)
		}
		refused(t, modules, dir, want)
	}
}

// TestTensors changes one tensor at a time.
func TestTensors(t *testing.T) {
	change := func(name string, edit func(list []testkit.SafeTensor) []testkit.SafeTensor) string {
		dir, _ := lay(t, name, 1)
		path := filepath.Join(dir, "model.safetensors")
		set, err := safetensors.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		testkit.SafeTensors(t, path, edit(contents(t, set)))
		return dir
	}
	at := func(list []testkit.SafeTensor, name string) *testkit.SafeTensor {
		for i := range list {
			if list[i].Name == name {
				return &list[i]
			}
		}
		t.Fatalf("no tensor %s", name)
		return nil
	}
	more := func(x testkit.SafeTensor) func([]testkit.SafeTensor) []testkit.SafeTensor {
		return func(list []testkit.SafeTensor) []testkit.SafeTensor { return append(list, x) }
	}
	refused(t, "a tensor more", change("llama", more(testkit.SafeTensor{Name: "model.layers.0.mlp.gate.weight", DType: "F32", Shape: []int{1}, Data: make([]byte, 4)})),
		"tensor model.layers.0.mlp.gate.weight is none of llama's")
	refused(t, "one by two names", change("llama", more(testkit.SafeTensor{Name: "norm.weight", DType: "F32", Shape: []int{64}, Data: make([]byte, 256)})), "is the same as")
	refused(t, "integers", change("llama", func(list []testkit.SafeTensor) []testkit.SafeTensor {
		at(list, "model.norm.weight").DType = "I32"
		return list
	}), "model.norm.weight is of type I32; F32, F16 and BF16 are converted")
	for _, skipped := range []string{"model.layers.0.self_attn.rotary_emb.inv_freq"} {
		converted(t, change("llama", more(testkit.SafeTensor{Name: skipped, DType: "F32", Shape: []int{16}, Data: make([]byte, 64)})), "")
	}
	converted(t, change("bert", func(list []testkit.SafeTensor) []testkit.SafeTensor {
		for i := range list { // as old checkpoints have them
			n := "bert." + list[i].Name
			n = strings.Replace(n, "LayerNorm.weight", "LayerNorm.gamma", 1)
			list[i].Name = strings.Replace(n, "LayerNorm.bias", "LayerNorm.beta", 1)
		}
		return append(list, testkit.SafeTensor{Name: "bert.embeddings.position_ids", DType: "I64", Shape: []int{1, 2}, Data: make([]byte, 16)},
			testkit.SafeTensor{Name: "cls.predictions.bias", DType: "F32", Shape: []int{1}, Data: make([]byte, 4)})
	}), "F16")
	converted(t, change("qwen2", func(list []testkit.SafeTensor) []testkit.SafeTensor { // of a class without a head
		for i := range list {
			list[i].Name = strings.TrimPrefix(list[i].Name, "model.")
		}
		return list
	}), "")

	for what, c := range map[string]struct {
		data []byte
		kind string
		want string
	}{
		"not a number":      {[]byte{0, 0, 0xc0, 0x7f}, "F32", "tensor model.layers.1.mlp.up_proj.weight, row 2, column 1 is NaN"},
		"too large for F16": {[]byte{0, 0, 0x80, 0x49}, "F16", "row 2, column 1 is 1.048576e+06, which F16 cannot hold"},
	} {
		dir := change("llama", func(list []testkit.SafeTensor) []testkit.SafeTensor {
			copy(at(list, "model.layers.1.mlp.up_proj.weight").Data[4*(2*64+1):], c.data)
			return list
		})
		r, err := quantize.Named(c.kind)
		if err != nil {
			t.Fatal(err)
		}
		m, err := Open(Options{Dir: dir, Recipe: &r})
		if err != nil {
			t.Fatal(err)
		}
		out := filepath.Join(t.TempDir(), "out.gguf")
		if err := m.Save(t.Context(), gguf.Saving{Path: out}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v; want %q", what, err, c.want)
		}
		m.Close()
		if left, err := os.ReadDir(filepath.Dir(out)); err != nil || len(left) > 0 {
			t.Errorf("%s: %v stayed behind", what, left)
		}
	}
}

// FuzzFolder opens folders whose small files are not what they should be: an error, or a model, but no crash.
func FuzzFolder(f *testing.F) {
	for _, name := range []string{"llama", "mistral", "gemma3", "bert"} {
		c, err := os.ReadFile(filepath.Join("testdata", name, "config.json"))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(c, []byte(`{"model":{"type":"BPE","vocab":{"a":0,"b":1,"ab":2},"merges":["a b"]},"pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false}}`), []byte(`{"bos_token":"a"}`))
		f.Add(c, []byte(`{"model":{"type":"Unigram","unk_id":0,"vocab":[["<unk>",0],["a",-1.5]]},"pre_tokenizer":{"type":"Metaspace"}}`), []byte(`{"chat_template":[{"name":"x","template":"y"}]}`))
		f.Add(c, []byte(`{"model":{"type":"WordPiece","vocab":{"a":0}},"pre_tokenizer":{"type":"BertPreTokenizer"},"normalizer":{"type":"BertNormalizer"},"added_tokens":[{"id":3,"content":"[CLS]","special":true}]}`), []byte(`{"cls_token":{"content":"[CLS]"}}`))
	}
	f.Fuzz(func(t *testing.T, c, tokens, settings []byte) {
		dir := t.TempDir()
		for name, b := range map[string][]byte{"config.json": c, "tokenizer.json": tokens, "tokenizer_config.json": settings} {
			if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		n, conf, err := netOf(dir, nil)
		if err != nil {
			n, conf = &net{arch: "llama"}, newConfig("", map[string]json.RawMessage{})
		} else {
			n.list()
		}
		n.vocab = 64
		x, err := readTexts(dir)
		if err != nil {
			return
		}
		w, err := wordsOf(dir, x, n)
		if err != nil {
			return
		}
		if w.specials(conf.raw, x, conf, conf) != nil || w.chat(dir, x) != nil {
			return
		}
		m := &Model{}
		m.describe(n, w, Options{Dir: dir})
		if file, err := m.draft.Read(); err == nil {
			_ = check(file, x) // an error is an answer
		}
	})
}

// FuzzSentencePiece reads what should be a tokenizer.model.
func FuzzSentencePiece(f *testing.F) {
	b, err := os.ReadFile(filepath.Join("testdata", "pieces", "tokenizer.model"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b[:300])
	f.Add([]byte("\x0a\x0a\x0a\x03\xe2\x96\x81\x15\x00\x00\x80\xbf\x18\x01\x12\x02\x18\x02"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if m, err := readSP(b); err == nil && (len(m.pieces) == 0 || len(m.pieces) > len(b)) {
			t.Fatalf("%d pieces of %d bytes", len(m.pieces), len(b))
		}
	})
}
