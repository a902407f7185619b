package vocab

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// withPre is a GGUF file whose tokenizer.ggml.pre is another one.
func withPre(t *testing.T, data []byte, pre string) string {
	t.Helper()
	name := []byte("tokenizer.ggml.pre")
	at := bytes.Index(data, name)
	if at < 0 {
		t.Fatal("the file has no tokenizer.ggml.pre")
	}
	at += len(name) + 4 // the kind
	n := int(binary.LittleEndian.Uint64(data[at:]))
	out := append([]byte(nil), data[:at]...)
	out = binary.LittleEndian.AppendUint64(out, uint64(len(pre)))
	out = append(out, pre...)
	out = append(out, data[at+8+n:]...)
	path := filepath.Join(t.TempDir(), "vocab.gguf")
	if err := os.WriteFile(path, out, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestPresets compares each way to cut text into words with libllama's, on GPT-2's vocabulary.
func TestPresets(t *testing.T) {
	var data []byte
	for _, path := range ggufs(t) {
		if strings.HasSuffix(path, "ggml-vocab-gpt-2.gguf") {
			var err error
			if data, err = os.ReadFile(path); err != nil {
				t.Fatal(err)
			}
		}
	}
	if data == nil {
		t.Skip("no ggml-vocab-gpt-2.gguf in the cache")
	}
	texts := corpus(tries(40), nil)
	for _, p := range presetNames {
		pre := strings.Fields(p.names)[0]
		if p.make().raw {
			continue // needs another kind of vocabulary
		}
		t.Run(pre, func(t *testing.T) {
			path := withPre(t, data, pre)
			v := loadGGUF(t, path)
			lib, vocab := theirVocabulary(t, path)
			compareTexts(t, v, lib, vocab, texts)
		})
	}
}
