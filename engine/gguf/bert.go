package gguf

import (
	"fmt"
	"math"
	"strings"

	"serval"
	"serval/engine/gguf/kernel"
	"serval/llm/gguf"
)

// bert is the shape of an encoder's net: it reads a whole text at once and makes vectors (Devlin et al., "BERT", 2018). Of shape it has
// the sizes, and rope where positions are turned and not learned.
type bert struct {
	shape
	learned bool            // positions are rows of a tensor
	gated   bool            // SwiGLU, not GELU
	types   int             // rows of the tensor that says which text of a pair a token is of; 0: there is none
	pooling string          // the model's own
	has     map[string]bool // the file's tensors, of which some may be left out
}

// The architectures of encoders.
const (
	plainBert = "bert"
	nomicBert = "nomic-bert" // Nussbaum et al., "Nomic Embed", 2024
)

func isBert(f *gguf.File) bool { return f.Architecture() == plainBert || f.Architecture() == nomicBert }

// poolings are the numbers of a header in words: how a text's vectors become one. 0 says that none is, in which case it is their mean.
var poolings = [...]string{"mean", "mean", "cls", "last", "rank"}

// The tensors of an encoder outside its layers.
const (
	positionName  = "position_embd.weight"
	typeName      = "token_types.weight"
	embedNormName = "token_embd_norm.weight"
	embedNormBias = "token_embd_norm.bias"
	denseName     = "cls.weight"
	denseBias     = "cls.bias"
	scoreName     = "cls.output.weight"
	scoreBias     = "cls.output.bias"
)

// maxTypes bounds the kinds of tokens, of which a pair of texts has two.
const maxTypes = 16

// bertOf reads the header of an encoder. It declines what the engine does not know, and refuses what cannot be.
func bertOf(f *gguf.File) (*bert, error) {
	h, err := headerOf(f)
	if err != nil {
		return nil, err
	}
	x := &bert{shape: shape{file: f.Paths[0], arch: f.Architecture(), traits: traits{halves: true}}}
	x.learned, x.gated = x.arch == plainBert, x.arch == nomicBert
	x.sizes(h)
	if x.kvHeads != x.heads || x.heads*x.head != x.width {
		h.decline("%d heads of %d values, and %d of keys, do not make its width of %d", x.heads, x.head, x.kvHeads, x.width)
	}
	x.scale = float32(1 / math.Sqrt(float64(x.head)))
	x.eps = float32(h.real("attention.layer_norm_epsilon", 0))
	if x.eps <= 0 {
		h.decline("it has no attention.layer_norm_epsilon")
	}
	if causal, said := f.Bool(h.key("attention.causal")); causal || !said {
		h.decline("its attention.causal is not false, as an encoder's is")
	}
	switch kind := h.real("pooling_type", 0); {
	case kind == float64(int(kind)) && int(kind) < len(poolings):
		x.pooling = poolings[int(kind)]
	default:
		h.decline("its %s.pooling_type is %g", x.arch, kind)
	}
	if x.learned && x.trained == 0 {
		h.decline("it does not say its %s.context_length", x.arch)
	}
	if !x.learned {
		x.rope.read(h, &x.shape)
	}
	h.key("classifier.output_labels") // what its scores are called
	h.strange()
	if h.err != nil {
		return nil, h.err
	}
	return x, x.tensors(f)
}

// tensors checks that the file has the net's tensors, in these shapes, and no others.
func (x *bert) tensors(f *gguf.File) error {
	x.has = make(map[string]bool, len(f.Tensors))
	for i := range f.Tensors {
		x.has[f.Tensors[i].Name] = true
	}
	tables := map[string]bool{}
	table := func(name string, most int) (rows int, err error) {
		t := f.Tensor(name)
		if t == nil || len(t.Shape) > 2 || t.Shape[0] != int64(x.width) || t.Elements()/t.Shape[0] > int64(most) {
			return 0, serval.Errorf(serval.InvalidArgument, "%s: it has no tensor %s of %d columns and at most %d rows", x.file, name, x.width, most)
		}
		if kernel.Dequantize(t.Type) == nil {
			return 0, declined(x.file, "tensor %s is of type %s", name, t.Type)
		}
		tables[name] = true
		return int(t.Elements() / t.Shape[0]), nil
	}
	var err error
	if x.vocab, err = table(embedName, maxVocab); err != nil {
		return err
	}
	if x.learned {
		rows, err := table(positionName, maxContext)
		if err != nil {
			return err
		}
		if rows != x.trained {
			return serval.Errorf(serval.InvalidArgument, "%s: tensor %s has %d rows; by its header the context has %d tokens", x.file, positionName, rows, x.trained)
		}
	}
	if x.has[typeName] {
		if x.types, err = table(typeName, maxTypes); err != nil {
			return err
		}
	}
	return x.fits(f, x.each, func(name string) bool { return tables[name] })
}

// each calls f for each tensor that the net needs, but for those whose rows are only looked up.
func (x *bert) each(f func(name string, cols, rows int)) {
	norm := func(weight, bias string) {
		f(weight, x.width, 1)
		f(bias, x.width, 1)
	}
	biased := func(name string, cols, rows int) {
		f(name+".weight", cols, rows)
		if x.has[name+".bias"] && !(x.gated && strings.Contains(name, ".ffn_")) { // of which llama.cpp adds none
			f(name+".bias", rows, 1)
		}
	}
	norm(embedNormName, embedNormBias)
	if x.pooling == "rank" {
		if x.has[denseName] {
			biased("cls", x.width, x.width)
		}
		biased("cls.output", x.width, 1)
	}
	for i := range x.layers {
		matrix := func(name string, cols, rows int) { biased(fmt.Sprintf("blk.%d.%s", i, name), cols, rows) }
		if x.fused(i) {
			matrix("attn_qkv", x.width, 3*x.width)
		} else {
			matrix("attn_q", x.width, x.width)
			matrix("attn_k", x.width, x.width)
			matrix("attn_v", x.width, x.width)
		}
		matrix("attn_output", x.width, x.width)
		norm(layerName(i, "attn_output_norm"), biasName(i, "attn_output_norm"))
		if x.gated {
			matrix("ffn_gate", x.width, x.inner)
		}
		matrix("ffn_up", x.width, x.inner)
		matrix("ffn_down", x.inner, x.width)
		norm(layerName(i, "layer_output_norm"), biasName(i, "layer_output_norm"))
	}
}

// fused says that the i-th layer has one matrix for queries, keys and values.
func (x *bert) fused(i int) bool { return x.has[layerName(i, "attn_qkv")] }
