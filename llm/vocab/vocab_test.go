package vocab

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// small loads a tokenizer of testdata/small.
func small(t testing.TB, name string) *Vocabulary {
	t.Helper()
	return loadJSON(t, filepath.Join("testdata/small", name+".json"))
}

// allSmall are the names of testdata/small.
func allSmall(t testing.TB) []string {
	paths, err := filepath.Glob("testdata/small/*.json")
	if err != nil || len(paths) < 20 {
		t.Fatalf("testdata/small has %d files (%v)", len(paths), err)
	}
	var out []string
	for _, p := range paths {
		out = append(out, nameOf(p))
	}
	return out
}

// cachedGGUF loads a model's tokenizer from the developer's cache; nil when it is not there.
func cachedGGUF(t testing.TB, name string) *Vocabulary {
	dir, err := os.UserCacheDir()
	if err != nil {
		return nil
	}
	for _, base := range []string{"serval-test", "serval-dev"} {
		if path := filepath.Join(dir, base, "gguf", name+".gguf"); exists(path) {
			return loadGGUF(t, path)
		}
	}
	return nil
}

// TestRoundTrip: what bytes of text become is that text again.
func TestRoundTrip(t *testing.T) {
	all := map[string]*Vocabulary{"isolated": small(t, "split-isolated-blank"), "contiguous": small(t, "split-contiguous-digit"),
		"llama": small(t, "llama"), "gguf gpt2": ggufVocabulary(t, nil), "gguf spm": ggufVocabulary(t, spmFile)}
	for _, name := range []string{"smollm2", "gemma3"} {
		if v := cachedGGUF(t, name); v != nil {
			all[name] = v
		}
	}
	for name, v := range all {
		for _, s := range corpus(300, v.names()) {
			if strings.ContainsFunc(s, func(r rune) bool { return r < ' ' && len(v.Encode(nil, string(r), Options{})) == 0 }) {
				continue // SmolLM's vocabulary lacks a byte
			}
			if strings.Contains(s, spaceMark) && (strings.Contains(name, "gemma") || strings.Contains(name, "spm") || name == "llama") {
				continue // SentencePiece cannot tell it from a space
			}
			for _, o := range []Options{{}, {Special: true}, {Special: true, Around: true}} {
				ids := v.Encode(nil, s, o)
				if o.Around {
					ids = slices.DeleteFunc(ids, func(id int32) bool { return isAround(v, id) })
				}
				if o.Around && strings.ContainsAny(s, "<[") {
					continue
				}
				// llama's Prepend puts a space after each special token too, which nothing takes off.
				if got := v.Decode(ids, true); got != s && (name == "isolated" || !o.Special) {
					t.Errorf("%s %+v: %q became %q", name, o, s, got)
				}
			}
		}
	}
}

func isAround(v *Vocabulary, id int32) bool {
	return slices.ContainsFunc(v.single, func(s slot) bool { return s.id == id })
}

// TestLongRuns: what is the same a million times takes no quadratic time; such a test would not end.
func TestLongRuns(t *testing.T) {
	all := map[string]*Vocabulary{"gguf spm": ggufVocabulary(t, spmFile), "gguf gpt2": ggufVocabulary(t, nil)}
	for _, name := range allSmall(t) {
		all[name] = small(t, name)
	}
	for _, name := range []string{"smollm2", "gemma3"} {
		if v := cachedGGUF(t, name); v != nil && !testing.Short() {
			all[name] = v
		}
	}
	const n = 60_000
	for name, v := range all {
		for _, s := range []string{"a", "ab", " ", "\n", "1", "é", "\u0301", "<", "▁", "世", "'s", "[UNK]", "a\n"} {
			text := strings.Repeat(s, n/len(s))
			ids := v.Encode(nil, text, Options{Special: true})
			if len(ids) > n+1 {
				t.Errorf("%s: %d tokens for %d bytes", name, len(ids), len(text))
			}
		}
	}
	for _, p := range presetNames {
		split := p.make().split
		for _, s := range []string{"a", "A", " ", "\n", "1", "'", "a ", "!", "世", "\u0301"} {
			total := 0
			split.split(strings.Repeat(s, n), classes(), func(w string) { total += len(w) })
			if total != n*len(s) {
				t.Errorf("%s: the words of %q have %d bytes of %d", p.names, s, total, n*len(s))
			}
		}
	}
}

// TestMergeOrder compares both ways of merging with one that is plainly right.
func TestMergeOrder(t *testing.T) {
	v := small(t, "starcoder")
	b := &bpe{}
	*b = bpe{symbols: newSymbols(v.ids, len(v.tokens)), pairs: newPairs(5000), unk: noToken}
	r := rand.New(rand.NewPCG(3, 4))
	ranks := map[string]int32{}
	for range 3000 {
		left, right := randomOf(r, "abc", 1+r.IntN(4)), randomOf(r, "abc", 1+r.IntN(4))
		if _, twice := ranks[left+" "+right]; !twice {
			ranks[left+" "+right] = int32(r.IntN(2000))
			b.pairs.add(b.symbols.of(left), b.symbols.of(right), b.symbols.of(left+right), ranks[left+" "+right], false)
		}
	}
	for i := range 2000 {
		word := randomOf(r, "abc", 1+r.IntN(shortWord))
		var want []string
		for _, c := range word {
			want = append(want, string(c))
		}
		for {
			best, rank := -1, int32(1<<30)
			for k := range len(want) - 1 {
				if n, ok := ranks[want[k]+" "+want[k+1]]; ok && n < rank {
					best, rank = k, n
				}
			}
			if best < 0 {
				break
			}
			want[best] += want[best+1]
			want = slices.Delete(want, best+1, best+2)
		}
		for _, way := range []func(*scratch){b.short, func(s *scratch) { s.merge(b.may) }} {
			s := &scratch{}
			for k := range word {
				s.links = append(s.links, link{prev: int32(k) - 1, next: int32(k) + 1, from: int32(k), n: 1, id: b.symbols.of(word[k : k+1])})
			}
			s.links[len(word)-1].next = -1
			way(s)
			var got []string
			for _, l := range s.links {
				if l.n > 0 {
					got = append(got, word[l.from:l.from+l.n])
				}
			}
			if !slices.Equal(got, want) {
				t.Fatalf("word %d %q: %q, want %q", i, word, got, want)
			}
		}
	}
}

func randomOf(r *rand.Rand, chars string, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = chars[r.IntN(len(chars))]
	}
	return string(b)
}

// TestInvalidUTF8: a byte that is part of no character is U+FFFD.
func TestInvalidUTF8(t *testing.T) {
	for _, name := range allSmall(t) {
		v := small(t, name)
		for bad, good := range map[string]string{"a\xffb": "a\ufffdb", "\xe2\x82": "\ufffd\ufffd", "\xed\xa0\x80": "\ufffd\ufffd\ufffd",
			"\xc0\x80": "\ufffd\ufffd", "x\xf4\x90\x80\x80": "x\ufffd\ufffd\ufffd\ufffd"} {
			got, want := v.Encode(nil, bad, Options{}), v.Encode(nil, good, Options{})
			if !slices.Equal(got, want) {
				t.Errorf("%s: %q became %v and %q %v", name, bad, got, good, want)
			}
		}
	}
}

func TestAccessors(t *testing.T) {
	v := ggufVocabulary(t, nil)
	for _, id := range []int32{-1, int32(v.Size()), 1 << 30} {
		if v.Piece(id) != nil || v.Name(id) != "" || v.IsSpecial(id) || v.IsEnd(id) {
			t.Errorf("token %d is something", id)
		}
	}
	end, ok := v.Find("<|im_end|>")
	if !ok || !v.IsEnd(end) || !v.IsSpecial(end) || !slices.Contains(v.Ends(), end) || string(v.Piece(end)) != "<|im_end|>" {
		t.Errorf("<|im_end|> is token %d, ends are %v", end, v.Ends())
	}
	if bos, ok := v.BOS(); !ok || v.Name(bos) != "<s>" {
		t.Errorf("BOS is %d", bos)
	}
	got := v.Encode(nil, "a b<|im_end|>", Options{Around: true, Special: true})
	if names := fmt.Sprintf("%q", spell(v, got)); names != `["<s>" "a" "Ġb" "<|im_end|>"]` {
		t.Errorf("%s", names)
	}
	if s := v.Decode(got, false); s != "a b" {
		t.Errorf("decoded %q", s)
	}
	if s := v.Decode(got, true); s != "<s>a b<|im_end|>" {
		t.Errorf("decoded %q", s)
	}
	if n := v.Around(); n != 1 {
		t.Errorf("Around is %d", n)
	}
	// What is appended to stays.
	if got := v.Encode([]int32{7}, "a", Options{}); len(got) != 2 || got[0] != 7 {
		t.Errorf("%v", got)
	}
}

// TestConcurrent uses one vocabulary from many goroutines; the race detector watches.
func TestConcurrent(t *testing.T) {
	for _, v := range []*Vocabulary{small(t, "starcoder"), small(t, "unigram"), small(t, "bert-cased"), ggufVocabulary(t, spmFile)} {
		texts := corpus(100, nil)
		var want [][]int32
		for _, s := range texts {
			want = append(want, v.Encode(nil, s, Options{}))
		}
		var wait sync.WaitGroup
		for g := range 4 {
			wait.Go(func() {
				for i := range texts {
					k := (i*7 + g*13) % len(texts)
					if got := v.Encode(nil, texts[k], Options{}); !slices.Equal(got, want[k]) {
						t.Errorf("%q: %v, want %v", texts[k], got, want[k])
					}
				}
			})
		}
		wait.Wait()
	}
}
