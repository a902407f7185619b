package gguf

import "fmt"

// Type is how a tensor's elements are stored: ggml's number for it.
type Type uint32

// The types of ggml, by its numbers.
const (
	F32    Type = 0
	F16    Type = 1
	Q4_0   Type = 2
	Q4_1   Type = 3
	Q5_0   Type = 6
	Q5_1   Type = 7
	Q8_0   Type = 8
	Q8_1   Type = 9
	Q2K    Type = 10
	Q3K    Type = 11
	Q4K    Type = 12
	Q5K    Type = 13
	Q6K    Type = 14
	Q8K    Type = 15
	IQ2XXS Type = 16
	IQ2XS  Type = 17
	IQ3XXS Type = 18
	IQ1S   Type = 19
	IQ4NL  Type = 20
	IQ3S   Type = 21
	IQ2S   Type = 22
	IQ4XS  Type = 23
	I8     Type = 24
	I16    Type = 25
	I32    Type = 26
	I64    Type = 27
	F64    Type = 28
	IQ1M   Type = 29
	BF16   Type = 30
	TQ1_0  Type = 34
	TQ2_0  Type = 35
	MXFP4  Type = 39
	NVFP4  Type = 40
	Q1_0   Type = 41
	Q2_0   Type = 42
)

// layout is a type's name and block: so many elements stand in so many bytes. A type without a block was taken out of ggml.
type layout struct {
	name     string
	elements int64
	bytes    int64
}

// layouts is indexed by Type; the numbers are what ggml_blck_size and ggml_type_size of llama.cpp v0.5.0 answer.
var layouts = [...]layout{
	F32: {"F32", 1, 4}, F16: {"F16", 1, 2},
	Q4_0: {"Q4_0", 32, 18}, Q4_1: {"Q4_1", 32, 20}, 4: {name: "Q4_2"}, 5: {name: "Q4_3"},
	Q5_0: {"Q5_0", 32, 22}, Q5_1: {"Q5_1", 32, 24}, Q8_0: {"Q8_0", 32, 34}, Q8_1: {"Q8_1", 32, 36},
	Q2K: {"Q2_K", 256, 84}, Q3K: {"Q3_K", 256, 110}, Q4K: {"Q4_K", 256, 144}, Q5K: {"Q5_K", 256, 176},
	Q6K: {"Q6_K", 256, 210}, Q8K: {"Q8_K", 256, 292},
	IQ2XXS: {"IQ2_XXS", 256, 66}, IQ2XS: {"IQ2_XS", 256, 74}, IQ3XXS: {"IQ3_XXS", 256, 98}, IQ1S: {"IQ1_S", 256, 50},
	IQ4NL: {"IQ4_NL", 32, 18}, IQ3S: {"IQ3_S", 256, 110}, IQ2S: {"IQ2_S", 256, 82}, IQ4XS: {"IQ4_XS", 256, 136},
	I8: {"I8", 1, 1}, I16: {"I16", 1, 2}, I32: {"I32", 1, 4}, I64: {"I64", 1, 8}, F64: {"F64", 1, 8},
	IQ1M: {"IQ1_M", 256, 56}, BF16: {"BF16", 1, 2},
	31: {name: "Q4_0_4_4"}, 32: {name: "Q4_0_4_8"}, 33: {name: "Q4_0_8_8"},
	TQ1_0: {"TQ1_0", 256, 54}, TQ2_0: {"TQ2_0", 256, 66},
	36: {name: "IQ4_NL_4_4"}, 37: {name: "IQ4_NL_4_8"}, 38: {name: "IQ4_NL_8_8"},
	MXFP4: {"MXFP4", 32, 17}, NVFP4: {"NVFP4", 64, 36}, Q1_0: {"Q1_0", 128, 18}, Q2_0: {"Q2_0", 64, 18},
}

// String is ggml's name for the type in upper case, as file names use it: "Q4_K".
func (t Type) String() string {
	if int64(t) < int64(len(layouts)) && layouts[t].name != "" {
		return layouts[t].name
	}
	return fmt.Sprintf("type %d", uint32(t))
}

// Block says that so many elements, neighbours in a row, are stored in so many bytes; 0, 0 for a type that this package does
// not know.
func (t Type) Block() (elements, bytes int64) {
	if int64(t) < int64(len(layouts)) {
		return layouts[t].elements, layouts[t].bytes
	}
	return 0, 0
}

// check says why tensors of the type cannot be read, or nil.
func (t Type) check() error {
	switch n, _ := t.Block(); {
	case n > 0:
		return nil
	case int64(t) < int64(len(layouts)):
		return fmt.Errorf("tensor type %s was taken out of ggml; convert the model anew, for example to Q4_0", t)
	}
	return fmt.Errorf("unknown tensor type %d; the file may come from a newer ggml or a fork of it", uint32(t))
}
