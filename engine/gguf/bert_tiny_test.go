package gguf

import (
	"math"
	"math/rand/v2"
	"testing"

	"serval/llm/gguf"
)

// tinyBert is an encoder's net of random weights.
type tinyBert struct {
	arch               string // "": bert
	kind               gguf.Type
	heads, head, inner int
	layer              int
	context            int // 0: 512
	pooling            uint32
	fused, bare        bool // queries, keys and values are one matrix; there are no biases
	dense              bool // a layer before the score
}

func (y tinyBert) write() []byte {
	r := rand.New(rand.NewPCG(2, uint64(y.kind)))
	f := &file{}
	if y.arch == "" {
		y.arch = plainBert
	}
	if y.context == 0 {
		y.context = 512
	}
	width := y.heads * y.head
	f.put("general.architecture", gguf.String, y.arch)
	for key, n := range map[string]int{"block_count": y.layer, "context_length": y.context, "embedding_length": width, "feed_forward_length": y.inner,
		"attention.head_count": y.heads, "pooling_type": int(y.pooling)} {
		f.put(y.arch+"."+key, gguf.Uint32, uint32(n))
	}
	f.put(y.arch+".attention.layer_norm_epsilon", gguf.Float32, float32(1e-12)).put(y.arch+".attention.causal", gguf.Bool, uint8(0))
	if y.arch == nomicBert {
		f.put(y.arch+".rope.freq_base", gguf.Float32, float32(1000))
	}
	f.tokenizer()
	f.put("tokenizer.ggml.token_type_count", gguf.Uint32, uint32(2))
	matrix := func(name string, kind gguf.Type, cols, rows int) {
		f.tensor(name, kind, cols, rows, random(r, kind, cols, rows))
	}
	norm := func(weight, bias string) {
		f.ones(r, weight, width)
		matrix(bias, gguf.F32, width, 1)
	}
	matrix(embedName, gguf.Q8_0, width, tinyVocab)
	matrix(typeName, gguf.F32, width, 2)
	if y.arch == plainBert {
		matrix(positionName, gguf.F32, width, y.context)
	}
	norm(embedNormName, embedNormBias)
	if y.pooling == 4 {
		if y.dense {
			matrix(denseName, y.kind, width, width)
			matrix(denseBias, gguf.F32, width, 1)
		}
		matrix(scoreName, gguf.F32, width, 1)
		matrix(scoreBias, gguf.F32, 1, 1)
	}
	for i := range y.layer {
		linear := func(name string, cols, rows int, bare bool) {
			matrix(layerName(i, name), y.kind, cols, rows)
			if !y.bare && !bare {
				matrix(biasName(i, name), gguf.F32, rows, 1)
			}
		}
		if y.fused {
			linear("attn_qkv", width, 3*width, false)
		} else {
			linear("attn_q", width, width, false)
			linear("attn_k", width, width, false)
			linear("attn_v", width, width, false)
		}
		linear("attn_output", width, width, false)
		norm(layerName(i, "attn_output_norm"), biasName(i, "attn_output_norm"))
		gated := y.arch == nomicBert
		if gated {
			linear("ffn_gate", width, y.inner, true)
		}
		linear("ffn_up", width, y.inner, gated)
		linear("ffn_down", y.inner, width, gated)
		norm(layerName(i, "layer_output_norm"), biasName(i, "layer_output_norm"))
	}
	return f.bytes()
}

// exactBert computes vectors with the weights as the file has them, in float64, from the definition of the net, sharing nothing with the
// engine but the reading of rows.
type exactBert struct {
	exact
	x *bert
}

func exactOf(t testing.TB, e *encoder) *exactBert { return &exactBert{exact{&e.shape, e.f, t}, e.bert} }

// linear is each row times the matrix, with its bias if there is one.
func (e *exactBert) linear(x [][]float64, name string) [][]float64 {
	out := e.mul(x, name+".weight")
	if e.f.Tensor(name+".bias") != nil {
		bias, _ := e.tensor(name + ".bias")
		for p := range out {
			for i, b := range bias {
				out[p][i] += float64(b)
			}
		}
	}
	return out
}

// layerNorm norms rows in place, after another's were added; nil: none.
func (e *exactBert) layerNorm(x, add [][]float64, name string) {
	w, _ := e.tensor(name + ".weight")
	b, _ := e.tensor(name + ".bias")
	for p := range x {
		mean, apart := 0.0, 0.0
		for i := range x[p] {
			if add != nil {
				x[p][i] += add[p][i]
			}
			mean += x[p][i] / float64(len(w))
		}
		for _, v := range x[p] {
			apart += (v - mean) * (v - mean) / float64(len(w))
		}
		for i, v := range x[p] {
			x[p][i] = (v-mean)/math.Sqrt(apart+float64(e.x.eps))*float64(w[i]) + float64(b[i])
		}
	}
}

// mix is attention of all positions with all.
func (e *exactBert) mix(q, k, v [][]float64) [][]float64 {
	out := make([][]float64, len(q))
	for p := range q {
		out[p] = make([]float64, e.x.width)
		for h := 0; h < e.x.width; h += e.x.head {
			scores, sum := make([]float64, len(k)), 0.0
			for c := range k {
				for i := h; i < h+e.x.head; i++ {
					scores[c] += q[p][i] * k[c][i]
				}
				scores[c] = math.Exp(scores[c] / math.Sqrt(float64(e.x.head)))
				sum += scores[c]
			}
			for c, s := range scores {
				for i := h; i < h+e.x.head; i++ {
					out[p][i] += s / sum * v[c][i]
				}
			}
		}
	}
	return out
}

// turn is rope of base 1000.
func (e *exactBert) turn(x [][]float64) {
	for p := range x {
		for h := 0; h < e.x.width; h += e.x.head {
			for i := range e.x.head / 2 {
				sin, cos := math.Sincos(float64(p) * math.Pow(1000, -2*float64(i)/float64(e.x.head)))
				a, b := x[p][h+i], x[p][h+i+e.x.head/2]
				x[p][h+i], x[p][h+i+e.x.head/2] = a*cos-b*sin, a*sin+b*cos
			}
		}
	}
}

// states are the vectors of a text's tokens.
func (e *exactBert) states(tokens, kinds []int32) [][]float64 {
	words, w := e.tensor(embedName)
	types, _ := e.tensor(typeName)
	var places []float32
	if e.x.learned {
		places, _ = e.tensor(positionName)
	}
	x := make([][]float64, len(tokens))
	for p, id := range tokens {
		kind := 0
		if kinds != nil {
			kind = int(kinds[p])
		}
		for i := range w {
			v := float64(words[int(id)*w+i]) + float64(types[kind*w+i])
			if places != nil {
				v += float64(places[p*w+i])
			}
			x[p] = append(x[p], v)
		}
	}
	e.layerNorm(x, nil, "token_embd_norm")
	for l := range e.x.layers {
		of := func(name string) string { return layerName(l, name)[:len(layerName(l, name))-len(".weight")] }
		var q, k, v [][]float64
		if e.x.fused(l) {
			for _, row := range e.linear(x, of("attn_qkv")) {
				q, k, v = append(q, row[:w]), append(k, row[w:2*w]), append(v, row[2*w:])
			}
		} else {
			q, k, v = e.linear(x, of("attn_q")), e.linear(x, of("attn_k")), e.linear(x, of("attn_v"))
		}
		if !e.x.learned {
			e.turn(q)
			e.turn(k)
		}
		e.layerNorm(x, e.linear(e.mix(q, k, v), of("attn_output")), of("attn_output_norm"))
		up := e.linear(x, of("ffn_up"))
		if e.x.gated {
			for p, row := range e.linear(x, of("ffn_gate")) {
				for i, g := range row {
					up[p][i] *= g / (1 + math.Exp(-g))
				}
			}
		} else {
			for p := range up {
				for i, g := range up[p] {
					up[p][i] = g / 2 * math.Erfc(-g/math.Sqrt2)
				}
			}
		}
		e.layerNorm(x, e.linear(up, of("ffn_down")), of("layer_output_norm"))
	}
	return x
}

// vector is a text's, pooled.
func (e *exactBert) vector(tokens, kinds []int32, pooling string) []float32 {
	x := e.states(tokens, kinds)
	out := make([]float64, e.x.width)
	switch pooling {
	case "cls", "rank":
		copy(out, x[0])
	case "last":
		copy(out, x[len(x)-1])
	default:
		for p := range x {
			for i, v := range x[p] {
				out[i] += v / float64(len(x))
			}
		}
	}
	if pooling == "rank" {
		if e.f.Tensor(denseName) != nil {
			out = e.linear([][]float64{out}, "cls")[0]
			for i := range out {
				out[i] = math.Tanh(out[i])
			}
		}
		out = e.linear([][]float64{out}, "cls.output")[0]
	}
	narrow := make([]float32, len(out))
	for i, v := range out {
		narrow[i] = float32(v)
	}
	return narrow
}
