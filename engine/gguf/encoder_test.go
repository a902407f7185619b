package gguf

import (
	"bytes"
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"serval"
	"serval/engine"
	"serval/engine/gguf/kernel"
	"serval/llm/gguf"
)

var smallBert = tinyBert{kind: gguf.Q4_0, heads: 2, head: 32, inner: 96, layer: 2, context: 600, pooling: 1}

// What shares a batch with a text, and how it is cut, changes no bit of its vector.
func TestTextsAlone(t *testing.T) {
	for name, y := range map[string]tinyBert{"bert": smallBert, "floats": smallBert.of(gguf.F32), "nomic": {arch: nomicBert, kind: gguf.Q4_0, heads: 2, head: 32, inner: 96, layer: 2, context: 600}} {
		t.Run(name, func(t *testing.T) {
			e := encoderOf(t, written(t, y.write()), serval.TextSettings{})
			var lists [][]int32
			for i, n := range []int{1, 15, 16, 17, 3, 25, 80, 2, 300, 600, 40, 256, 9, 1, 33} {
				lists = append(lists, someTokens(n, i))
			}
			var alone [][]float32
			for _, list := range lists {
				alone = append(alone, vectorsOf(t, e, "", list)[0])
			}
			same := func(what string, got [][]float32) {
				t.Helper()
				for i := range got {
					if !slices.Equal(got[i], alone[i]) {
						t.Errorf("%s: text %d of %d tokens is another", what, i, len(lists[i]))
					}
				}
			}
			same("in one call", vectorsOf(t, e, "mean", lists...))
			for _, n := range []int{4, 15} { // calls
				several := make([]*answer, n)
				for i := range several {
					several[i] = ask(&serval.Encode{List: slices.Concat(lists[i:], lists[:i])})
				}
				run(t, e, several...)
				for i, a := range several {
					if a.chunks != 1 || a.finish != serval.Stop || a.usage.Rows != int64(len(lists)) || a.usage.Prompt != 1398 {
						t.Errorf("%d chunks, usage %+v", a.chunks, a.usage)
					}
					same("beside other calls", slices.Concat(a.vector[len(lists)-i:], a.vector[:len(lists)-i]))
				}
			}
		})
	}
}

// Results are those of every instruction set, but for the order of sums.
func TestEncoderPortable(t *testing.T) {
	dir := written(t, smallBert.write())
	want := vectorsOf(t, encoderOf(t, dir, serval.TextSettings{}), "", someTokens(40, 1), someTokens(7, 2))
	f, err := gguf.Open(filepath.Join(dir, "model.gguf"))
	if err != nil {
		t.Fatal(err)
	}
	x, err := bertOf(f)
	if err != nil {
		t.Fatal(err)
	}
	p, err := makeBertPlan(x, &serval.ModelSettings{}, 1, 0)
	if err != nil {
		t.Fatal(err)
	}
	team := kernel.NewTeam(1)
	w, err := loadBert(t.Context(), source{File: f}, x, kernel.Portable(), team)
	if err != nil {
		t.Fatal(err)
	}
	e, err := newEncoder(w, p, team, &engine.Spec{Name: "m"})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	for i, v := range vectorsOf(t, e, "", someTokens(40, 1), someTokens(7, 2)) {
		if off := far(v, want[i]); off > 0.02 {
			t.Errorf("text %d is %g apart", i, off)
		}
	}
}

// A call of one text does not wait until one of many is done.
func TestFewBesideMany(t *testing.T) {
	e := encoderOf(t, written(t, smallBert.write()), serval.TextSettings{})
	var many [][]int32
	for i := range 500 {
		many = append(many, someTokens(20+i%40, i))
	}
	waiting := []*answer{ask(&serval.Encode{List: many}), ask(&serval.Encode{List: slices.Concat(many, many)}), ask(&serval.Encode{List: [][]int32{someTokens(500, 1), someTokens(9, 2)}})}
	for _, a := range waiting {
		if err := e.Admit(&a.call); err != nil {
			t.Fatal(err)
		}
	}
	for steps := 1; !waiting[2].ended; steps++ {
		if _, err := e.Step(t.Context()); err != nil || steps > 4 {
			t.Fatalf("%d steps, %v", steps, err)
		}
	}
	for range 3 {
		late := ask(&serval.Encode{List: many[:1]})
		if err := e.Admit(&late.call); err != nil {
			t.Fatal(err)
		}
		for steps := 1; !late.ended; steps++ {
			if _, err := e.Step(t.Context()); err != nil || steps > 2 {
				t.Fatalf("%d steps, %v", steps, err)
			}
		}
	}
	if waiting[0].ended || waiting[1].ended {
		t.Error("the calls of many texts were done first")
	}
}

// A call that is canceled ends at once, in the midst of a pass if nobody else is in it, and others get all of theirs.
func TestEncoderCanceled(t *testing.T) {
	e := encoderOf(t, written(t, smallBert.write()), serval.TextSettings{})
	a, b := ask(&serval.Encode{List: [][]int32{someTokens(300, 1), someTokens(300, 2)}}), ask(&serval.Encode{List: [][]int32{someTokens(20, 3)}})
	if err := e.Admit(&a.call); err != nil {
		t.Fatal(err)
	}
	e.lay()
	looks := 0
	done, err := e.net.run(func() bool { looks++; return looks == 3 })
	if done || err != nil || looks != 3 {
		t.Fatalf("a pass that was to stop: %v, %v, after %d looks", done, err, looks)
	}
	e.jobs[0].Next = 0
	if err := e.Admit(&b.call); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Step(t.Context()); err != nil {
		t.Fatal(err)
	}
	a.cancel = true
	for live := 2; live > 0; {
		if live, err = e.Step(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if !errors.Is(a.err, context.Canceled) || len(a.vector) > 0 || b.err != nil || len(b.vector) != 1 {
		t.Errorf("%v, %d vectors; %v, %d vectors", a.err, len(a.vector), b.err, len(b.vector))
	}
	if want := vectorsOf(t, e, "", someTokens(20, 3)); !slices.Equal(want[0], b.vector[0]) {
		t.Error("the vector beside a canceled call is another")
	}
}

// Who reads slowly holds up nobody, and is asked again.
func TestEncoderStalled(t *testing.T) {
	e := encoderOf(t, written(t, smallBert.write()), serval.TextSettings{})
	slow, other := ask(&serval.Encode{List: [][]int32{someTokens(5, 1)}}), ask(&serval.Encode{List: [][]int32{someTokens(5, 1)}})
	slow.room = 0
	for _, a := range []*answer{slow, other} {
		if err := e.Admit(&a.call); err != nil {
			t.Fatal(err)
		}
	}
	if live, err := e.Step(t.Context()); live != 1 || err != nil || !other.ended {
		t.Fatalf("%d, %v", live, err)
	}
	if live, err := e.Step(t.Context()); live != 1 || err != engine.ErrStalled {
		t.Fatalf("%d, %v", live, err)
	}
	slow.room = 1
	if live, err := e.Step(t.Context()); live != 0 || err != nil || !slow.ended || !slices.Equal(slow.vector[0], other.vector[0]) {
		t.Fatalf("%d, %v", live, err)
	}
}

// What it cannot take is refused by name.
func TestEncoderRefuses(t *testing.T) {
	e := encoderOf(t, written(t, smallBert.write()), serval.TextSettings{Context: 100, Slots: 2})
	for want, in := range map[string]serval.Input{
		"text 1 has 130 tokens; model 'm' takes 100, so it is 30 too long": &serval.Encode{List: [][]int32{{5}, someTokens(130, 1)}},
		"text 0 has no tokens": &serval.Encode{List: [][]int32{{}}},
		"text 0 has the token 320; model 'm' has the tokens 0 to 319": &serval.Encode{List: [][]int32{{320}}},
		"text 0 has the token -1":                                     &serval.Encode{List: [][]int32{{-1}}},
		`pooling "max" is not known`:                                  &serval.Encode{List: [][]int32{{1}}, Pooling: "max"},
		"pools by mean; it cannot pool by rank":                       &serval.Encode{List: [][]int32{{1}}, Pooling: "rank"},
		"makes vectors of texts, and no text":                         greedy([]int32{1}, 1),
	} {
		a := ask(in)
		if err := e.Admit(&a.call); err == nil || !strings.Contains(err.Error(), want) || serval.AsError(err).Code != serval.InvalidArgument {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if l := e.Language(); l.Context != 100 || l.Slots != 2 || !l.Embed || l.Rank || l.Generate || l.Width != 64 || l.Pooling != "mean" {
		t.Errorf("%+v", l)
	}
	for i, want := range []error{nil, nil, engine.ErrNoRoom} {
		a := ask(&serval.Encode{List: [][]int32{{1}}})
		if err := e.Admit(&a.call); err != want {
			t.Errorf("call %d: %v", i, err)
		}
	}
}

// What a damaged file makes of a text is an error, and a file that is cut short while its model is loaded another.
func TestEncoderDamaged(t *testing.T) {
	dir := written(t, smallBert.write())
	e := encoderOf(t, dir, serval.TextSettings{})
	e.layer[1].outNorm.bias[3] = float32(math.NaN())
	a := ask(&serval.Encode{List: [][]int32{someTokens(9, 1)}})
	if err := e.Admit(&a.call); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Step(t.Context()); err != nil || a.err == nil || !strings.Contains(a.err.Error(), "may be damaged") {
		t.Errorf("%v; %v", err, a.err)
	}
	if err := os.Truncate(filepath.Join(dir, "model.gguf"), 1000); err != nil {
		t.Fatal(err)
	}
	a = ask(&serval.Encode{List: [][]int32{someTokens(9, 1)}})
	if err := e.Admit(&a.call); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Step(t.Context()); err == nil || !strings.Contains(err.Error(), "was the model's file changed?") || !a.ended || a.err == nil {
		t.Errorf("%v; %v", err, a.err)
	}
}

// patchedBert is the small encoder with some bytes replaced.
func patchedBert(t testing.TB, old, with string) []byte {
	t.Helper()
	raw := smallBert.write()
	if n := bytes.Count(raw, []byte(old)); n != 1 {
		t.Fatalf("%q stands %d times in the file", old, n)
	}
	return bytes.Replace(raw, []byte(old), []byte(with), 1)
}

// What of an encoder is not known is declined, and what cannot be is refused, each by name.
func TestEncoderDeclined(t *testing.T) {
	causal := "bert.attention.causal\x07\x00\x00\x00"
	for _, c := range []struct {
		raw   []byte
		code  serval.Code
		words []string
	}{
		{patchedBert(t, causal+"\x00", causal+"\x01"), serval.Unimplemented, []string{"attention.causal", "engine: llama"}},
		{patchedBert(t, causal, "bert.attention.casual\x07\x00\x00\x00"), serval.Unimplemented, []string{"attention.causal"}},
		{patchedBert(t, number("bert.pooling_type", 1), number("bert.pooling_type", 9)), serval.Unimplemented, []string{"bert.pooling_type is 9"}},
		{patchedBert(t, number("bert.pooling_type", 1), number("bert.poolings_tip", 1)), serval.Unimplemented, []string{"does not know bert.poolings_tip"}},
		{patchedBert(t, "bert.attention.layer_norm_epsilon", "bert.attention.layer_norm_epsilom"), serval.Unimplemented, []string{"layer_norm_epsilo"}},
		{patchedBert(t, number("bert.pooling_type", 1), number("bert.pooling_type", 4)), serval.InvalidArgument, []string{"no tensor cls.output.weight"}},
		{patchedBert(t, positionName, "position_embx.weight"), serval.InvalidArgument, []string{"no tensor position_embd.weight"}},
		{patchedBert(t, typeName, "token_tapes.weight"), serval.Unimplemented, []string{"the tensor token_tapes.weight"}},
		{patchedBert(t, "blk.1.attn_k.bias", "blk.1.attn_k.bier"), serval.Unimplemented, []string{"the tensor blk.1.attn_k.bier"}},
		{patchedBert(t, "blk.0.ffn_down.weight", "blk.0.ffn_down.weighs"), serval.InvalidArgument, []string{"no tensor blk.0.ffn_down.weight"}},
		{patchedBert(t, "blk.1.layer_output_norm.bias", "blk.1.layer_output_norm.bier"), serval.InvalidArgument, []string{"no tensor blk.1.layer_output_norm.bias"}},
		{patchedBert(t, number("bert.context_length", 600), number("bert.context_length", 601)), serval.InvalidArgument, []string{"600 rows", "601"}},
		{tinyBert{arch: "jina-bert-v2", kind: gguf.Q8_0, heads: 1, head: 32, inner: 32, layer: 1}.write(), serval.Unimplemented, []string{"jina-bert-v2", "bert and nomic-bert", "engine: llama"}},
		{bytes.ReplaceAll(tinyBert{arch: nomicBert, kind: gguf.Q8_0, heads: 1, head: 32, inner: 32, layer: 1}.write(), []byte("blk.0.attn_q.bias"), []byte("blk.0.ffn_up.bias")), serval.Unimplemented, []string{"the tensor blk.0.ffn_up.bias"}},
	} {
		refused(t, c.raw, c.code, c.words...)
	}
}

// Hostile numbers are refused before anything is allocated for them.
func TestEncoderHostile(t *testing.T) {
	for key, list := range map[string][]uint32{
		"bert.block_count":          {0, 1, 3, 1 << 31, 1<<32 - 1},
		"bert.embedding_length":     {0, 31, 32, 1 << 16, 1<<32 - 1},
		"bert.feed_forward_length":  {0, 1, 95, 1 << 31},
		"bert.attention.head_count": {0, 1 << 20, 3, 64, 1 << 31},
		"bert.context_length":       {0, 1, 1 << 31, 1<<32 - 1},
	} {
		was := map[string]uint32{"bert.block_count": 2, "bert.embedding_length": 64, "bert.feed_forward_length": 96, "bert.attention.head_count": 2, "bert.context_length": 600}[key]
		for _, v := range list {
			m, err := New().Open(t.Context(), engine.Spec{Name: "m", Dir: written(t, patchedBert(t, number(key, was), number(key, v))), Threads: 1})
			if err == nil {
				_ = m.Close()
				t.Errorf("%s = %d was taken", key, v)
			}
		}
	}
}

// What it will take is said before it is loaded, and that is what it takes.
func TestEncoderPlan(t *testing.T) {
	dir := written(t, smallBert.write())
	p, err := New().Plan(engine.Spec{Name: "m", Dir: dir, Settings: serval.ModelSettings{Text: &serval.TextSettings{Context: 800, Cache: 100}}, Threads: 2})
	if err != nil || p.Context != 600 || p.Cache != 0 || p.Slots != encodeJobs || len(p.Parts) != 2 || p.Total != p.Parts[0].Bytes+p.Parts[1].Bytes || len(p.Advice) != 2 {
		t.Errorf("%+v, %v", p, err)
	}
	for field, s := range map[string]serval.ModelSettings{
		"options.kv":      {Options: map[string]string{"kv": "shared"}},
		"text.slots":      {Text: &serval.TextSettings{Slots: 1000}},
		"text.adapters.a": {Text: &serval.TextSettings{Adapters: map[string]string{"a": "a.gguf"}}},
	} {
		if _, err := New().Open(t.Context(), engine.Spec{Name: "m", Dir: dir, Settings: s, Threads: 1}); err == nil || serval.AsError(err).Param != field {
			t.Errorf("%s: %v", field, err)
		}
	}
	long := &bert{shape: shape{layers: 12, heads: 12, kvHeads: 12, head: 64, width: 768, inner: 3072, vocab: 30522, trained: maxContext, packed: 100 << 20}}
	long.rope.dims = 64
	q, err := makeBertPlan(long, &serval.ModelSettings{}, 2, 1<<30)
	if err != nil || !q.fits || q.context < 4096 || q.context > 1<<18 || len(q.advice) != 1 {
		t.Errorf("a context that the memory does not have: %+v, %v", q, err)
	}
	if q, err = makeBertPlan(long, &serval.ModelSettings{Text: &serval.TextSettings{Context: 1 << 22}}, 2, 1<<30); err != nil || q.fits || !strings.Contains(q.err("m").Error(), "text.context") {
		t.Errorf("%+v, %v", q, err)
	}
}
