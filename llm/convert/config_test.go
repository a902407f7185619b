package convert

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"serval/internal/testkit"
	"serval/llm/safetensors"
)

// TestPublished reads config.json files of models that people have, in the words of the version of transformers that wrote them.
func TestPublished(t *testing.T) {
	gemma3 := `"architectures": ["Gemma3ForCausalLM"], "attention_bias": false, "attention_dropout": 0.0, "attn_logit_softcapping": null, "bos_token_id": 2,
		"cache_implementation": "hybrid", "eos_token_id": [1, 106], "final_logit_softcapping": null, "head_dim": 256, "hidden_activation": "gelu_pytorch_tanh",
		"initializer_range": 0.02, "max_position_embeddings": 32768, "model_type": "gemma3_text", "num_attention_heads": 4, "num_key_value_heads": 1,
		"pad_token_id": 0, "query_pre_attn_scalar": 256, "rms_norm_eps": 1e-06, "rope_local_base_freq": 10000, "rope_scaling": null, "rope_theta": 1000000,
		"sliding_window": 512, "sliding_window_pattern": 6, "torch_dtype": "bfloat16", "transformers_version": "4.50.0.dev0", "use_cache": true, "vocab_size": 262144`
	for name, c := range map[string]struct{ config, want string }{
		"SmolLM2-135M": {`"architectures": ["LlamaForCausalLM"], "attention_bias": false, "attention_dropout": 0.0, "bos_token_id": 1, "eos_token_id": 2, "hidden_act": "silu",
			"hidden_size": 576, "initializer_range": 0.041666666666666664, "intermediate_size": 1536, "is_llama_config": true, "max_position_embeddings": 8192,
			"mlp_bias": false, "model_type": "llama", "num_attention_heads": 9, "num_hidden_layers": 30, "num_key_value_heads": 3, "pad_token_id": 2, "pretraining_tp": 1,
			"rms_norm_eps": 1e-05, "rope_interleaved": false, "rope_scaling": null, "rope_theta": 100000, "tie_word_embeddings": true, "torch_dtype": "bfloat16",
			"transformers.js_config": {"kv_cache_dtype": {"q4f16": "float16"}}, "transformers_version": "4.42.3", "use_cache": true, "vocab_size": 49152`,
			"block_count 30, head_count 9, head_count_kv 3, key_length 64, context_length 8192, freq_base 100000"},
		"Llama-3.2-1B": {`"architectures": ["LlamaForCausalLM"], "attention_bias": false, "attention_dropout": 0.0, "bos_token_id": 128000, "eos_token_id": [128001, 128008, 128009],
			"head_dim": 64, "hidden_act": "silu", "hidden_size": 2048, "initializer_range": 0.02, "intermediate_size": 8192, "max_position_embeddings": 131072, "mlp_bias": false,
			"model_type": "llama", "num_attention_heads": 32, "num_hidden_layers": 16, "num_key_value_heads": 8, "pretraining_tp": 1, "rms_norm_eps": 1e-05,
			"rope_scaling": {"factor": 32.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0, "original_max_position_embeddings": 8192, "rope_type": "llama3"},
			"rope_theta": 500000.0, "tie_word_embeddings": true, "torch_dtype": "bfloat16", "transformers_version": "4.45.0.dev0", "use_cache": true, "vocab_size": 128256`,
			"block_count 16, head_count 32, head_count_kv 8, key_length 64, context_length 131072, freq_base 500000"},
		"Mistral-7B-v0.1": {`"architectures": ["MistralForCausalLM"], "bos_token_id": 1, "eos_token_id": 2, "hidden_act": "silu", "hidden_size": 4096, "initializer_range": 0.02,
			"intermediate_size": 14336, "max_position_embeddings": 32768, "model_type": "mistral", "num_attention_heads": 32, "num_hidden_layers": 32, "num_key_value_heads": 8,
			"rms_norm_eps": 1e-05, "rope_theta": 10000.0, "sliding_window": 4096, "tie_word_embeddings": false, "torch_dtype": "bfloat16", "transformers_version": "4.34.0.dev0",
			"use_cache": true, "vocab_size": 32000`, "block_count 32, head_count 32, head_count_kv 8, key_length 128, context_length 4096, freq_base 10000"},
		"Qwen2.5-0.5B": {`"architectures": ["Qwen2ForCausalLM"], "attention_dropout": 0.0, "bos_token_id": 151643, "eos_token_id": 151643, "hidden_act": "silu", "hidden_size": 896,
			"initializer_range": 0.02, "intermediate_size": 4864, "max_position_embeddings": 32768, "max_window_layers": 24, "model_type": "qwen2", "num_attention_heads": 14,
			"num_hidden_layers": 24, "num_key_value_heads": 2, "rms_norm_eps": 1e-06, "rope_theta": 1000000.0, "sliding_window": 32768, "tie_word_embeddings": true,
			"torch_dtype": "bfloat16", "transformers_version": "4.40.1", "use_cache": true, "use_mrope": false, "use_sliding_window": false, "vocab_size": 151936`,
			"block_count 24, head_count 14, head_count_kv 2, key_length 64, context_length 32768, freq_base 1000000"},
		"gemma-2-2b": {`"architectures": ["Gemma2ForCausalLM"], "attention_bias": false, "attention_dropout": 0.0, "attn_logit_softcapping": 50.0, "bos_token_id": 2,
			"cache_implementation": "hybrid", "eos_token_id": [1, 107], "final_logit_softcapping": 30.0, "head_dim": 256, "hidden_act": "gelu_pytorch_tanh",
			"hidden_activation": "gelu_pytorch_tanh", "hidden_size": 2304, "initializer_range": 0.02, "intermediate_size": 9216, "max_position_embeddings": 8192,
			"model_type": "gemma2", "num_attention_heads": 8, "num_hidden_layers": 26, "num_key_value_heads": 4, "pad_token_id": 0, "query_pre_attn_scalar": 256,
			"rms_norm_eps": 1e-06, "rope_theta": 10000.0, "sliding_window": 4096, "torch_dtype": "bfloat16", "transformers_version": "4.42.4", "use_cache": true, "vocab_size": 256000`,
			"block_count 26, head_count 8, head_count_kv 4, key_length 256, context_length 8192, freq_base 10000"},
		"gemma-3-1b": {gemma3 + `, "hidden_size": 1152, "intermediate_size": 6912, "num_hidden_layers": 26`,
			"block_count 26, head_count 4, head_count_kv 1, key_length 256, context_length 32768, freq_base 1000000"},
		"gemma-3-4b": {`"architectures": ["Gemma3ForConditionalGeneration"], "boi_token_index": 255999, "eoi_token_index": 256000, "eos_token_id": [1, 106], "image_token_index": 262144,
			"initializer_range": 0.02, "mm_tokens_per_image": 256, "model_type": "gemma3", "text_config": {"hidden_size": 2560, "intermediate_size": 10240, "model_type": "gemma3_text",
			"num_hidden_layers": 34, "rope_scaling": {"factor": 8.0, "rope_type": "linear"}, "sliding_window": 1024}, "torch_dtype": "bfloat16", "transformers_version": "4.50.0.dev0",
			"vision_config": {"hidden_size": 1152, "image_size": 896, "model_type": "siglip_vision_model"}`,
			"block_count 34, head_count 8, head_count_kv 4, key_length 256, context_length 131072, freq_base 1000000"},
		"bge-small-en-v1.5": {`"_name_or_path": "/root/.cache/torch/", "architectures": ["BertModel"], "attention_probs_dropout_prob": 0.1, "classifier_dropout": null, "gradient_checkpointing": false,
			"hidden_act": "gelu", "hidden_dropout_prob": 0.1, "hidden_size": 384, "id2label": {"0": "LABEL_0"}, "initializer_range": 0.02, "intermediate_size": 1536,
			"label2id": {"LABEL_0": 0}, "layer_norm_eps": 1e-12, "max_position_embeddings": 512, "model_type": "bert", "num_attention_heads": 12, "num_hidden_layers": 12,
			"pad_token_id": 0, "position_embedding_type": "absolute", "torch_dtype": "float32", "transformers_version": "4.30.0", "type_vocab_size": 2, "use_cache": true, "vocab_size": 30522`,
			"block_count 12, head_count 12, context_length 512"},
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte("{"+c.config+"}"), 0o644); err != nil {
			t.Fatal(err)
		}
		n, _, err := netOf(dir, nil)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		m := &Model{}
		m.describe(n, &words{tokens: []string{"a"}, types: []int32{normal}}, Options{Dir: dir})
		f, err := m.draft.Read()
		if err != nil {
			t.Fatal(err)
		}
		for want := range strings.SplitSeq(c.want, ", ") {
			key, value, _ := strings.Cut(want, " ")
			for _, group := range []string{"", "attention.", "rope."} {
				if got, ok := f.Text(n.arch + "." + group + key); ok && got != value && got != strings.Replace(value, "000000", "e+06", 1) {
					t.Errorf("%s: %s is %s, want %s", name, key, got, value)
				} else if ok {
					value = ""
					break
				}
			}
			if value != "" {
				t.Errorf("%s: no %s", name, key)
			}
		}
	}
}

// TestPictures converts the text part of a model that sees, by the names of its tensors in older and newer files.
func TestPictures(t *testing.T) {
	for what, rename := range map[string]func(string) string{
		"older": func(name string) string { return "language_model." + name },
		"newer": func(name string) string { return strings.Replace(name, "model.", "model.language_model.", 1) },
	} {
		dir, g := lay(t, "gemma3", 1)
		set, err := safetensors.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		list := contents(t, set)
		for i := range list {
			list[i].Name = rename(list[i].Name)
		}
		for _, name := range []string{"vision_tower.vision_model.head.bias", "model.multi_modal_projector.mm_soft_emb_norm.weight"} {
			list = append(list, testkit.SafeTensor{Name: name, DType: "F32", Shape: []int{1}, Data: make([]byte, 4)})
		}
		testkit.SafeTensors(t, filepath.Join(dir, "model.safetensors"), list)
		edit(t, filepath.Join(dir, "config.json"), func(m map[string]any) {
			inner := map[string]any{}
			for key, v := range m {
				inner[key] = v
				delete(m, key)
			}
			delete(inner, "architectures")
			m["architectures"], m["text_config"], m["vision_config"] = []string{"Gemma3ForConditionalGeneration"}, inner, map[string]int{"hidden_size": 8}
		})
		f := converted(t, dir, "F32")
		t.Run(what, func(t *testing.T) {
			tensors(t, f, "F32", g.Files["F32"])
			keys(t, f, "gemma3", g.Keys)
		})
	}
}

// contents are the tensors of a folder.
func contents(t *testing.T, set *safetensors.Set) []testkit.SafeTensor {
	t.Helper()
	defer set.Close()
	var list []testkit.SafeTensor
	for _, x := range set.Tensors {
		y := testkit.SafeTensor{Name: x.Name, DType: string(x.Type), Data: make([]byte, x.Size)}
		if _, err := set.Data(&x).ReadAt(y.Data, 0); err != nil {
			t.Fatal(err)
		}
		for _, d := range x.Shape {
			y.Shape = append(y.Shape, int(d))
		}
		list = append(list, y)
	}
	return list
}
