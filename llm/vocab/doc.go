// Package vocab turns text into a model's token ids and back, as the model was trained to have it: exactly, or it refuses to
// load. It reads a GGUF file's tokenizer (FromGGUF) and Hugging Face's tokenizer.json (FromJSON).
//
// Called by task/… before a request is queued, by engines, and by the commands that describe a model. It imports llm/gguf and
// golang.org/x/text/unicode/norm.
//
// What is equal to what. A GGUF vocabulary tokenizes as llama.cpp v0.5.0 does (src/llama-vocab.cpp, src/unicode.cpp), also where
// that is not what the model's own tokenizer does; with one exception, BERT, whose text is normalized as Hugging Face does, since
// llama.cpp loses most of Korean and many marks. A tokenizer.json tokenizes as Hugging Face's tokenizers 0.23 does. Both are
// compared with the library itself: by golden answers, and live where the library is in the cache (go test -thorough for all).
// Known to differ: letters whose case Unicode 16 and 17 added, and the order of marks in runs of more than 30 under NFC and NFKC.
// Text that is not UTF-8 is read as if each byte that is not part of a valid character were U+FFFD. Nothing is ever cut to a length.
//
// Where to look: vocabulary.go is the API; gguf.go and gguf_special.go read a GGUF file, json*.go a tokenizer.json; special.go
// finds the names of special tokens in text; class.go, rule.go and pre*.go cut text into words, by scanners that are written
// by hand because the regular expressions of the field look ahead, which Go's do not; bpe.go, spm.go, wordpiece.go and
// unigram.go are the four algorithms, all at most O(n log n).
//
// A Vocabulary is made once for a model, does not change, and is safe for concurrent use. What it holds: about 40 bytes for a
// token beside its text, 16 for a merge, and a cache of words of at most 16,384 entries.
package vocab
