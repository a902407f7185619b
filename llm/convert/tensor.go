package convert

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"serval"
	"serval/llm/gguf"
	"serval/llm/safetensors"
)

// tensor is one of the file's: where it comes from, and what is done to it.
type tensor struct {
	name  string              // in the file
	from  string              // in the folder
	cols  int                 // of a row
	rows  int                 // 0: it has one dimension
	heads int                 // whose rows change their order for rope; 0: none
	add   float32             // to every element
	plain bool                // stays F32 whatever type is asked for
	src   *safetensors.Tensor // nil: made of fixed
	fixed []float32
}

// shape is the tensor's in ggml's order.
func (t *tensor) shape() []int64 {
	if t.rows == 0 {
		return []int64{int64(t.cols)}
	}
	return []int64{int64(t.cols), int64(t.rows)}
}

// list are the net's tensors, in the order in which they are written.
func (n *net) list() []tensor {
	var out []tensor
	vector := func(name, from string, cols int) {
		out = append(out, tensor{name: name, from: from, cols: cols, plain: true})
	}
	matrix := func(name, from string, cols, rows int) {
		out = append(out, tensor{name: name, from: from, cols: cols, rows: rows})
	}
	if n.bert {
		n.encoderTensors(vector, matrix)
		return out
	}
	norm := func(name, from string, cols int) {
		vector(name, from, cols)
		if n.gemma {
			out[len(out)-1].add = 1
		}
	}
	if n.freqs != nil {
		out = append(out, tensor{name: "rope_freqs.weight", cols: len(n.freqs), plain: true, fixed: n.freqs})
	}
	matrix("token_embd.weight", "model.embed_tokens.weight", n.width, n.vocab)
	for i := range n.layers {
		to, from := fmt.Sprintf("blk.%d.", i), fmt.Sprintf("model.layers.%d.", i)
		norm(to+"attn_norm.weight", from+"input_layernorm.weight", n.width)
		part := func(letter string, heads int, bias bool) {
			turned := heads
			if !n.turned || letter == "v" {
				turned = 0
			}
			matrix(to+"attn_"+letter+".weight", from+"self_attn."+letter+"_proj.weight", n.width, heads*n.head)
			out[len(out)-1].heads = turned
			if bias {
				vector(to+"attn_"+letter+".bias", from+"self_attn."+letter+"_proj.bias", heads*n.head)
				out[len(out)-1].heads = turned
			}
		}
		part("q", n.heads, n.biases)
		part("k", n.kvHeads, n.biases)
		part("v", n.kvHeads, n.biases)
		if n.headNorms {
			norm(to+"attn_q_norm.weight", from+"self_attn.q_norm.weight", n.head)
			norm(to+"attn_k_norm.weight", from+"self_attn.k_norm.weight", n.head)
		}
		matrix(to+"attn_output.weight", from+"self_attn.o_proj.weight", n.heads*n.head, n.width)
		if n.outBias {
			vector(to+"attn_output.bias", from+"self_attn.o_proj.bias", n.width)
		}
		if n.gemma {
			norm(to+"post_attention_norm.weight", from+"post_attention_layernorm.weight", n.width)
			norm(to+"ffn_norm.weight", from+"pre_feedforward_layernorm.weight", n.width)
		} else {
			norm(to+"ffn_norm.weight", from+"post_attention_layernorm.weight", n.width)
		}
		matrix(to+"ffn_gate.weight", from+"mlp.gate_proj.weight", n.width, n.inner)
		matrix(to+"ffn_up.weight", from+"mlp.up_proj.weight", n.width, n.inner)
		matrix(to+"ffn_down.weight", from+"mlp.down_proj.weight", n.inner, n.width)
		if n.gemma {
			norm(to+"post_ffw_norm.weight", from+"post_feedforward_layernorm.weight", n.width)
		}
	}
	norm("output_norm.weight", "model.norm.weight", n.width)
	if !n.tied {
		matrix("output.weight", "lm_head.weight", n.width, n.vocab)
	}
	return out
}

// encoderTensors lists BERT's. What is only looked up and added stays F32.
func (n *net) encoderTensors(vector func(name, from string, cols int), matrix func(name, from string, cols, rows int)) {
	both := func(name, from string, cols, rows int) {
		if rows == 0 {
			vector(name+".weight", from+".weight", cols)
			vector(name+".bias", from+".bias", cols)
			return
		}
		matrix(name+".weight", from+".weight", cols, rows)
		vector(name+".bias", from+".bias", rows)
	}
	matrix("token_embd.weight", "embeddings.word_embeddings.weight", n.width, n.vocab)
	matrix("position_embd.weight", "embeddings.position_embeddings.weight", n.width, n.context)
	matrix("token_types.weight", "embeddings.token_type_embeddings.weight", n.width, n.kinds)
	both("token_embd_norm", "embeddings.LayerNorm", n.width, 0)
	for i := range n.layers {
		to, from := fmt.Sprintf("blk.%d.", i), fmt.Sprintf("encoder.layer.%d.", i)
		both(to+"attn_q", from+"attention.self.query", n.width, n.width)
		both(to+"attn_k", from+"attention.self.key", n.width, n.width)
		both(to+"attn_v", from+"attention.self.value", n.width, n.width)
		both(to+"attn_output", from+"attention.output.dense", n.width, n.width)
		both(to+"attn_output_norm", from+"attention.output.LayerNorm", n.width, 0)
		both(to+"ffn_up", from+"intermediate.dense", n.width, n.inner)
		both(to+"ffn_down", from+"output.dense", n.inner, n.width)
		both(to+"layer_output_norm", from+"output.LayerNorm", n.width, 0)
	}
}

// plainName is a tensor's name as list has it, whatever class of transformers wrote it; "" if it is of a part that is left out.
func (n *net) plainName(name string) string {
	if n.bert {
		name = strings.TrimPrefix(name, "bert.")
		if s, ok := strings.CutSuffix(name, ".gamma"); ok {
			name = s + ".weight"
		} else if s, ok := strings.CutSuffix(name, ".beta"); ok {
			name = s + ".bias"
		}
		if name == "embeddings.position_ids" || begins(name, "pooler.", "cls.") {
			return ""
		}
		return name
	}
	if begins(name, "vision_tower.", "multi_modal_projector.", "model.vision_tower.", "model.multi_modal_projector.") && n.arch == "gemma3" {
		return ""
	}
	if strings.HasSuffix(name, ".rotary_emb.inv_freq") {
		return ""
	}
	name = strings.Replace(name, "language_model.", "", 1)
	if name == "lm_head.weight" {
		if n.tied {
			return "" // the embedding does its work
		}
		return name
	}
	if !strings.HasPrefix(name, "model.") {
		name = "model." + name
	}
	return name
}

func begins(s string, with ...string) bool {
	return slices.ContainsFunc(with, func(w string) bool { return strings.HasPrefix(s, w) })
}

// find finds the net's tensors in the folder, in the shapes that they must have, and refuses what is not one of them.
func (n *net) find(set *safetensors.Set) ([]tensor, error) {
	there := make(map[string]*safetensors.Tensor, len(set.Tensors))
	refuse := func(t *safetensors.Tensor, format string, args ...any) error {
		why := fmt.Sprintf(format, args...)
		return serval.Errorf(serval.InvalidArgument, "%s: tensor %s %s", filepath.Base(set.Paths[t.File]), t.Name, why).At(t.Name)
	}
	for i := range set.Tensors {
		t := &set.Tensors[i]
		name := n.plainName(t.Name)
		if other := there[name]; other != nil && name != "" {
			return nil, refuse(t, "is the same as %s", other.Name)
		}
		there[name] = t
	}
	delete(there, "")
	list := n.list()
	for i := range list {
		t := &list[i]
		t.plain = t.plain || t.name == "position_embd.weight" || t.name == "token_types.weight"
		if t.fixed != nil {
			continue
		}
		t.src = there[t.from]
		if t.src == nil {
			return nil, serval.Errorf(serval.InvalidArgument,
				"the folder's .safetensors files have no tensor %s; config.json says that the net has it", t.from).At(t.from)
		}
		delete(there, t.from)
		want := t.shape()
		slices.Reverse(want)
		if !slices.Equal(t.src.Shape, want) {
			return nil, refuse(t.src, "has the shape %v; by config.json it is %v", t.src.Shape, want)
		}
		if s := t.src.Type; s != safetensors.F32 && s != safetensors.F16 && s != safetensors.BF16 {
			return nil, refuse(t.src, "is of type %s; F32, F16 and BF16 are converted", s)
		}
	}
	for i := range set.Tensors {
		if t := &set.Tensors[i]; there[n.plainName(t.Name)] == t {
			return nil, refuse(t, "is none of %s's: the net is another than its config.json says, or one that is not converted", n.arch)
		}
	}
	return list, nil
}

// typeOf is the type of the folder's matrices, by the first.
func typeOf(list []tensor) gguf.Type {
	for _, t := range list {
		if t.rows > 0 && t.src != nil {
			switch t.src.Type {
			case safetensors.F16:
				return gguf.F16
			case safetensors.BF16:
				return gguf.BF16
			}
			return gguf.F32
		}
	}
	return gguf.F32
}
