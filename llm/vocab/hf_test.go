package vocab

import (
	"bufio"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// hugging is Hugging Face's tokenizers, in a Python process.
type hugging struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

type huggingAsk struct {
	A       string  `json:"a"`
	B       *string `json:"b,omitempty"`
	Special bool    `json:"special"`
}

type huggingAnswer struct {
	IDs, Around, Pair, Types []int32
	Text                     string
}

// openHugging starts the process; without a Python that has the library the test is skipped.
func openHugging(t testing.TB, path string) *hugging {
	dir, err := os.UserCacheDir()
	if err != nil {
		t.Skip(err)
	}
	for _, venv := range []string{"serval-test/venv-tok", "serval-dev/venv-tok"} {
		python := filepath.Join(dir, venv, "bin", "python")
		if _, err := os.Stat(python); err != nil {
			continue
		}
		h := &hugging{cmd: exec.Command(python, "testdata/hf.py", path)}
		h.cmd.Stderr = os.Stderr
		if h.in, err = h.cmd.StdinPipe(); err != nil {
			t.Fatal(err)
		}
		out, err := h.cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		h.out = bufio.NewReaderSize(out, 1<<20)
		if err := h.cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			h.in.Close()
			h.cmd.Wait()
		})
		return h
	}
	t.Skip("no Python with tokenizers in the cache")
	return nil
}

func (h *hugging) ask(t testing.TB, q huggingAsk) (a huggingAnswer) {
	t.Helper()
	line, err := json.Marshal(q)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.in.Write(append(line, '\n')); err != nil {
		t.Fatal(err)
	}
	got, err := h.out.ReadBytes('\n')
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(got, &a); err != nil {
		t.Fatal(err)
	}
	return a
}

// documents are the small tokenizers of testdata, and the tokenizer.json files in the developer's cache.
func documents(t testing.TB) []string {
	dir, err := os.UserCacheDir()
	if err != nil {
		t.Skip(err)
	}
	out, _ := filepath.Glob("testdata/small/*.json")
	for _, p := range []string{"serval-test/tokjson/*/tokenizer.json", "serval-dev/tokjson/*/tokenizer.json"} {
		found, _ := filepath.Glob(filepath.Join(dir, p))
		for _, f := range found {
			if !slices.ContainsFunc(out, func(o string) bool { return nameOf(o) == nameOf(f) }) {
				out = append(out, f)
			}
		}
	}
	return out
}

// nameOf is the name of a tokenizer.json: its folder's, unless it has one of its own.
func nameOf(document string) string {
	if name := filepath.Base(document); name != "tokenizer.json" {
		return strings.TrimSuffix(name, ".json")
	}
	return filepath.Base(filepath.Dir(document))
}

func loadJSON(t testing.TB, path string) *Vocabulary {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	config, err := os.ReadFile(filepath.Join(filepath.Dir(path), "tokenizer_config.json"))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	v, err := FromJSON(data, config)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// TestHuggingFace compares with Hugging Face's tokenizers on all files in the developer's cache.
func TestHuggingFace(t *testing.T) {
	for _, path := range documents(t) {
		if !*thorough && !strings.HasPrefix(path, "testdata") && !slices.Contains(usual, nameOf(path)) {
			continue
		}
		t.Run(nameOf(path), func(t *testing.T) {
			h := openHugging(t, path)
			v := loadJSON(t, path)
			texts := corpus(tries(100), v.names())
			bad := 0
			differ := func(what, s string, got, want []int32) {
				if slices.Equal(got, want) {
					return
				}
				if bad++; bad <= 8 {
					t.Errorf("%s of %q\n got %v\nwant %v\n got %q\nwant %q", what, s, got, want, spell(v, got), spell(v, want))
				}
			}
			for i, s := range texts {
				b := texts[(i+7)%len(texts)]
				a := h.ask(t, huggingAsk{A: s, B: &b, Special: true})
				ids := v.Encode(nil, s, Options{Special: true})
				differ("ids", s, ids, a.IDs)
				// Theirs has U+FFFD for bytes that are no character.
				if text := v.Decode(ids, true); !undecoded[nameOf(path)] && utf8.ValidString(text) && text != a.Text {
					if bad++; bad <= 8 {
						t.Errorf("%v %q became %q, theirs %q", ids, spell(v, ids), text, a.Text)
					}
				}
				differ("ids around", s, v.Encode(nil, s, Options{Special: true, Around: true}), a.Around)
				pair, types, ok := v.EncodePair(nil, nil, s, b, true)
				if !ok {
					t.Error("EncodePair is not ok")
				}
				differ("pair", s+" | "+b, pair, a.Pair)
				differ("types", s+" | "+b, types, a.Types)
				if i%3 == 0 {
					a = h.ask(t, huggingAsk{A: s})
					differ("ids without special", s, v.Encode(nil, s, Options{}), a.IDs)
				}
			}
			if bad > 0 {
				t.Errorf("%d of %d differ", bad, len(texts))
			}
		})
	}
}

// undecoded are tokenizers whose tokens become text in a way that needs all of it at once, and so is not ours: WordPiece's is
// tidied up, without a decoder words are joined by spaces, BPEDecoder's last word loses its space, and a name that was found in
// normalized text is given as it was normalized.
var undecoded = map[string]bool{"minilm": true, "bert-cased": true, "bert-plain": true, "wordpiece-normal": true, "bpe-prefix": true,
	"bpe-suffix": true, "digits": true}
