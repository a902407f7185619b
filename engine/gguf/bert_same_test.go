package gguf

import (
	"math"
	"strings"
	"testing"

	"serval"
	"serval/llm/gguf"
)

// far is how far one vector is from another, as a share of that one's length.
func far(a, b []float32) float64 {
	var d, n float64
	for i := range b {
		d += (float64(a[i]) - float64(b[i])) * (float64(a[i]) - float64(b[i]))
		n += float64(b[i]) * float64(b[i])
	}
	return math.Sqrt(d / n)
}

// Encoders of random weights give the exact numbers, and llama.cpp's as far as it computes those: its GELU is a table of the approximation
// by tanh.
func TestTinyBert(t *testing.T) {
	wide := tinyBert{heads: 4, head: 64, inner: 512, layer: 2}
	for name, y := range map[string]tinyBert{
		"F32, cls":           {kind: gguf.F32, heads: 4, head: 32, inner: 192, layer: 3, pooling: 2},
		"F16":                {kind: gguf.F16, heads: 3, head: 64, inner: 192, layer: 2, pooling: 1},
		"BF16":               wide.of(gguf.BF16),
		"Q8_0, last":         {kind: gguf.Q8_0, heads: 2, head: 32, inner: 128, layer: 2, pooling: 3},
		"Q8_0, one matrix":   {kind: gguf.Q8_0, heads: 2, head: 64, inner: 160, layer: 2, fused: true},
		"Q4_0, no biases":    {kind: gguf.Q4_0, heads: 2, head: 64, inner: 256, layer: 2, bare: true},
		"Q4_1":               {kind: gguf.Q4_1, heads: 2, head: 64, inner: 256, layer: 2},
		"Q5_0":               wide.of(gguf.Q5_0),
		"Q5_1":               wide.of(gguf.Q5_1),
		"Q4_K":               wide.of(gguf.Q4K),
		"Q5_K":               wide.of(gguf.Q5K),
		"Q6_K":               wide.of(gguf.Q6K),
		"nomic, F32":         {arch: nomicBert, kind: gguf.F32, heads: 3, head: 64, inner: 256, layer: 3, pooling: 1, fused: true, bare: true},
		"nomic, three":       {arch: nomicBert, kind: gguf.Q8_0, heads: 4, head: 32, inner: 256, layer: 2, pooling: 2},
		"scores, F32":        {kind: gguf.F32, heads: 4, head: 32, inner: 192, layer: 2, pooling: 4, dense: true},
		"scores, Q8_0":       {kind: gguf.Q8_0, heads: 4, head: 32, inner: 192, layer: 2, pooling: 4, dense: true},
		"scores, no layer":   {kind: gguf.F32, heads: 4, head: 32, inner: 192, layer: 2, pooling: 4},
		"F32, 900 positions": {kind: gguf.F32, heads: 2, head: 32, inner: 96, layer: 2, pooling: 1, context: 900},
	} {
		t.Run(name, func(t *testing.T) {
			dir := written(t, sane(t, y.write(), y.kind))
			e, peer := encoderOf(t, dir, serval.TextSettings{}), theirs(t, dir, serval.TextSettings{}, 1)
			want := exactOf(t, e)
			lists := [][]int32{someTokens(80, 1), someTokens(1, 2), someTokens(25, 3)}
			if y.context > chunkRows {
				lists = append(lists, someTokens(y.context, 4))
			}
			own, other := vectorsOf(t, e, "", lists...), vectorsOf(t, peer, "", lists...)
			var off, theirOff float64
			for i, list := range lists {
				exact := want.vector(list, nil, e.pooling)
				if e.ranks() { // one number, which may be near 0
					off, theirOff = max(off, math.Abs(float64(own[i][0]-exact[0]))), max(theirOff, math.Abs(float64(other[i][0]-exact[0])))
				} else {
					off, theirOff = max(off, far(own[i], exact)), max(theirOff, far(other[i], exact))
				}
			}
			t.Logf("%.2g from the exact, llama.cpp %.2g", off, theirOff)
			switch {
			case floating(y.kind): // which are not rounded, nor their activations
				if !(off < 5e-6 && theirOff < 0.01) {
					t.Error("that is too much")
				}
			case !(off < 0.05 && theirOff < 0.05) || !e.ranks() && off > 1.3*theirOff:
				t.Error("that is too much")
			}
		})
	}
}

func floating(kind gguf.Type) bool { return kind == gguf.F32 || kind == gguf.F16 || kind == gguf.BF16 }

// of is the net with weights of a type.
func (y tinyBert) of(kind gguf.Type) tinyBert {
	y.kind = kind
	return y
}

// A pair's tokens are told apart, as models that rank were trained, which llama.cpp does not do.
func TestPairs(t *testing.T) {
	e := encoderOf(t, written(t, tinyBert{kind: gguf.F32, heads: 4, head: 32, inner: 192, layer: 2, pooling: 4, dense: true}.write()), serval.TextSettings{})
	lists, kinds := [][]int32{someTokens(40, 1), someTokens(7, 2)}, [][]int32{make([]int32, 40), make([]int32, 7)}
	for i := range kinds {
		for j := len(kinds[i]) / 2; j < len(kinds[i]); j++ {
			kinds[i][j] = 1
		}
	}
	with, without := ask(&serval.Encode{List: lists, Types: kinds, Pooling: "rank"}), ask(&serval.Encode{List: lists})
	run(t, e, with, without)
	want := exactOf(t, e)
	for i := range lists {
		a, b := float64(want.vector(lists[i], kinds[i], "rank")[0]), float64(want.vector(lists[i], nil, "rank")[0])
		if got := float64(with.vector[i][0]); len(with.vector[i]) != 1 || math.Abs(got-a) > 1e-3 {
			t.Errorf("pair %d scores %g, want %g", i, got, a)
		}
		if got := float64(without.vector[i][0]); math.Abs(got-b) > 1e-3 || math.Abs(a-b) < 1e-2 {
			t.Errorf("pair %d without types scores %g, want %g, and with them %g", i, got, b, a)
		}
	}
	l := e.Language()
	if !l.Rank || l.Embed || l.Generate || l.Pooling != "rank" {
		t.Errorf("%+v", l)
	}
	for field, in := range map[string]*serval.Encode{"pooling": {List: lists, Pooling: "mean"}, "input": {List: lists, Types: kinds[:1]}} {
		a := ask(in)
		if err := e.Admit(&a.call); err == nil || serval.AsError(err).Param != field {
			t.Errorf("%s: %v", field, err)
		}
	}
	a := ask(&serval.Encode{List: lists, Types: [][]int32{kinds[0], {0, 0, 0, -1, 1, 1, 1}}})
	if err := e.Admit(&a.call); err == nil || !strings.Contains(err.Error(), "text 1") {
		t.Error(err)
	}
}
