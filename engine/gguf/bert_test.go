package gguf

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"serval"
	"serval/engine"
	"serval/internal/testkit"
	"serval/llm/vocab"
)

// minilm is all-MiniLM-L6-v2, as test/setup.sh wrote it, with 16 or 32 bits a weight.
func minilm(t testing.TB, bits string) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(cache, "serval-test", "minilm-gguf", "minilm-f"+bits+".gguf")
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("%v; make setup writes it", err)
	}
	return folder(t, path)
}

func encoderOf(t testing.TB, dir string, text serval.TextSettings) *encoder {
	t.Helper()
	return opened(t, New(), dir, text, 2).(*encoder)
}

// golden are texts, and the vectors that sentence-transformers makes of them, of length 1.
func golden(t testing.TB) (texts []string, vectors [][]float32) {
	t.Helper()
	dir := filepath.Join(testkit.Root(), "test", "python", "minilm")
	raw, err := os.ReadFile(filepath.Join(dir, "golden.json"))
	if err != nil {
		t.Fatal(err)
	}
	var said struct {
		Texts  []string
		Tokens []int
	}
	if err := json.Unmarshal(raw, &said); err != nil {
		t.Fatal(err)
	}
	if raw, err = os.ReadFile(filepath.Join(dir, "golden.f32")); err != nil {
		t.Fatal(err)
	}
	width := len(raw) / 4 / len(said.Texts)
	for i, text := range said.Texts {
		v := make([]float32, width)
		for j := range v {
			v[j] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*(i*width+j):]))
		}
		if said.Tokens[i] < 256 && text != said.Texts[15] { // sentence-transformers cut longer ones, and its tokenizer gives up words of more than 100 letters
			texts, vectors = append(texts, text), append(vectors, v)
		}
	}
	return texts, vectors
}

// unit is a vector scaled to length 1.
func unit(v []float32) []float32 {
	sum := 0.0
	for _, x := range v {
		sum += float64(x) * float64(x)
	}
	out := make([]float32, len(v))
	for i, x := range v {
		out[i] = float32(float64(x) / math.Sqrt(sum))
	}
	return out
}

// apart is the most that two vectors differ by in a number.
func apart(a, b []float32) (most float64) {
	if len(a) != len(b) {
		return math.Inf(1)
	}
	for i := range a {
		most = max(most, math.Abs(float64(a[i])-float64(b[i])))
	}
	return most
}

// vectorsOf asks for some texts in one call.
func vectorsOf(t testing.TB, d engine.Decoder, pooling string, texts ...[]int32) [][]float32 {
	t.Helper()
	a := ask(&serval.Encode{List: texts, Pooling: pooling})
	run(t, d, a)
	return a.vector
}

// Vectors of a real model are sentence-transformers' and llama.cpp's.
func TestMiniLM(t *testing.T) {
	for _, bits := range []string{"32", "16"} {
		t.Run("F"+bits, func(t *testing.T) {
			dir := minilm(t, bits)
			e := encoderOf(t, dir, serval.TextSettings{})
			peer := theirs(t, dir, serval.TextSettings{}, 2)
			words, err := vocab.FromGGUF(e.f)
			if err != nil {
				t.Fatal(err)
			}
			texts, want := golden(t)
			var lists [][]int32
			for _, text := range texts {
				lists = append(lists, words.Encode(nil, text, vocab.Options{Around: true}))
			}
			mine, other := vectorsOf(t, e, "", lists...), vectorsOf(t, peer, "", lists...)
			var golden, llama, theirs float64
			for i := range lists {
				golden = max(golden, apart(unit(mine[i]), want[i]))
				llama = max(llama, apart(unit(mine[i]), unit(other[i])))
				theirs = max(theirs, apart(unit(other[i]), want[i]))
			}
			t.Logf("%.2g from sentence-transformers, %.2g from llama.cpp, which is %.2g from sentence-transformers", golden, llama, theirs)
			exact, off := exactOf(t, e), 0.0
			for i := range 2 {
				off = max(off, apart(unit(mine[i]), unit(exact.vector(lists[i], nil, "mean"))))
			}
			// Rounding the weights to 16 bits is what takes the one file away; llama.cpp's GELU is a table of the approximation by tanh.
			if limit := map[string]float64{"32": 2e-6, "16": 3e-4}[bits]; golden > limit || off > 2e-6 || llama > 5e-4 {
				t.Errorf("that is too much, or %.2g from the exact of this file is", off)
			}
		})
	}
}

// BenchmarkEncoder is vectors of texts of 80 tokens, one and 16 calls at a time, by this engine and by llama.cpp. SERVAL_BENCH_GGUF names
// another file than MiniLM of 32 bits, SERVAL_BENCH_OWN leaves llama.cpp out.
func BenchmarkEncoder(b *testing.B) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4 * runtime.NumCPU()))
	dir := minilm(b, "32")
	if path := os.Getenv("SERVAL_BENCH_GGUF"); path != "" {
		dir = folder(b, path)
	}
	models := map[string]engine.Decoder{"own": encoderOf(b, dir, serval.TextSettings{})}
	if os.Getenv("SERVAL_BENCH_OWN") == "" {
		models["llama"] = theirs(b, dir, serval.TextSettings{}, 2)
	}
	for name, d := range models {
		for _, calls := range []int{1, 16} {
			b.Run(fmt.Sprintf("%s/%d", name, calls), func(b *testing.B) {
				list := make([]*answer, calls)
				for b.Loop() {
					for i := range list {
						list[i] = ask(&serval.Encode{List: [][]int32{tokensOf(80, i)}})
					}
					run(b, d, list...)
				}
				b.ReportMetric(float64(calls*b.N)/b.Elapsed().Seconds(), "texts/s")
			})
		}
	}
}

// tokensOf are some of a real vocabulary.
func tokensOf(n, seed int) []int32 {
	out := make([]int32, n)
	for i := range out {
		out[i] = int32(2000 + (seed*7919+i*104729)%20000)
	}
	return out
}
