package vocab

import (
	"bufio"
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write testdata/golden anew, by libllama and by Hugging Face's tokenizers")

// golden is what the reference makes of a text: a line of testdata/golden/NAME.jsonl.
type golden struct {
	Text   string  `json:"text"`
	IDs    []int32 `json:"ids"`             // with names of special tokens, nothing around
	Bare   []int32 `json:"bare,omitzero"`   // names are text, if that is something else
	Around []int32 `json:"around,omitzero"` // with what is added, if that is something else
}

// goldenTexts are short for the small tokenizers, whose files are many.
func goldenTexts(small bool, names []string) []string {
	if !small {
		return corpus(40, names)
	}
	var out []string
	for _, s := range corpus(30, names) {
		if len(s) < 70 {
			out = append(out, s)
		}
	}
	for i := len(out) - 40; i > 0; i-- { // every third of the rest
		if i%3 != 0 {
			out = slices.Delete(out, i, i+1)
		}
	}
	return out
}

// goldenModels are the whole models that have a golden file, by how they are found.
func goldenModels(t *testing.T) map[string]string {
	out := map[string]string{}
	if dir, err := os.UserCacheDir(); err == nil {
		for _, base := range []string{"serval-dev", "serval-test"} {
			for name, file := range map[string]string{"smollm2": "gguf/smollm2.gguf", "gemma3": "gguf/gemma3.gguf", "minilm": "tokjson/minilm/tokenizer.json"} {
				if path := filepath.Join(dir, base, file); exists(path) {
					out[name] = path
				}
			}
		}
	}
	small, err := filepath.Glob("testdata/small/*.json")
	if err != nil || len(small) == 0 {
		t.Fatal("testdata/small is empty")
	}
	for _, path := range small {
		out[nameOf(path)] = path
	}
	return out
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// TestGolden compares with what the references answered; those of whole models only where the model is.
func TestGolden(t *testing.T) {
	for name, path := range goldenModels(t) {
		t.Run(name, func(t *testing.T) {
			var v *Vocabulary
			if strings.HasSuffix(path, ".gguf") {
				v = loadGGUF(t, path)
			} else {
				v = loadJSON(t, path)
			}
			file := filepath.Join("testdata/golden", name+".jsonl")
			if *update {
				writeGolden(t, v, path, file)
			}
			lines := readGolden(t, file)
			if len(lines) < 30 {
				t.Fatalf("%s has only %d lines", file, len(lines))
			}
			for _, g := range lines {
				if g.Bare == nil {
					g.Bare = g.IDs
				}
				if g.Around == nil {
					g.Around = g.IDs
				}
				for _, c := range []struct {
					o    Options
					want []int32
				}{{Options{Special: true}, g.IDs}, {Options{}, g.Bare}, {Options{Around: true, Special: true}, g.Around}} {
					if got := v.Encode(nil, g.Text, c.o); !slices.Equal(got, c.want) {
						t.Errorf("%q %+v\n got %v %q\nwant %v %q", g.Text, c.o, got, spell(v, got), c.want, spell(v, c.want))
					}
				}
			}
		})
	}
}

func readGolden(t *testing.T, file string) (out []golden) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(bytes.NewReader(data))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var g golden
		if err := json.Unmarshal(lines.Bytes(), &g); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		out = append(out, g)
	}
	return out
}

// writeGolden asks the reference.
func writeGolden(t *testing.T, v *Vocabulary, path, file string) {
	var ask func(s string, o Options) []int32
	if strings.HasSuffix(path, ".gguf") {
		lib, vocab := theirVocabulary(t, path)
		ask = func(s string, o Options) []int32 { return lib.encode(vocab, s, o) }
	} else {
		h := openHugging(t, path)
		ask = func(s string, o Options) []int32 {
			a := h.ask(t, huggingAsk{A: s, Special: o.Special})
			if o.Around {
				return a.Around
			}
			return a.IDs
		}
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	for _, s := range goldenTexts(strings.HasPrefix(path, "testdata"), v.names()) {
		g := golden{Text: s, IDs: ask(s, Options{Special: true}), Bare: ask(s, Options{}), Around: ask(s, Options{Around: true, Special: true})}
		for _, other := range []*[]int32{&g.Bare, &g.Around} {
			if slices.Equal(*other, g.IDs) {
				*other = nil
			} else if *other == nil {
				*other = []int32{}
			}
		}
		if err := e.Encode(g); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}
