package llama

import (
	"math"
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

// Vectors are the same alone and in a batch, beside answers that are being made, for each way of pooling.
func TestEncode(t *testing.T) {
	d := open(t, small(t), nil)
	texts := [][]int32{long(d, 12), long(d, 40), d.words.Encode(nil, "Cats sleep all day.", options), long(d, 600)}
	for _, pooling := range []string{"mean", "last", "cls", ""} {
		if pooling == "last" {
			texts = texts[:3] // the long one made the context longer once
		}
		var alone [][]float32
		for _, text := range texts {
			a := ask(&serval.Encode{List: [][]int32{text}, Pooling: pooling})
			run(t, d, a)
			if len(a.vector) != 1 || len(a.vector[0]) != d.Language().Width || a.usage.Prompt != int64(len(text)) || a.finish != serval.Stop {
				t.Fatalf("%s: %d vectors, usage %+v", pooling, len(a.vector), a.usage)
			}
			alone = append(alone, a.vector[0])
		}
		all, other := ask(&serval.Encode{List: texts, Pooling: pooling}), ask(greedy(long(d, 30), 6))
		run(t, d, other, all)
		for i, v := range all.vector {
			if c := cosine(v, alone[i]); c < 0.9995 {
				t.Errorf("%s: text %d in a batch has cosine %g with itself alone", pooling, i, c)
			}
		}
		if c := cosine(alone[0], alone[2]); c > 0.9999 && pooling != "cls" { // cls of a causal model sees the first token only
			t.Errorf("%s: two texts have the same vector", pooling)
		}
	}
}

// Many texts go through in several batches, and a call that is canceled between them ends.
func TestEncodeMany(t *testing.T) {
	d := open(t, small(t), nil)
	var list [][]int32
	for i := range 80 {
		list = append(list, long(d, 3+i%12))
	}
	a, b := ask(&serval.Encode{List: list}), ask(&serval.Encode{List: list})
	for _, x := range []*answer{a, b} {
		if err := d.Admit(&x.call); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := d.Step(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.cancel = true
	for live := 1; live > 0; {
		var err error
		if live, err = d.Step(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if !b.ended || b.err == nil || a.err != nil || len(a.vector) != len(list) {
		t.Fatalf("ended %v, errors %v and %v, %d vectors", b.ended, a.err, b.err, len(a.vector))
	}
	for i, v := range a.vector {
		if len(v) == 0 {
			t.Fatalf("text %d has no vector", i)
		}
	}
}
