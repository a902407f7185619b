// Package safetensors reads the headers of .safetensors files, also of a model that is split over several: names, types, shapes
// and places of tensors. It does not touch the tensors' data beyond checking that the files hold it.
//
// Called by llm/convert. It imports the standard library only.
//
// A file is outside bytes: a header has at most maxHeader bytes and maxTensors tensors, memory is taken as they are read, and an
// error names the file and the tensor. Read holds a file to the format's description (Hugging Face's README of safetensors): the
// tensors' data covers the file without holes or overlaps, names are there once, and nothing follows.
package safetensors
