// Package convert makes a GGUF file of a model's folder as Hugging Face's libraries save it: config.json, model.safetensors or
// its shards, tokenizer.json or tokenizer.model, and the small files beside them.
//
// Called by cmd/serval (model convert). It imports the root, llm/gguf, llm/safetensors, llm/vocab and llm/quantize.
//
// What comes out has the keys and, for F32, F16 and BF16, bit for bit the tensors that llama.cpp's convert_hf_to_gguf.py (v0.5.0)
// writes; docs/decisions/0020 says where not, and why. A folder is outside bytes: files are bounded, what would change the net and
// is not known is an error that names the key or the tensor, and the tokens that the written vocabulary makes of a sample are
// compared with those of the folder's own tokenizer before anything is written.
//
// Where to look: convert.go is the API; config.go reads config.json, and family.go says what each architecture makes of it;
// tensor.go lists the tensors and write.go turns them; vocab.go makes the vocabulary, of bytepair.go, spm.go, wordpiece.go or
// unigram.go; special.go finds the special tokens, chat.go the chat template, pooling.go how vectors are made; pre.go names the
// way to cut text; sentencepiece.go reads tokenizer.model; check.go tries what came out.
package convert
