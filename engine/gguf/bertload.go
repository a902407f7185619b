package gguf

import (
	"context"

	"serval/engine/gguf/kernel"
	"serval/engine/gguf/packed"
	"serval/llm/gguf"
	"serval/llm/vocab"
)

// bertWeights are a loaded encoder. Its matrices are copies, repacked for the kernels; the file stays open for the rows of the
// tokens.
type bertWeights struct {
	*bert
	ops      kernel.Ops
	arena    *kernel.Arena
	mapped   *packed.Mapping // what the arena's matrices are read from; nil: memory
	later    func()          // once the model is there; nil: nothing
	words    *vocab.Vocabulary
	f        *gguf.File
	embed    *rows
	position []float32 // [context][width]; nil: positions are turned
	kinds    []float32 // [types][width]
	norm     affine
	layer    []bertLayer
	scorer   *scorer // of a model that ranks; else nil
}

// affine are the weights and biases of a LayerNorm.
type affine struct{ weight, bias []float32 }

// linear is a matrix and what is added to its products; nil: nothing.
type linear struct {
	m    *kernel.Matrix
	bias []float32
}

// bertLayer is one of the net's.
type bertLayer struct {
	q, k, v        linear // or qkv
	qkv            linear
	o              linear
	norm           affine // after attention
	gate, up, down linear // gate: of SwiGLU
	outNorm        affine // after the feed-forward layers
}

// scorer makes a score of a text's first vector.
type scorer struct {
	dense  linear // tanh follows; no matrix: there is none
	weight []float32
	bias   float32
}

// loadBert reads the tensors, which the team packs. It stops between two pieces when ctx ends.
func loadBert(ctx context.Context, f source, x *bert, ops kernel.Ops, team *kernel.Team) (*bertWeights, error) {
	words, err := readWords(f.File, &x.shape)
	if err != nil {
		return nil, err
	}
	w := &bertWeights{bert: x, words: words, ops: ops, arena: kernel.NewArena(ops), f: f.File, layer: make([]bertLayer, x.layers)}
	l := newLoader(f, w.arena)
	w.embed, w.position, w.kinds = l.rows(embedName), l.floats(positionName), l.floats(typeName)
	w.norm = l.affine(embedNormName, embedNormBias)
	for i := range w.layer {
		if l.err != nil {
			break
		}
		of := func(name string) linear { return linear{l.matrix(layerName(i, name)), l.floats(biasName(i, name))} }
		layer := &w.layer[i]
		if x.fused(i) {
			layer.qkv = of("attn_qkv")
		} else {
			layer.q, layer.k, layer.v = of("attn_q"), of("attn_k"), of("attn_v")
		}
		layer.o = of("attn_output")
		layer.norm = l.affine(layerName(i, "attn_output_norm"), biasName(i, "attn_output_norm"))
		layer.gate, layer.up, layer.down = of("ffn_gate"), of("ffn_up"), of("ffn_down")
		layer.outNorm = l.affine(layerName(i, "layer_output_norm"), biasName(i, "layer_output_norm"))
	}
	if x.pooling == "rank" {
		w.scorer = &scorer{dense: linear{l.matrix(denseName), l.floats(denseBias)}, weight: l.floats(scoreName)}
		if bias := l.floats(scoreBias); bias != nil {
			w.scorer.bias = bias[0]
		}
	}
	l.pack(ctx, team)
	if l.err != nil {
		_ = w.arena.Close()
		return nil, l.err
	}
	w.mapped, w.later = l.mapped, l.later
	return w, nil
}

func (l *loader) affine(weight, bias string) affine { return affine{l.floats(weight), l.floats(bias)} }
