package gguf

import (
	"math"
	"testing"

	"serval/llm/gguf"
)

// exact computes the logits of a text with the weights as the file has them and activations that are not rounded: in float64, from
// the definition of the net, sharing nothing with the engine but the reading of rows.
type exact struct {
	x *shape
	f *gguf.File
	t testing.TB
}

func (e *exact) tensor(name string) ([]float32, int) {
	e.t.Helper()
	t := e.f.Tensor(name)
	if t == nil {
		e.t.Fatalf("no tensor %s", name)
	}
	r, err := newRows(e.f, t)
	if err != nil {
		e.t.Fatal(err)
	}
	cols := int(t.Shape[0])
	out := make([]float32, t.Elements())
	for i := range len(out) / cols {
		if err := r.read(out[i*cols:(i+1)*cols], i, make([]byte, r.bytes)); err != nil {
			e.t.Fatal(err)
		}
	}
	return out, cols
}

// mul is each row of x times the matrix.
func (e *exact) mul(x [][]float64, name string) [][]float64 {
	w, cols := e.tensor(name)
	out := make([][]float64, len(x))
	for r := range x {
		out[r] = make([]float64, len(w)/cols)
	}
	for i := range len(w) / cols {
		row := w[i*cols : (i+1)*cols]
		for r := range x {
			var a, b float64
			for j := 0; j+1 < cols; j += 2 {
				a += float64(row[j]) * x[r][j]
				b += float64(row[j+1]) * x[r][j+1]
			}
			out[r][i] = a + b
		}
	}
	return out
}

func (e *exact) normed(x [][]float64, name string) [][]float64 {
	w, _ := e.tensor(name)
	out := make([][]float64, len(x))
	for r := range x {
		sum := 0.0
		for _, v := range x[r] {
			sum += v * v
		}
		scale := 1 / math.Sqrt(sum/float64(len(w))+float64(e.x.eps))
		out[r] = make([]float64, len(w))
		for i := range w {
			out[r][i] = x[r][i] * scale * float64(w[i])
		}
	}
	return out
}

// attention of queries, keys and values, each [position][heads of it times head].
func (e *exact) attention(q, k, v [][]float64, layer int) [][]float64 {
	x := e.x
	pair := func(i int) (int, int) { return 2 * i, 2*i + 1 }
	if x.halves {
		pair = func(i int) (int, int) { return i, i + x.rope.dims/2 }
	}
	for p := range q {
		for _, list := range [][]float64{q[p], k[p]} {
			for h := 0; h < len(list); h += x.head {
				for i := 0; i < x.rope.dims/2; i++ {
					sin, cos := math.Sincos(float64(p) * math.Pow(e.base(layer), -2*float64(i)/float64(x.rope.dims)))
					one, two := pair(i)
					a, b := list[h+one], list[h+two]
					list[h+one], list[h+two] = a*cos-b*sin, a*sin+b*cos
				}
			}
		}
	}
	out := make([][]float64, len(q))
	for p := range q {
		out[p] = make([]float64, x.heads*x.head)
		for h := range x.heads {
			at, kv := h*x.head, h/(x.heads/x.kvHeads)*x.head
			scores, sum := make([]float64, p+1), 0.0
			for c := range scores {
				if window := x.sees(layer); window > 0 && p-c >= window {
					continue
				}
				for i := range x.head {
					scores[c] += q[p][at+i] * k[c][kv+i]
				}
				scores[c] /= math.Sqrt(float64(x.head))
				if most := float64(x.cap); most > 0 {
					scores[c] = most * math.Tanh(scores[c]/most)
				}
				scores[c] = math.Exp(scores[c])
				sum += scores[c]
			}
			for c, s := range scores {
				for i := range x.head {
					out[p][at+i] += s / sum * v[c][kv+i]
				}
			}
		}
	}
	return out
}

// projected are queries, keys or values: with their biases, and each head normed.
func (e *exact) projected(in [][]float64, layer int, name string) [][]float64 {
	out := e.mul(in, layerName(layer, name))
	if e.x.biases {
		bias, _ := e.tensor(biasName(layer, name))
		for p := range out {
			for i := range bias {
				out[p][i] += float64(bias[i])
			}
		}
	}
	if e.x.headNorms && name != "attn_v" {
		for p := range out {
			for h := 0; h < len(out[p]); h += e.x.head {
				copy(out[p][h:], e.normed([][]float64{out[p][h : h+e.x.head]}, layerName(layer, name+"_norm"))[0])
			}
		}
	}
	return out
}

func (e *exact) base(layer int) float64 {
	if e.x.arch == "gemma3" && layer%6 != 5 {
		return 10000
	}
	b, ok := e.f.Float(e.x.arch + ".rope.freq_base")
	if !ok {
		return 10000
	}
	return b
}

// logits of each position.
func (e *exact) logits(tokens []int32) [][]float64 {
	embed, cols := e.tensor(embedName)
	x := make([][]float64, len(tokens))
	for p, id := range tokens {
		for _, v := range embed[int(id)*cols : (int(id)+1)*cols] {
			x[p] = append(x[p], float64(v))
		}
	}
	if e.x.gemma {
		for p := range x {
			for i := range x[p] {
				x[p][i] *= math.Sqrt(float64(cols))
			}
		}
	}
	add := func(d [][]float64, norm string) {
		if e.x.gemma {
			d = e.normed(d, norm)
		}
		for p := range x {
			for i := range x[p] {
				x[p][i] += d[p][i]
			}
		}
	}
	for i := range e.x.layers {
		of := func(name string) string { return layerName(i, name) }
		in := e.normed(x, of("attn_norm"))
		q, k, v := e.projected(in, i, "attn_q"), e.projected(in, i, "attn_k"), e.projected(in, i, "attn_v")
		add(e.mul(e.attention(q, k, v, i), of("attn_output")), of("post_attention_norm"))
		in = e.normed(x, of("ffn_norm"))
		gate, up := e.mul(in, of("ffn_gate")), e.mul(in, of("ffn_up"))
		for p := range gate {
			for j, g := range gate[p] {
				if e.x.gemma {
					gate[p][j] = g / 2 * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(g+0.044715*g*g*g))) * up[p][j]
				} else {
					gate[p][j] = g / (1 + math.Exp(-g)) * up[p][j]
				}
			}
		}
		add(e.mul(gate, of("ffn_down")), of("post_ffw_norm"))
	}
	name := outName
	if e.x.tied {
		name = embedName
	}
	out := e.mul(e.normed(x, outNormName), name)
	if most := float64(e.x.outCap); most > 0 {
		for p := range out {
			for i, v := range out[p] {
				out[p][i] = most * math.Tanh(v/most)
			}
		}
	}
	return out
}

// logprob is of a token, in logits.
func logprob(logits []float64, id int32) float64 {
	most, sum := math.Inf(-1), 0.0
	for _, l := range logits {
		most = max(most, l)
	}
	for _, l := range logits {
		sum += math.Exp(l - most)
	}
	return logits[id] - most - math.Log(sum)
}
