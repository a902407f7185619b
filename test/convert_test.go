package test

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"serval/internal/testkit"
)

// conversion is what model convert says with -o json.
type conversion struct {
	File, Architecture, Type string
	Bytes, Weights           int64
	Tokens                   int
	Notes                    []string
}

// TestConvert converts all-MiniLM-L6-v2, which must give the very vectors that the file of the reference gives, and a tiny llama,
// which both engines must continue as transformers does.
func TestConvert(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	tiny, raw := testkit.TinyModel(t, "llama", 2)
	var golden struct {
		Tokens []int32
		Next   [2]float64 // the most likely token, and its log-probability
	}
	if err := json.Unmarshal(raw, &golden); err != nil {
		t.Fatal(err)
	}
	source := cache(t, "minilm-gguf", "source")
	for _, kind := range []string{"f32", "f16"} {
		for _, model := range []string{"theirs-" + kind, "ours-" + kind} {
			write(t, filepath.Join(root, model, "model.yaml"), "threads: 1\n")
		}
		if err := os.Symlink(cache(t, "minilm-gguf", "minilm-"+kind+".gguf"), filepath.Join(root, "theirs-"+kind, "model.gguf")); err != nil {
			t.Fatal(err)
		}
		out := filepath.Join(root, "ours-"+kind, "model.gguf")
		run(t, "model", "convert", source, out, "--type", kind).want(t, 0, out, "bert", strings.ToUpper(kind), "22.6 M weights", "30522 tokens")
	}
	for _, engine := range []string{"gguf", "llama"} {
		dir := filepath.Join(root, "tiny-"+engine)
		write(t, filepath.Join(dir, "model.yaml"), "engine: "+engine+"\nthreads: 1\ntext: {context: 64, slots: 1}\n")
		var said conversion
		out := filepath.Join(dir, "model.gguf")
		run(t, "model", "convert", tiny, out, "-o", "json").into(t, &said)
		info, err := os.Stat(out)
		if err != nil || said.File != out || said.Architecture != "llama" || said.Type != "F32" || said.Bytes != info.Size() || said.Tokens != 363 || len(said.Notes) != 0 {
			t.Errorf("%+v of %v %v", said, info, err)
		}
	}

	s := testkit.Serve(t, testkit.Options{Race: true, Models: root})
	texts := `["a cat", "The quick brown fox jumps over the lazy dog.", "Größe naïve 我能吞下玻璃", ""]`
	for _, kind := range []string{"f32", "f16"} {
		ours, theirs := vectors(t, s, "ours-"+kind, texts), vectors(t, s, "theirs-"+kind, texts)
		if len(ours) != 4 || len(ours[0]) != 384 || !slices.EqualFunc(ours, theirs, slices.Equal[[]float64]) {
			t.Errorf("%s: the vectors are not those of the reference's file", kind)
		}
	}
	prompt, err := json.Marshal(golden.Tokens)
	if err != nil {
		t.Fatal(err)
	}
	for _, engine := range []string{"gguf", "llama"} {
		a := ask(t, "POST", s.URL("/v1/completions"), fmt.Sprintf(`{"model": "tiny-%s", "prompt": %s, "max_tokens": 1, "temperature": 0, "logprobs": 1}`, engine, prompt))
		var got struct {
			Choices []struct {
				Logprobs struct {
					TokenLogprobs []float64 `json:"token_logprobs"`
				}
			}
		}
		if err := json.Unmarshal([]byte(a.body), &got); err != nil || len(got.Choices) != 1 || len(got.Choices[0].Logprobs.TokenLogprobs) != 1 {
			t.Fatalf("%s: %v %s", engine, err, clip(a.body))
		}
		if p := got.Choices[0].Logprobs.TokenLogprobs[0]; math.Abs(p-golden.Next[1]) > 0.01 {
			t.Errorf("%s: the log-probability of the next token is %g, by transformers %g", engine, p, golden.Next[1])
		}
		ask(t, "POST", s.URL("/v1/chat/completions"), `{"model": "tiny-`+engine+`", "messages": [{"role": "user", "content": "Hi."}], "max_tokens": 4}`).want(t, 200, `"prompt_tokens":`)
	}
}

// vectors are what a model makes of texts.
func vectors(t *testing.T, s *testkit.Server, model, texts string) [][]float64 {
	t.Helper()
	a := ask(t, "POST", s.URL("/v1/embeddings"), `{"model": "`+model+`", "input": `+texts+`}`)
	var got struct {
		Data []struct{ Embedding []float64 }
	}
	if err := json.Unmarshal([]byte(a.body), &got); err != nil {
		t.Fatalf("%s: %v %s", model, err, clip(a.body))
	}
	var out [][]float64
	for _, d := range got.Data {
		out = append(out, d.Embedding)
	}
	return out
}

// TestConvertRefusals are folders and command lines that are wrong. Nothing is written.
func TestConvertRefusals(t *testing.T) {
	t.Parallel()
	dir, _ := testkit.TinyModel(t, "qwen2", 1)
	at := t.TempDir()
	out := filepath.Join(at, "out.gguf")
	convert := func(more ...string) said { return run(t, append([]string{"model", "convert", dir, out}, more...)...) }
	run(t, "model", "convert", dir).want(t, 2, "accepts 2 arg(s)")
	run(t, "model", "convert", filepath.Join(dir, "none"), out).want(t, 2, "no such file")
	run(t, "model", "convert", filepath.Join(dir, "config.json"), out).want(t, 2, "is no folder", "config.json")
	run(t, "model", "convert", dir, at).want(t, 2, "is a folder; name the file")
	run(t, "model", "convert", at, out).want(t, 2, "config.json", "is it the folder of a model")
	convert("--type", "Q9").want(t, 2, `--type: there is no type "Q9"`, "Q8_0")
	convert("-o", "xml").want(t, 2, "use table or json")
	convert("--threads", "0").want(t, 2, "--threads 0")

	config := filepath.Join(dir, "config.json")
	good, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	write(t, config, strings.Replace(string(good), "{", `{"mamba_layers": [1],`, 1))
	convert().want(t, 2, "config.json: mamba_layers is [1], which may change the net and is not known", "--ignore mamba_layers")
	if left, err := os.ReadDir(at); err != nil || len(left) != 0 {
		t.Fatalf("%v stayed behind", left)
	}
	convert("--ignore", "mamba_layers", "--name", "Qwen the Small").want(t, 0, "qwen2, BF16")
	run(t, "model", "convert", dir, filepath.Join(dir, "a", "b", "out.gguf"), "--ignore", "mamba_layers").want(t, 0, "qwen2, BF16")
	convert("--ignore", "mamba_layers").want(t, 2, "is there already", "--force")
	convert("--ignore", "mamba_layers", "--force", "--type", "q8_0").want(t, 0, "qwen2, Q8_0")
	if left, err := os.ReadDir(at); err != nil || len(left) != 1 {
		t.Errorf("%v is there, not the file alone", left)
	}
}
