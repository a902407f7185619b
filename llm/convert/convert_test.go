package convert

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"serval/internal/testkit"
	"serval/llm/gguf"
	"serval/llm/quantize"
	"serval/llm/safetensors"
	"serval/llm/vocab"
)

var cases = []string{"llama", "smollm", "mistral", "qwen2", "qwen3", "gemma2", "gemma3", "bert", "pieces"}

// golden is what testdata/make.py says of a case.
type golden struct {
	Source map[string][3]json.RawMessage
	Keys   map[string][2]json.RawMessage
	Files  map[string]map[string][3]json.RawMessage
}

// lay makes the folder of a case.
func lay(t testing.TB, name string, shards int) (dir string, g *golden) {
	t.Helper()
	dir, raw := testkit.TinyModel(t, name, shards)
	if err := json.Unmarshal(raw, &g); err != nil {
		t.Fatal(err)
	}
	return dir, g
}

// edit changes a JSON file of a folder.
func edit(t testing.TB, path string, change func(m map[string]any)) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatal(err)
	}
	change(m)
	if b, err = json.Marshal(m); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:16])
}

// converted converts a folder; kind "": as it is.
func converted(t testing.TB, dir, kind string) *gguf.File {
	t.Helper()
	o := Options{Dir: dir, Threads: 2}
	if kind != "" {
		r, err := quantize.Named(kind)
		if err != nil {
			t.Fatal(err)
		}
		o.Recipe = &r
	}
	m, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "out.gguf")
	if err := m.Save(context.Background(), gguf.Saving{Path: out}); err != nil {
		t.Fatal(err)
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	f, err := gguf.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// TestGolden holds every architecture, from one file and from several, to what llama.cpp's converter makes of the same folder.
func TestGolden(t *testing.T) {
	for i, name := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, g := lay(t, name, 1+i%3)
			sources(t, dir, g)
			for kind, want := range g.Files {
				f := converted(t, dir, kind)
				tensors(t, f, kind, want)
				if kind == "F32" {
					keys(t, f, name, g.Keys)
				}
			}
		})
	}
}

// sources checks that the test's own weights are make.py's.
func sources(t *testing.T, dir string, g *golden) {
	t.Helper()
	set, err := safetensors.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer set.Close()
	for _, x := range set.Tensors {
		b, err := io.ReadAll(set.Data(&x))
		if err != nil {
			t.Fatal(err)
		}
		if got := `"` + digest(b) + `"`; got != string(g.Source[x.Name][2]) {
			t.Fatalf("%s is not what make.py made", x.Name)
		}
	}
}

func tensors(t *testing.T, f *gguf.File, kind string, want map[string][3]json.RawMessage) {
	t.Helper()
	if len(f.Tensors) != len(want) {
		t.Errorf("%s: %d tensors, want %d", kind, len(f.Tensors), len(want))
	}
	for name, w := range want {
		x := f.Tensor(name)
		if x == nil {
			t.Errorf("%s: no tensor %s", kind, name)
			continue
		}
		data, err := io.ReadAll(f.Data(x))
		if err != nil {
			t.Fatal(err)
		}
		var theirs, sum string
		var shape []int64
		for i, into := range []any{&theirs, &shape, &sum} {
			if err := json.Unmarshal(w[i], into); err != nil {
				t.Fatal(err)
			}
		}
		if x.Type.String() != theirs || !slices.Equal(x.Shape, shape) || digest(data) != sum {
			t.Errorf("%s: %s is %s %v, want %s %v, or its data differs", kind, name, x.Type, x.Shape, theirs, shape)
		}
	}
}

// more are keys that are written and are not in llama.cpp's file, less are keys that are not written, by case; "*" stands for all.
// docs/decisions/0020 has the reasons.
var (
	more = map[string]string{
		"qwen2":   "qwen2.attention.key_length qwen2.attention.value_length",
		"gemma2":  "gemma2.rope.freq_base",
		"smollm":  "tokenizer.ggml.add_bos_token",
		"pieces":  "tokenizer.ggml.unknown_token_id",
		"mistral": "",
	}
	less = map[string]string{"smollm": "tokenizer.ggml.add_space_prefix"}
)

func keys(t *testing.T, f *gguf.File, name string, want map[string][2]json.RawMessage) {
	t.Helper()
	for _, key := range f.Keys() {
		if _, ok := want[key]; !ok && (!strings.HasPrefix(key, "general.") || strings.HasPrefix(key, "general.sampling.")) && key != "tokenizer.ggml.add_space_prefix" && !slices.Contains(strings.Fields(more[name]), key) {
			got, _ := f.Text(key)
			t.Errorf("%s is %s; llama.cpp's file does not have it", key, got)
		}
	}
	for key, w := range want {
		got, ok := shown(t, f, key)
		if !ok {
			if !slices.Contains(strings.Fields(less[name]), key) {
				t.Errorf("%s is not there, want %s", key, w[1])
			}
			continue
		}
		var theirs any
		if err := json.Unmarshal(w[1], &theirs); err != nil {
			t.Fatal(err)
		}
		if name == "bert" && key == "tokenizer.ggml.pre" {
			theirs = "default"
		}
		ours, err := json.Marshal(got)
		if err != nil {
			t.Fatal(err)
		}
		again, err := json.Marshal(theirs)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(ours, again) {
			t.Errorf("%s is %.300s, want %.300s", key, ours, again)
		}
		kind, array, _ := f.Kind(key)
		said := kind.String()
		if array {
			said = "array " + said
		}
		var theirKind string
		if err := json.Unmarshal(w[0], &theirKind); err != nil || said != theirKind {
			t.Errorf("%s is of kind %s, want %s", key, said, theirKind)
		}
	}
}

// shown is a key's value as make.py's describe has it.
func shown(t *testing.T, f *gguf.File, key string) (any, bool) {
	t.Helper()
	kind, array, ok := f.Kind(key)
	switch {
	case !ok:
		return nil, false
	case key == "tokenizer.ggml.tokens" || key == "tokenizer.ggml.merges":
		list, _ := f.Strings(key)
		return digest([]byte(strings.Join(list, "\n"))), true
	case key == "tokenizer.ggml.scores":
		list, _ := f.Floats(key)
		var b []byte
		for _, v := range list {
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
		}
		return digest(b), true
	case array && kind == gguf.String:
		list, _ := f.Strings(key)
		return list, true
	case array:
		list, _ := f.Ints(key)
		return list, true
	case kind == gguf.String:
		v, _ := f.String(key)
		return v, true
	case kind == gguf.Bool:
		v, _ := f.Bool(key)
		return v, true
	case kind == gguf.Float32:
		v, _ := f.Float(key)
		return v, true
	}
	v, _ := f.Int(key)
	return v, true
}

// TestAsItIs converts without a type: matrices stay what they are.
func TestAsItIs(t *testing.T) {
	for name, want := range map[string]gguf.Type{"llama": gguf.F32, "smollm": gguf.BF16, "mistral": gguf.F16} {
		dir, _ := lay(t, name, 1)
		f := converted(t, dir, "")
		if got := f.Tensor("blk.0.attn_q.weight").Type; got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
		if n, _ := f.Uint("general.file_type"); n != map[gguf.Type]uint64{gguf.F32: 0, gguf.F16: 1, gguf.BF16: 32}[want] {
			t.Errorf("%s: file type %d", name, n)
		}
		if got, _ := f.String("general.name"); got != name {
			t.Errorf("general.name is %q", got)
		}
	}
}

// TestUnigram makes vocabularies of Unigram that give the tokens of the libraries that they come from.
func TestUnigram(t *testing.T) {
	from := filepath.Join("testdata", "unigram")
	raw, err := os.ReadFile(filepath.Join(from, "golden.json"))
	if err != nil {
		t.Fatal(err)
	}
	var want map[string][][2]json.RawMessage
	if err := json.Unmarshal(raw, &want); err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{"json", "model"} {
		dir, _ := lay(t, "pieces", 1)
		for _, name := range []string{"tokenizer.model", "tokenizer_config.json"} {
			if err := os.Remove(filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
		b, err := os.ReadFile(filepath.Join(from, "tokenizer."+kind))
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, "tokenizer."+kind), b, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
		f := converted(t, dir, "")
		if got, _ := f.String("tokenizer.ggml.model"); got != "t5" {
			t.Errorf("%s: the vocabulary is %q", kind, got)
		}
		v, err := vocab.FromGGUF(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, pair := range want[kind] {
			var text string
			var ids []int32
			if err := errors.Join(json.Unmarshal(pair[0], &text), json.Unmarshal(pair[1], &ids)); err != nil {
				t.Fatal(err)
			}
			if got := v.Encode(nil, text, vocab.Options{}); !slices.Equal(got, ids) {
				t.Errorf("%s: %q is %v, want %v", kind, text, got, ids)
			}
		}
		if len(want[kind]) < 10 {
			t.Errorf("%s: only %d texts", kind, len(want[kind]))
		}
	}
}

// TestEnds lists tokens that end an answer, one of which nobody knows by its name.
func TestEnds(t *testing.T) {
	dir, _ := lay(t, "llama", 1)
	edit(t, filepath.Join(dir, "tokenizer.json"), func(m map[string]any) {
		m["added_tokens"].([]any)[1].(map[string]any)["content"] = "<|stop|>"
	})
	f := converted(t, dir, "")
	if id, ok := f.Uint("tokenizer.ggml.eot_token_id"); !ok || id != 361 {
		t.Errorf("eot_token_id is %d %v", id, ok)
	}
	v, err := vocab.FromGGUF(f)
	if err != nil {
		t.Fatal(err)
	}
	if got := v.Ends(); !slices.Equal(got, []int32{361, 362}) {
		t.Errorf("answers end with %v", got)
	}
}
