// Package llm is the folder of what every engine of language models shares, below the tasks and above no engine:
//
//	gguf         reads and writes the header, the metadata and the tensor directory of GGUF files
//	safetensors  reads the headers of Hugging Face's files of tensors
//	convert      makes a GGUF file of a folder of those
//	vocab        text ↔ token ids, from a GGUF file or a tokenizer.json
//	template     a model's chat template
//	grammar      what a constrained answer may go on with
//	sample       the next token from logits
//	decode       an answer on its way: what engines do with logits, and guesses at what comes next
//
// Called by task/…, engine/llama and engine/gguf. Its packages import the root and each other, and no C library: tokenizing,
// templating and sampling happen on the caller's goroutine, before and beside the engine's queue.
package llm
