// Package quantize writes a GGUF model's weights in fewer bits. [Encode] turns rows of float32 into the blocks of a type; a
// [Recipe] says which tensor gets which type; a [Job] reads a model, applies a recipe and writes the new file.
//
// Called by server for `serval model quantize` and `serval model tune`. It imports llm/gguf and the standard library only: what
// decodes a source that is quantised already is handed to it (Options.Decode).
//
// The layouts of blocks are those of ggml-common.h. How scales are found is in fit.go and super.go: least squares, by turns over
// scales and integers, from several beginnings. No calibration data is used.
package quantize
