package test

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"serval/internal/testkit"
	"serval/llm/gguf"
)

// quantized is what model quantize says as JSON.
type quantized struct {
	Source, Result struct {
		Type, Path string
		Bytes      int64
		Bits       float64 `json:"bits_per_weight"`
	}
	Types         []struct{ Type string }
	Tensors       []struct{ Name, From, To string }
	Before, After *measuredText
	Notes         []string
}

type measuredText struct {
	Engine     string
	Perplexity float64
	Positions  int
	One        float64 `json:"single_tokens_per_second"`
	Many       float64 `json:"batched_tokens_per_second"`
	Prompt     float64 `json:"prompt_tokens_per_second"`
}

// shortModel is the chat model with its first layers only, in a models folder: it talks nonsense, and fast.
func shortModel(t *testing.T) (root, file string) {
	t.Helper()
	const layers = 3
	f, err := gguf.Open(testkit.GGUF(t, "smollm2.gguf"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	d := &gguf.Draft{}
	d.Inherit(f)
	d.Set("llama.block_count", gguf.Num(uint32(layers)))
	for i := range f.Tensors {
		x := &f.Tensors[i]
		if n, _, ok := strings.Cut(strings.TrimPrefix(x.Name, "blk."), "."); ok && strings.HasPrefix(x.Name, "blk.") && !slices.Contains([]string{"0", "1", "2"}, n) {
			continue
		}
		if err := d.Add(x.Name, x.Type, x.Shape); err != nil {
			t.Fatal(err)
		}
	}
	root = filepath.Join(t.TempDir(), "models")
	file = filepath.Join(root, "chat", "1", "model.gguf")
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	err = d.Save(t.Context(), gguf.Saving{Path: file, Data: func(_ context.Context, x *gguf.Tensor, w io.Writer) error {
		_, err := io.Copy(w, f.Data(f.Tensor(x.Name)))
		return err
	}})
	if err != nil {
		t.Fatal(err)
	}
	return root, file
}

// TestQuantizeMeasures writes a model in other bits and has it measured before and after, on the user's text.
func TestQuantizeMeasures(t *testing.T) {
	t.Parallel()
	_, in := shortModel(t)
	out, text := filepath.Join(t.TempDir(), "out.gguf"), filepath.Join(t.TempDir(), "text.txt")
	write(t, text, strings.Repeat("The quick brown fox jumps over the lazy dog, and the dog sleeps on. ", 12))
	var got quantized
	run(t, "model", "quantize", in, out, "--type", "Q8_0", "--requantize", "--text", text, "--threads", "1", "--callers", "2", "-o", "json").into(t, &got)
	a, b := got.Before, got.After
	if a == nil || b == nil || len(got.Notes) != 0 {
		t.Fatalf("before %v, after %v, notes %v", a, b, got.Notes)
	}
	// Eight bits of what had four are the same model.
	if a.Positions != b.Positions || a.Positions < 150 || a.Perplexity < 1.5 || b.Perplexity/a.Perplexity > 1.05 || b.Perplexity/a.Perplexity < 0.95 {
		t.Errorf("before %+v, after %+v", a, b)
	}
	for _, m := range []float64{a.One, a.Many, a.Prompt, b.One, b.Many, b.Prompt} {
		if m < 1 {
			t.Errorf("a speed of %g; before %+v, after %+v", m, a, b)
		}
	}
}

// TestQuantize writes a chat model in other bits, as a user does it, and serves what came out.
func TestQuantize(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	source, root := filepath.Join(chatModels(t), "chat", "1"), filepath.Join(dir, "models")
	out := filepath.Join(root, "eight", "1", "model.gguf")
	run(t, "model", "quantize", source, out, "--type", "Q8_0").want(t, 2, "quantised already", "tensors are Q4_1", "--requantize")
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("a refused source left %v", left)
	}
	var got quantized
	run(t, "model", "quantize", source, out, "--type", "q8_0", "--requantize", "--no-measure", "-o", "json").into(t, &got)
	info, err := os.Stat(out)
	if err != nil || info.Size() != got.Result.Bytes || got.Result.Path != out || got.Result.Type != "Q8_0" || got.Source.Type != "Q4_1" || got.Result.Bits < 8.5 || got.Result.Bits > 8.6 {
		t.Errorf("%v, %+v", err, got)
	}
	if len(got.Types) != 2 || len(got.Tensors) != 272 || len(got.Notes) != 0 || got.Before != nil || got.After != nil {
		t.Errorf("types %v, %d tensors, notes %v, measured %v and %v", got.Types, len(got.Tensors), got.Notes, got.Before, got.After)
	}
	run(t, "model", "quantize", source, out, "--type", "Q4_0", "--requantize", "--no-measure").want(t, 1, out+" is there already", "--force")
	four := filepath.Join(root, "four", "1", "model.gguf")
	keep := []string{"model", "quantize", out, four, "--type", "Q4_K_S", "--requantize", "--no-measure"}
	for _, part := range []string{"token_embd", "blk.*.ffn_[gu]*", "blk.*.attn_[qvo]*"} {
		keep = append(keep, "--keep", part+".weight=Q8_0") // which is copied: it costs no time
	}
	run(t, keep...).want(t, 0, "Q4_K_S", "Q4_K  ", "Q5_K", "Q8_0", "30 matrices are Q5_0 and not Q4_K: their rows of 576 columns")
	for _, name := range []string{"eight", "four"} {
		write(t, filepath.Join(root, name, "model.yaml"), "threads: 1\ntext: {context: 256, slots: 2}\n")
	}
	s := testkit.Serve(t, testkit.Options{Models: root})
	for _, name := range []string{"eight", "four"} {
		ask(t, "POST", s.URL("/v1/chat/completions"), `{"model":"`+name+`","max_tokens":16,"temperature":0,"messages":[{"role":"system","content":"You are a helpful assistant who knows the capitals of all countries and answers in one short sentence."},{"role":"user","content":"What is the capital of France?"}]}`).want(t, 200, "Paris")
	}
}

func TestQuantizeWrongly(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	model, bad := filepath.Join(chatModels(t), "chat", "1", "model.gguf"), filepath.Join(dir, "bad.gguf")
	write(t, bad, strings.Repeat("GGUF\x03", 100))
	link(t, model, filepath.Join(dir, "link.gguf"))
	out := filepath.Join(dir, "out.gguf")
	for line, words := range map[string][]string{
		model + " " + out:                                                       {"--type", "Q8_0"},
		model + " " + out + " --type Q9":                                        {"--type", `"Q9"`, "Q4_K_M", "F16"},
		model + " " + out + " --type Q8_0 --keep x":                             {"--keep", "NAME=TYPE"},
		model + " " + out + " --type Q8_0 --requantize --keep none=Q8_0":        {"no matrix", "none"},
		model + " " + out + " --type Q8_0 --requantize -o xml":                  {"xml", "json"},
		model + " " + out + " --type Q8_0 --requantize --text " + dir + "/none": {"none"},
		model + " " + out + " --type Q8_0 --requantize --callers 0":             {"--callers"},
		model + " " + dir + " --type Q8_0 --requantize":                         {"is a folder", "model.gguf"},
		model + " " + dir + "/x-00001-of-00002.gguf --type Q8_0 --requantize":   {"part of a split model"},
		model + " " + dir + "/link.gguf --type Q8_0 --requantize --force":       {"is the source"},
		bad + " " + out + " --type Q8_0":                                        {"bad.gguf", "at byte"},
		filepath.Join(dir, "none.gguf") + " " + out + " --type Q8_0":            {"none.gguf"},
		filepath.Join(dir, "empty") + " " + out + " --type Q8_0":                {"empty"},
	} {
		run(t, append([]string{"model", "quantize"}, strings.Fields(line)...)...).want(t, 2, words...)
	}
	if _, err := os.Stat(out); err == nil {
		t.Error("a refused command wrote its file")
	}
}

// TestTuneText compares types, threads and slots of a chat model.
func TestTuneText(t *testing.T) {
	t.Parallel()
	root, _ := shortModel(t)
	text := filepath.Join(t.TempDir(), "text.txt")
	write(t, text, strings.Repeat("The quick brown fox jumps over the lazy dog, and the dog sleeps on. ", 12))
	own := filepath.Join(root, "chat", "model.yaml")
	write(t, own, "# mine\ntext: {context: 256}\n")
	type trial struct {
		Type           string
		Threads, Slots int
		Perplexity     float64
		Loss           float64
		Total          float64 `json:"total_tokens_per_second"`
		Meets          bool    `json:"meets_target"`
	}
	var got struct {
		Type   string
		Best   trial
		Trials []trial
		Notes  []string
	}
	tune := []string{"model", "tune", "chat", "--models", root, "--callers", "2", "--threads", "1", "--text", text, "-o", "json"}
	run(t, append(tune, "--types", "Q8_0", "--slots", "2", "--requantize", "--dry-run")...).into(t, &got)
	if got.Type != "Q4_1" || len(got.Trials) != 2 || len(got.Notes) != 0 || got.Trials[1].Type != "Q8_0" || got.Trials[1].Threads != 1 || got.Trials[1].Slots != 2 {
		t.Fatalf("%+v", got)
	}
	for _, x := range got.Trials {
		if x.Total < 1 || x.Perplexity < 1 || x.Loss > 0.05 || x.Loss < -0.05 {
			t.Errorf("%+v", x)
		}
	}
	if raw, _ := os.ReadFile(own); string(raw) != "# mine\ntext: {context: 256}\n" {
		t.Errorf("--dry-run wrote %q", raw)
	}
	run(t, append(tune, "--slots", "1,2")...).into(t, &got)
	if len(got.Trials) != 2 || got.Best.Type != "Q4_1" || len(got.Notes) != 1 || !strings.Contains(got.Notes[0], "--requantize") {
		t.Errorf("%+v", got)
	}
	if raw, _ := os.ReadFile(own); !strings.Contains(string(raw), "# mine") || !strings.Contains(string(raw), "threads: 1") || !strings.Contains(string(raw), "slots: ") {
		t.Errorf("model.yaml is %q", raw)
	}
	run(t, append(tune, "--p99", "5ms")...).want(t, 2, "--p99 is for models of tensors")
	run(t, append(tune, "--types", "Q9")...).want(t, 2, "--types", "Q9", "Q4_K_M")
}
