// Package gguf reads GGUF files, versions 2 and 3, little endian: the header, the metadata and the tensor directory, also of
// a model that is split over several files. It does not touch the tensors' data beyond checking that the file holds it. A
// Draft is a file that is to be written, version 3, in one part; Save writes it.
//
// Called by llm/vocab, llm/quantize, engine/llama, engine/gguf and the commands that describe or write a model. It imports the
// standard library only.
//
// A file is outside bytes. Every count and length is checked against what the file still holds before memory is taken for it,
// the header is bounded (maxHeader), and each error says at which byte of which file it arose. The format is described in
// ggml's docs/gguf.md; where that and llama.cpp's reader (ggml/src/gguf.cpp) differ, what llama.cpp reads is read.
package gguf
