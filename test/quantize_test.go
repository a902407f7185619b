package test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"serval/internal/testkit"
)

// TestQuantize writes a chat model in other bits, as a user does it, and serves what came out.
func TestQuantize(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	source, root := filepath.Join(chatModels(t), "chat", "1"), filepath.Join(dir, "models")
	out, text := filepath.Join(root, "eight", "1", "model.gguf"), filepath.Join(dir, "text.txt")
	licence, err := os.ReadFile(filepath.Join(testkit.Root(), "LICENSE"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, text, string(licence[:2000]))
	run(t, "model", "quantize", source, out, "--type", "Q8_0").want(t, 2, "quantised already", "tensors are Q4_1", "--requantize")
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Errorf("a refused source left %v", left)
	}
	var got struct {
		Source, Result struct {
			Type, Path string
			Bytes      int64
			Bits       float64 `json:"bits_per_weight"`
		}
		Types         []struct{ Type string }
		Tensors       []struct{ Name, From, To string }
		Before, After struct {
			Engine     string
			Perplexity float64
			Positions  int
			One        float64 `json:"single_tokens_per_second"`
			Many       float64 `json:"batched_tokens_per_second"`
			Prompt     float64 `json:"prompt_tokens_per_second"`
		}
		Notes []string
	}
	run(t, "model", "quantize", source, out, "--type", "q8_0", "--requantize", "--text", text, "--threads", "1", "--callers", "2", "-o", "json").into(t, &got)
	info, err := os.Stat(out)
	if err != nil || info.Size() != got.Result.Bytes || got.Result.Path != out || got.Result.Type != "Q8_0" || got.Source.Type != "Q4_1" || got.Result.Bits < 8.5 || got.Result.Bits > 8.6 {
		t.Errorf("%v, %+v", err, got)
	}
	if len(got.Types) != 2 || len(got.Tensors) != 272 || len(got.Notes) != 0 {
		t.Errorf("types %v, %d tensors, notes %v", got.Types, len(got.Tensors), got.Notes)
	}
	// Eight bits of what had four are the same model, on some hundred positions.
	a, b := got.Before, got.After
	if a.Positions != b.Positions || a.Positions < 200 || a.Perplexity < 1.5 || a.Perplexity > 100 || b.Perplexity/a.Perplexity > 1.03 || b.Perplexity/a.Perplexity < 0.97 {
		t.Errorf("before %+v, after %+v", a, b)
	}
	for _, m := range []float64{a.One, a.Many, a.Prompt, b.One, b.Many, b.Prompt} {
		if m < 1 {
			t.Errorf("a speed of %g; before %+v, after %+v", m, a, b)
		}
	}
	run(t, "model", "quantize", source, out, "--type", "Q4_0", "--requantize", "--no-measure").want(t, 1, out+" is there already", "--force")
	four := filepath.Join(root, "four", "1", "model.gguf")
	run(t, "model", "quantize", out, four, "--type", "Q4_K_M", "--requantize", "--keep", "token_embd.weight=Q8_0", "--no-measure").
		want(t, 0, "Q4_K_M", "Q5_0", "166 matrices are Q5_0 and not Q4_K: their rows of 576 columns")
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
