package vocab

import (
	"bytes"
	"flag"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode"

	"golang.org/x/text/unicode/norm"

	"serval/llm/gguf"
)

func loadGGUF(t testing.TB, path string) *Vocabulary {
	t.Helper()
	f, err := gguf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	v, err := FromGGUF(f)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// names are the tokens that are found by name, and a few that look like it.
func (v *Vocabulary) names() []string {
	var out []string
	for i := range v.tokens {
		if v.tokens[i].attr&(special|userDefined) != 0 {
			out = append(out, v.tokens[i].text)
		}
	}
	return append(out, "<s", "|>", "<|", "<unused", "  ", "\n\n")
}

// thorough makes the tests beside other libraries try all files in the cache, and many texts with each: 15 minutes.
var thorough = flag.Bool("thorough", false, "try all tokenizers in the cache beside libllama and Hugging Face's, with many texts")

// tries is how many random texts a tokenizer is tried with.
func tries(usual int) int {
	if *thorough {
		return 10 * usual
	}
	return usual
}

// usual are the files that are tried each time.
var usual = []string{"smollm2.gguf", "gemma3.gguf", "ggml-vocab-phi-3.gguf", "ggml-vocab-bert-bge.gguf", "ggml-vocab-gpt-2.gguf", "minilm", "qwen3"}

// TestLibllama compares with libllama on the files in the developer's cache: tokens, texts of tokens, ends.
func TestLibllama(t *testing.T) {
	for _, path := range ggufs(t) {
		if !*thorough && !slices.Contains(usual, filepath.Base(path)) {
			continue
		}
		t.Run(filepath.Base(path), func(t *testing.T) {
			v := loadGGUF(t, path)
			lib, vocab := theirVocabulary(t, path)
			compareTokens(t, v, lib, vocab)
			texts := corpus(tries(150), v.names())
			if strings.Contains(v.Kind(), "WordPiece") {
				texts = slices.DeleteFunc(texts, theirsIsWrong)
			}
			compareTexts(t, v, lib, vocab, texts)
		})
	}
}

// theirsIsWrong tells whether llama.cpp's reading of a text for BERT is known not to be the model's own: of a character that
// Unicode takes apart it keeps the first part only (so of each Korean syllable its first letter), and it drops all marks, where
// BERT drops those that take no room.
func theirsIsWrong(s string) bool {
	for _, r := range norm.NFD.String(s) {
		if unicode.In(r, unicode.Mc, unicode.Me) || 0x1161 <= r && r <= 0x11FF {
			return true
		}
	}
	return false
}

func compareTokens(t *testing.T, v *Vocabulary, lib *theirs, vocab uintptr) {
	bad := 0
	for id := range int32(v.Size()) {
		want := lib.text(vocab, id)
		// libllama gives up on a character that stands for no byte; here it stands for itself.
		if got := v.Piece(id); !bytes.Equal(got, want) && !bytes.HasPrefix(want, []byte("[UNK_BYTE_0x")) && bad < 10 {
			bad++
			t.Errorf("token %d, %q: its text is %q, libllama's %q", id, v.Name(id), got, want)
		}
		if got, want := v.IsEnd(id), lib.end(vocab, id); got != want {
			t.Errorf("token %d, %q: IsEnd is %v, libllama's %v", id, v.Name(id), got, want)
		}
		if got, want := v.IsSpecial(id), lib.attribute(vocab, id)&(1|8) != 0; got != want {
			t.Errorf("token %d, %q: IsSpecial is %v, libllama's attributes are %d", id, v.Name(id), got, lib.attribute(vocab, id))
		}
	}
	if bos, _ := v.BOS(); bos != lib.bos(vocab) {
		t.Errorf("BOS is %d, libllama's %d", bos, lib.bos(vocab))
	}
	if eos, _ := v.EOS(); eos != lib.eos(vocab) {
		t.Errorf("EOS is %d, libllama's %d", eos, lib.eos(vocab))
	}
}

func compareTexts(t *testing.T, v *Vocabulary, lib *theirs, vocab uintptr, texts []string) {
	bad, n := 0, 0
	for _, s := range texts {
		for _, o := range []Options{{}, {Special: true}, {Around: true, Special: true}} {
			n++
			got, want := v.Encode(nil, s, o), lib.encode(vocab, s, o)
			if slices.Equal(got, want) {
				continue
			}
			if bad++; bad <= 8 {
				t.Errorf("%q %+v\n got %v\nwant %v\n got %q\nwant %q", s, o, got, want, spell(v, got), spell(v, want))
			}
		}
	}
	if bad > 0 {
		t.Errorf("%d of %d differ", bad, n)
	}
}

func spell(v *Vocabulary, ids []int32) []string {
	var out []string
	for _, id := range ids {
		out = append(out, v.Name(id))
	}
	return out
}
