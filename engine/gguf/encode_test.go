package gguf

import (
	"math"
	"slices"
	"strings"
	"testing"

	"serval"
)

func cosine(a, b []float32) float64 {
	var ab, aa, bb float64
	for i := range a {
		ab += float64(a[i]) * float64(b[i])
		aa += float64(a[i]) * float64(a[i])
		bb += float64(b[i]) * float64(b[i])
	}
	return ab / math.Sqrt(aa*bb)
}

// Vectors are llama.cpp's for each way of pooling, and the same bit for bit alone, among others, in pieces, and beside answers that take
// their room away.
func TestEncode(t *testing.T) {
	dir := smol(t)
	settings := serval.TextSettings{Context: 1024, Slots: 4, Cache: 1024}
	d, peer := ours(t, dir, settings), theirs(t, dir, settings, 1)
	all := text(t, d, 1500)
	texts := [][]int32{all[:12], all[40:80], all[:700], all[100:101], all[200:230]}
	for _, pooling := range []string{"mean", "last", "cls", ""} {
		var alone [][]float32
		for i, list := range texts {
			a, b := ask(&serval.Encode{List: [][]int32{list}, Pooling: pooling}), ask(&serval.Encode{List: [][]int32{list}, Pooling: pooling})
			run(t, d, a)
			if a.usage.Prompt != int64(len(list)) || a.finish != serval.Stop || len(a.vector) != 1 {
				t.Fatalf("%s: %d vectors, usage %+v", pooling, len(a.vector), a.usage)
			}
			alone = append(alone, a.vector[0])
			if len(list) > 100 || pooling == "cls" || pooling == "" { // llama.cpp takes its time
				continue
			}
			run(t, peer, b)
			if c := cosine(a.vector[0], b.vector[0]); c < 0.998 || a.usage != b.usage {
				t.Errorf("%s: text %d has cosine %g with llama.cpp's, and usage %+v where it has %+v", pooling, i, c, a.usage, b.usage)
			}
		}
		several := []*answer{ask(greedy(all[:300], 200)), ask(&serval.Encode{List: texts, Pooling: pooling}), ask(greedy(all[300:600], 200))}
		run(t, d, several...)
		for i, v := range several[1].vector {
			if !slices.Equal(v, alone[i]) {
				t.Errorf("%s: text %d among others is not what it is alone", pooling, i)
			}
		}
	}
}

// A call for vectors that is canceled between two batches ends, and leaves no block behind.
func TestEncodeCanceled(t *testing.T) {
	d := ours(t, smol(t), serval.TextSettings{Context: 2048, Slots: 2})
	all := text(t, d, 1500)
	a, b := ask(&serval.Encode{List: [][]int32{all[:1500], all[:9]}}), ask(&serval.Encode{List: [][]int32{all[:20]}})
	for _, x := range []*answer{a, b} {
		if err := d.Admit(&x.call); err != nil {
			t.Fatal(err)
		}
	}
	for live := 2; live > 0; {
		var err error
		if live, err = d.Step(t.Context()); err != nil {
			t.Fatal(err)
		}
		a.cancel = true
		d.audit(t)
	}
	if !a.ended || a.err == nil || b.err != nil || len(b.vector) != 1 || d.cache.idle() != d.cache.size() {
		t.Errorf("ended %v, errors %v and %v, %d vectors, %d of %d blocks are idle", a.ended, a.err, b.err, len(b.vector), d.cache.idle(), d.cache.size())
	}
}

// What a damaged file makes of a text is an error, not a vector of no numbers.
func TestEncodeDamaged(t *testing.T) {
	d := ours(t, smol(t), serval.TextSettings{Context: 512, Slots: 1})
	d.net.norm[3] = float32(math.NaN())
	a := ask(&serval.Encode{List: [][]int32{text(t, d, 9)}})
	if err := d.Admit(&a.call); err != nil {
		t.Fatal(err)
	}
	for !a.ended {
		if _, err := d.Step(t.Context()); err != nil {
			t.Fatal(err)
		}
		d.audit(t)
	}
	if len(a.vector) != 0 || a.err == nil || !strings.Contains(a.err.Error(), "may be damaged") {
		t.Errorf("%d vectors, %v", len(a.vector), a.err)
	}
}
