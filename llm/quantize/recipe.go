package quantize

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"serval/llm/gguf"
)

// Recipe says which tensors get which type. The names and what they mean are those that files of llama.cpp have.
type Recipe struct {
	Name string
	Base gguf.Type // of the matrices
	// Output is the type of the matrix that makes logits: output.weight, or token_embd.weight where that serves as both. Its errors
	// go into every token, unseen by later layers.
	Output gguf.Type
	// Better is the type of attn_v (attn_qkv) and ffn_down in the layers that Some tells: they suffer most.
	Better gguf.Type
	Some   func(down bool, layer, layers int) bool // nil: in none
	About  string
	number uint32 // general.file_type
}

// Recipes are all of them. Q4_K and Q5_K are other names of Q4_K_M and Q5_K_M.
func Recipes() []Recipe {
	flat := func(name string, t, output gguf.Type, number uint32, about string) Recipe {
		return Recipe{Name: name, Base: t, Output: output, Better: t, number: number, About: about}
	}
	return []Recipe{
		flat("F32", gguf.F32, gguf.F32, 0, "floats, not rounded"),
		flat("F16", gguf.F16, gguf.F16, 1, "16-bit floats"),
		flat("BF16", gguf.BF16, gguf.BF16, 32, "16-bit floats of less precision and the range of 32-bit ones"),
		flat("Q8_0", gguf.Q8_0, gguf.Q8_0, 7, "8 bits: nothing to be seen of it"),
		flat("Q6_K", gguf.Q6K, gguf.Q6K, 18, "6 bits"),
		{Name: "Q5_K_M", Base: gguf.Q5K, Output: gguf.Q6K, Better: gguf.Q6K, Some: many, number: 17, About: "5 bits, Q6_K for half of attn_v and ffn_down"},
		flat("Q5_K_S", gguf.Q5K, gguf.Q6K, 16, "5 bits"),
		flat("Q5_1", gguf.Q5_1, gguf.Q6K, 9, "5 bits, with a minimum a block"),
		flat("Q5_0", gguf.Q5_0, gguf.Q6K, 8, "5 bits"),
		{Name: "Q4_K_M", Base: gguf.Q4K, Output: gguf.Q6K, Better: gguf.Q6K, Some: many, number: 15, About: "4 bits, Q6_K for half of attn_v and ffn_down: what most people take"},
		{Name: "Q4_K_S", Base: gguf.Q4K, Output: gguf.Q6K, Better: gguf.Q5K, Some: first, number: 14, About: "4 bits, Q5_K for attn_v and ffn_down of the first layers"},
		flat("Q4_1", gguf.Q4_1, gguf.Q6K, 3, "4 bits, with a minimum a block"),
		flat("Q4_0", gguf.Q4_0, gguf.Q6K, 2, "4 bits"),
	}
}

// many are the first and the last eighth of the layers, and each third between.
func many(_ bool, layer, layers int) bool {
	return layer < layers/8 || layer >= 7*layers/8 || (layer-layers/8)%3 == 2
}

// first are the first four layers, of ffn_down the first eighth.
func first(down bool, layer, layers int) bool {
	if down {
		return layer < layers/8
	}
	return layer < 4
}

// Named finds a recipe by its name, in any case. The error says what there is.
func Named(name string) (Recipe, error) {
	upper := strings.ToUpper(name)
	if upper == "Q4_K" || upper == "Q5_K" {
		upper += "_M"
	}
	var all []string
	for _, r := range Recipes() {
		if r.Name == upper {
			return r, nil
		}
		all = append(all, r.Name)
	}
	return Recipe{}, fmt.Errorf("there is no type %q; there are %s", name, strings.Join(all, ", "))
}

// TypeName is what a file is said to be by its general.file_type, if a recipe of that number makes quantised files; else "".
func TypeName(f *gguf.File) string {
	number, ok := f.Uint("general.file_type")
	for _, r := range Recipes() {
		if ok && uint64(r.number) == number && bits(r.Base) < 16 {
			return r.Name
		}
	}
	return ""
}

// Pure is the recipe without exceptions.
func (r Recipe) Pure() Recipe {
	r.Output, r.Better, r.Some = r.Base, r.Base, nil
	return r
}

// of is the type that a matrix gets, if its rows allow it. tied says that token_embd.weight makes the logits too.
func (r *Recipe) of(name string, layers int, tied bool) gguf.Type {
	if name == "output.weight" || tied && name == "token_embd.weight" {
		return r.Output
	}
	layer, part := layerOf(name)
	down := part == "ffn_down.weight" || part == "ffn_down_exps.weight"
	if r.Some != nil && layer >= 0 && (down || part == "attn_v.weight" || part == "attn_qkv.weight" || part == "attn_kv_b.weight") && r.Some(down, layer, layers) {
		return r.Better
	}
	return r.Base
}

// layerOf takes "blk.7.attn_v.weight" apart; -1: it belongs to no layer.
func layerOf(name string) (layer int, part string) {
	rest, found := strings.CutPrefix(name, "blk.")
	number, part, dot := strings.Cut(rest, ".")
	layer, err := strconv.Atoi(number)
	if !found || !dot || err != nil || layer < 0 {
		return -1, name
	}
	return layer, part
}

// fitting is the type that stands in for t where rows of so many elements are no multiple of t's block, as in llama.cpp: one of
// blocks of 32 that is not worse, else f16.
func fitting(t gguf.Type, width int64) gguf.Type {
	fits := func(t gguf.Type) bool {
		n, _ := t.Block()
		return width%n == 0
	}
	if fits(t) {
		return t
	}
	switch t {
	case gguf.Q4K:
		t = gguf.Q5_0
	case gguf.Q5K:
		t = gguf.Q5_1
	case gguf.Q6K:
		t = gguf.Q8_0
	}
	if fits(t) {
		return t
	}
	return gguf.F16
}

// exempt are parts of the names of matrices that stay as they are: small ones, and ones that llama.cpp reads as floats.
var exempt = [...]string{"_norm.weight", "ffn_gate_inp", "ffn_gate_tid2eid", "position_embd", "token_types", "pos_embd", "rel_pos", "attn_rel_b", "patch_embd",
	"patch_merger", "ssm_conv1d", "shortconv.conv", "altup", "laurel", "per_layer_model_proj", "time_mix_", "indexer.", "codebook", "code_embd"}

// matrix tells whether a recipe is for the tensor: else it stays as it is.
func matrix(t *gguf.Tensor) bool {
	return t.Elements() > t.Shape[0] && strings.HasSuffix(t.Name, ".weight") &&
		!slices.ContainsFunc(exempt[:], func(part string) bool { return strings.Contains(t.Name, part) })
}

// Override gives the matrices that a pattern names a type of their own.
type Override struct {
	Pattern string // as path.Match has it: "blk.*.attn_v.weight"
	Type    gguf.Type
}

// ParseOverride reads PATTERN=TYPE.
func ParseOverride(s string) (Override, error) {
	pattern, name, found := strings.Cut(s, "=")
	if !found || pattern == "" {
		return Override{}, fmt.Errorf("%q: write NAME=TYPE, as in output.weight=Q8_0 or 'blk.*.ffn_down.weight=Q6_K'", s)
	}
	if _, err := path.Match(pattern, ""); err != nil {
		return Override{}, fmt.Errorf("%q: %w; * stands for any characters, ? for one, [ab] for one of these", s, err)
	}
	var all []string
	for _, t := range types {
		if strings.EqualFold(t.String(), name) {
			return Override{pattern, t}, nil
		}
		all = append(all, t.String())
	}
	return Override{}, fmt.Errorf("%q: there is no type %q; there are %s", s, name, strings.Join(all, ", "))
}
