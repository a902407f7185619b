package vocab

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"serval/llm/gguf"
)

// prose is about 100 kB of text in which words repeat, as they do.
func prose() string {
	var b strings.Builder
	for b.Len() < 100_000 {
		for _, s := range samples {
			if len(s) < 200 && !strings.Contains(s, "<") {
				b.WriteString(s)
				b.WriteByte('\n')
			}
		}
	}
	return b.String()
}

// novel is English, from a README.
func novel(b *testing.B) string {
	data, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	if err != nil {
		b.Skip(err)
	}
	return strings.Repeat(string(data), 100_000/len(data)+1)
}

func BenchmarkEncode(b *testing.B) {
	all := map[string]*Vocabulary{}
	for _, name := range []string{"smollm2", "gemma3"} {
		if v := cachedGGUF(b, name); v != nil {
			all[name] = v
		}
	}
	for _, path := range documents(b) {
		if name := nameOf(path); name == "minilm" || name == "qwen3" || name == "llama3" {
			all[name] = loadJSON(b, path)
		}
	}
	for name, v := range all {
		for kind, text := range map[string]string{"mixed": prose(), "english": novel(b)} {
			b.Run(name+"/"+kind, func(b *testing.B) {
				b.SetBytes(int64(len(text)))
				b.ReportAllocs()
				var ids []int32
				for b.Loop() {
					ids = v.Encode(ids[:0], text, Options{})
				}
			})
		}
	}
}

func BenchmarkLoad(b *testing.B) {
	for _, path := range ggufs(b) {
		if name := filepath.Base(path); name != "smollm2.gguf" && name != "gemma3.gguf" {
			continue
		}
		b.Run(filepath.Base(path), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				f, err := gguf.Open(path)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := FromGGUF(f); err != nil {
					b.Fatal(err)
				}
				f.Close()
			}
		})
	}
}
