package vocab

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestVectors holds the tokenizers to llama.cpp's own test vectors (models/ggml-vocab-*.gguf.inp and .out of its source, which
// test/setup.sh fetches): texts between lines, and the tokens of each, without the ones that a prompt begins and ends with.
func TestVectors(t *testing.T) {
	found := 0
	for _, path := range ggufs(t) {
		in, err := os.ReadFile(path + ".inp")
		if err != nil {
			continue
		}
		found++
		t.Run(filepath.Base(path), func(t *testing.T) {
			out, err := os.ReadFile(path + ".out")
			if err != nil {
				t.Fatal(err)
			}
			v := loadGGUF(t, path)
			texts := strings.Split(string(in), "\n__ggml_vocab_test__\n")
			lines := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
			if texts[len(texts)-1] == "" { // after the last line
				texts = texts[:len(texts)-1]
			}
			if len(texts) != len(lines) || len(texts) < 40 {
				t.Fatalf("%d texts and %d lists of tokens", len(texts), len(lines))
			}
			for i, text := range texts {
				var want []int32
				for _, field := range strings.Fields(lines[i]) {
					id, err := strconv.ParseInt(field, 10, 32)
					if err != nil {
						t.Fatal(err)
					}
					want = append(want, int32(id))
				}
				if got := v.Encode(nil, text, Options{}); !slices.Equal(got, want) {
					t.Errorf("%q: %v, llama.cpp has %v", text, got, want)
				}
			}
		})
	}
	if found == 0 {
		t.Skip("no test vectors in the cache; test/setup.sh fetches them")
	}
}
