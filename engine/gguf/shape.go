package gguf

import (
	"fmt"
	"math"
	"strings"

	"serval"
	"serval/engine/gguf/kernel"
	"serval/llm/gguf"
)

// shape is what a header says of a model's net, checked: with it every tensor's size is known.
type shape struct {
	file    string
	arch    string
	layers  int
	width   int // of the residual stream
	inner   int // of the feed-forward layers
	heads   int
	kvHeads int
	head    int // values of one head
	vocab   int
	trained int // context; 0: not said
	eps     float32
	scale   float32 // of the scores of attention
	rope    rope
	tied    bool    // the output is the token embedding
	packed  int64   // bytes of the weights as the kernels want them
	window  int     // cells that a row of a local layer sees, with its own; 0: all
	near    rope    // of the local layers, where it is not rope
	cap     float32 // of the scores of attention; 0: none
	outCap  float32 // of the logits; 0: none
	traits
}

// traits are what an architecture has beside llama's net.
type traits struct {
	biases    bool // of queries, keys and values
	headNorms bool // each head of queries and keys is normed before it is turned
	halves    bool // rope turns the i-th value with the one half of a head further, not with its neighbour
	factors   bool // a tensor may divide rope's frequencies
	gemma     bool // embeddings times √width, GELU, and what a layer adds is normed before it is added
	period    int  // every so many-th layer sees all cells, the others are local; 0: all see all
	nearBase  float64
	wide      int     // layers of the model whose scores are scaled by its width; 0: none
	capped    float64 // the cap of scores, and
	outCapped float64 // of logits, where the file does not say
}

// traitsOf are the traits of an architecture; false if it is not known.
func traitsOf(arch string) (traits, bool) {
	switch arch {
	case "llama":
		return traits{factors: true}, true
	case "qwen2":
		return traits{halves: true, biases: true}, true
	case "qwen3":
		return traits{halves: true, headNorms: true}, true
	case "gemma2":
		return traits{halves: true, gemma: true, period: 2, wide: 46, capped: 50, outCapped: 30}, true
	case "gemma3":
		return traits{halves: true, headNorms: true, gemma: true, period: 6, nearBase: 10000, wide: 62}, true
	}
	return traits{}, false
}

// Limits on what a header may say. They bound sums, not memory: the tensors, which the file holds, do that.
const (
	maxLayers  = 1 << 10
	maxWidth   = 1 << 17
	maxVocab   = 1 << 22
	maxContext = 1 << 24
)

// declined is the refusal of a model that this engine does not know.
func declined(path, format string, args ...any) error {
	return serval.Errorf(serval.Unimplemented, "%s: engine gguf does not take it: %s; use engine: llama", path, fmt.Sprintf(format, args...)).At("engine")
}

// header reads what a file says of its architecture's net, remembers which keys it was asked for, and keeps the first error.
type header struct {
	f    *gguf.File
	read map[string]bool
	err  error
}

// key is the whole name of an architecture's key, which is read.
func (h *header) key(name string) string {
	name = h.f.Architecture() + "." + name
	h.read[name] = true
	return name
}

// said tells whether the file has the architecture's key.
func (h *header) said(name string) bool {
	_, _, ok := h.f.Kind(h.key(name))
	return ok
}

func (h *header) decline(format string, args ...any) {
	if h.err == nil {
		h.err = declined(h.f.Paths[0], format, args...)
	}
}

// number is the whole number at the architecture's key, between 1 and most; otherwise 0 makes it required.
func (h *header) number(key string, otherwise, most int) int {
	key = h.key(key)
	if _, array, ok := h.f.Kind(key); !ok && otherwise > 0 {
		return otherwise
	} else if ok && array {
		h.decline("%s differs from layer to layer", key)
		return 1
	}
	n, ok := h.f.Int(key)
	if !ok || n < 1 || n > int64(most) {
		text, _ := h.f.Text(key)
		if h.err == nil {
			h.err = serval.Errorf(serval.InvalidArgument, "%s: %s is %q; it must be a number from 1 to %d", h.f.Paths[0], key, text, most)
		}
		return 1
	}
	return int(n)
}

// real is the number at the architecture's key.
func (h *header) real(key string, otherwise float64) float64 {
	key = h.key(key)
	v, ok := h.f.Float(key)
	if _, array, _ := h.f.Kind(key); array {
		h.decline("%s differs from layer to layer", key)
	}
	if !ok {
		return otherwise
	}
	if math.IsNaN(v) || math.IsInf(v, 0) || v < 0 || v > 1e12 {
		if h.err == nil {
			h.err = serval.Errorf(serval.InvalidArgument, "%s: %s is %g", h.f.Paths[0], key, v)
		}
		return otherwise
	}
	return v
}

// headerOf begins to read a file's header.
func headerOf(f *gguf.File) (*header, error) {
	if kind, ok := f.String("general.type"); ok && kind != "model" {
		return nil, serval.Errorf(serval.InvalidArgument, "%s: it holds a %s, not a model", f.Paths[0], kind)
	}
	return &header{f: f, read: map[string]bool{}}, nil
}

// sizes reads how large the net is.
func (x *shape) sizes(h *header) {
	x.layers = h.number("block_count", 0, maxLayers)
	x.width = h.number("embedding_length", 0, maxWidth)
	x.inner = h.number("feed_forward_length", 0, maxWidth)
	x.heads = h.number("attention.head_count", 0, maxWidth)
	x.kvHeads = h.number("attention.head_count_kv", x.heads, maxWidth)
	x.head = h.number("attention.key_length", max(x.width/x.heads, 1), maxWidth)
	if v := h.number("attention.value_length", x.head, maxWidth); v != x.head {
		h.decline("its keys have %d values a head, and its values %d", x.head, v)
	}
	if x.heads%x.kvHeads != 0 {
		h.decline("%d heads of attention cannot share %d heads of keys", x.heads, x.kvHeads)
	}
	if x.head%32 != 0 {
		h.decline("a head has %d values, which is no multiple of 32", x.head)
	}
	if x.width%32 != 0 || x.inner%32 != 0 {
		h.decline("its widths are %d and %d, which are no multiples of 32", x.width, x.inner)
	}
	x.trained = h.number("context_length", maxContext, maxContext)
	if !h.said("context_length") {
		x.trained = 0
	}
}

// shapeOf reads the header of a model that makes text. It declines what the engine does not know, and refuses what cannot be.
func shapeOf(f *gguf.File) (*shape, error) {
	h, err := headerOf(f)
	if err != nil {
		return nil, err
	}
	path := f.Paths[0]
	x := &shape{file: path, arch: f.Architecture()}
	known := false
	if x.traits, known = traitsOf(x.arch); !known {
		return nil, declined(path, "its architecture is %q, and only llama, qwen2, qwen3, gemma2, gemma3, bert and nomic-bert are known", x.arch)
	}
	x.sizes(h)
	x.eps = float32(h.real("attention.layer_norm_rms_epsilon", 0))
	if x.eps <= 0 {
		h.decline("it has no attention.layer_norm_rms_epsilon")
	}
	x.scale = float32(h.real("attention.scale", 0))
	if x.scale == 0 {
		x.scale = float32(1 / math.Sqrt(float64(x.head)))
		if x.wide > 0 && x.layers == x.wide {
			x.scale = float32(1 / math.Sqrt(float64(x.width/x.heads)))
		}
	}
	if x.gemma {
		x.windows(h)
	} else {
		for _, key := range []string{"attention.sliding_window", "attn_logit_softcapping", "final_logit_softcapping"} {
			if v := h.real(key, 0); v != 0 {
				h.decline("it has %s.%s", x.arch, key)
			}
		}
	}
	if causal, said := f.Bool(h.key("attention.causal")); said && !causal {
		h.decline("it makes vectors, not text")
	}
	if kind := h.real("pooling_type", 0); kind != 0 && kind != 3 {
		h.decline("its %s.pooling_type is %g, and not that of its last token", x.arch, kind)
	}
	x.rope.read(h, x)
	if x.window > 0 && x.nearBase > 0 {
		x.near = x.rope.unscaled(x.nearBase)
	}
	h.strange()
	if h.err != nil {
		return nil, h.err
	}
	return x, x.tensors(f)
}

// strange declines a model whose file says something of its net that nobody has read by now, unless it is zero or false, or
// changes nothing: it is another net.
func (h *header) strange() {
	for _, name := range []string{"vocab_size", "tensor_data_layout", "attention.layer_norm_epsilon", "rope.scaling.original_context_length", "rope.scaling.finetuned"} {
		h.key(name)
	}
	for _, key := range h.f.Keys() {
		if !strings.HasPrefix(key, h.f.Architecture()+".") || h.read[key] {
			continue
		}
		n, number := h.f.Float(key)
		is, truth := h.f.Bool(key)
		if !(number && n == 0 || truth && !is) {
			h.decline("it does not know %s", key)
		}
	}
}

// windows reads which cells are seen, and the caps.
func (x *shape) windows(h *header) {
	said := 0
	if x.capped > 0 {
		said = 4096
	}
	if h.said("attention.sliding_window") || said > 0 {
		x.window = h.number("attention.sliding_window", said, maxContext)
	}
	if n := h.number("attention.sliding_window_pattern", x.period, maxLayers); n != x.period {
		h.decline("every %d-th of its layers sees all, not every %d-th", n, x.period)
	}
	if base := h.real("rope.freq_base_swa", 0); base > 0 && base != x.nearBase {
		h.decline("its rope.freq_base_swa is %g", base)
	}
	x.cap, x.outCap = float32(h.real("attn_logit_softcapping", x.capped)), float32(h.real("final_logit_softcapping", x.outCapped))
	if x.cap > 0 != (x.capped > 0) {
		h.decline("its attn_logit_softcapping is %g", x.cap)
	}
}

// sees is how many cells a layer's rows see; 0: all.
func (x *shape) sees(layer int) int {
	if x.period > 0 && layer%x.period < x.period-1 {
		return x.window
	}
	return 0
}

// tensors checks that the file has the net's tensors, in these shapes, and no others.
func (x *shape) tensors(f *gguf.File) error {
	embed := f.Tensor(embedName)
	if embed == nil || len(embed.Shape) != 2 || embed.Shape[0] != int64(x.width) || embed.Shape[1] < 1 || embed.Shape[1] > maxVocab {
		return serval.Errorf(serval.InvalidArgument, "%s: it has no tensor %s of %d columns", x.file, embedName, x.width)
	}
	x.vocab = int(embed.Shape[1])
	x.tied = f.Tensor(outName) == nil
	return x.fits(f, x.each, func(name string) bool {
		return name == freqsName && x.factors || strings.HasSuffix(name, ".attn_rot_embd")
	})
}

// fits checks that the file has the tensors that each calls its function for, in these shapes, and beside them only such as others
// allows. It adds up what the matrices take.
func (x *shape) fits(f *gguf.File, each func(func(name string, cols, rows int)), others func(name string) bool) error {
	byName := make(map[string]*gguf.Tensor, len(f.Tensors))
	for i := range f.Tensors {
		byName[f.Tensors[i].Name] = &f.Tensors[i]
	}
	want := map[string][2]int{}
	each(func(name string, cols, rows int) { want[name] = [2]int{cols, rows} })
	for name, size := range want {
		t := byName[name]
		if t == nil {
			return serval.Errorf(serval.InvalidArgument, "%s: it has no tensor %s", x.file, name)
		}
		if rows := t.Elements() / t.Shape[0]; t.Shape[0] != int64(size[0]) || rows != int64(size[1]) {
			return serval.Errorf(serval.InvalidArgument, "%s: tensor %s has the shape %v; by its header it has %d columns and %d rows", x.file, name, t.Shape, size[0], size[1])
		}
		matrix := size[1] > 1
		bytes, packs := kernel.PackedSize(t.Type, size[1], size[0])
		if matrix && !packs || !matrix && t.Type != gguf.F32 && t.Type != gguf.F16 {
			return declined(x.file, "tensor %s is of type %s", name, t.Type)
		}
		if matrix && (name != embedName || x.tied) { // else its rows are read from the file
			x.packed += int64(bytes)
		}
	}
	for name := range byName {
		if _, known := want[name]; !known && !others(name) {
			return declined(x.file, "it does not know the tensor %s", name)
		}
	}
	return nil
}

// The tensors outside the layers.
const (
	embedName   = "token_embd.weight"
	outNormName = "output_norm.weight"
	outName     = "output.weight"
	freqsName   = "rope_freqs.weight"
)

func layerName(i int, name string) string { return fmt.Sprintf("blk.%d.%s.weight", i, name) }

func biasName(i int, name string) string { return fmt.Sprintf("blk.%d.%s.bias", i, name) }

// each calls f for each tensor that the net needs.
func (x *shape) each(f func(name string, cols, rows int)) {
	f(embedName, x.width, x.vocab)
	f(outNormName, x.width, 1)
	if !x.tied {
		f(outName, x.width, x.vocab)
	}
	for i := range x.layers {
		of := func(name string) string { return layerName(i, name) }
		f(of("attn_norm"), x.width, 1)
		f(of("attn_q"), x.width, x.heads*x.head)
		f(of("attn_k"), x.width, x.kvHeads*x.head)
		f(of("attn_v"), x.width, x.kvHeads*x.head)
		if x.biases {
			f(biasName(i, "attn_q"), x.heads*x.head, 1)
			f(biasName(i, "attn_k"), x.kvHeads*x.head, 1)
			f(biasName(i, "attn_v"), x.kvHeads*x.head, 1)
		}
		if x.headNorms {
			f(of("attn_q_norm"), x.head, 1)
			f(of("attn_k_norm"), x.head, 1)
		}
		f(of("attn_output"), x.heads*x.head, x.width)
		f(of("ffn_norm"), x.width, 1)
		if x.gemma {
			f(of("post_attention_norm"), x.width, 1)
			f(of("post_ffw_norm"), x.width, 1)
		}
		f(of("ffn_gate"), x.width, x.inner)
		f(of("ffn_up"), x.width, x.inner)
		f(of("ffn_down"), x.inner, x.width)
	}
}

// cellBytes is what a token takes in the cache.
func (x *shape) cellBytes(s kernel.Store) int64 {
	return int64(x.layers) * int64(x.kvHeads) * 2 * int64(s.Bytes(x.head))
}
