package quantize

import "serval/llm/gguf"

// Choose is the type that a tensor gets: its own, if the recipe is not for it. wanted is another where the tensor's rows did not
// allow it. layers are the model's; tied says that token_embd.weight makes the logits, too.
func (r *Recipe) Choose(t *gguf.Tensor, layers int, tied bool) (to, wanted gguf.Type) {
	if !matrix(t) {
		return t.Type, t.Type
	}
	wanted = r.of(t.Name, layers, tied)
	return fitting(wanted, t.Shape[0]), wanted
}

// FileType is general.file_type of a file of the recipe.
func (r *Recipe) FileType() uint32 { return r.number }
