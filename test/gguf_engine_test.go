package test

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"serval/engine/gguf/kernel"
	"serval/internal/testkit"
)

// TestGGUFEngine serves a chat model by our own engine, in the server and in a process of its own: both say the same.
func TestGGUFEngine(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	for model, more := range map[string]string{"inside": "", "apart": "isolation: process\n", "cuda": "device: cuda\n"} {
		link(t, filepath.Join(chatModels(t), "chat", "1"), filepath.Join(root, model, "1"))
		write(t, filepath.Join(root, model, "model.yaml"), "engine: gguf\nthreads: 1\ntext: {context: 512, slots: 4}\n"+more)
	}
	for model, settings := range map[string]string{"unasked": "", "named": "engine: llama\n", "options": "options: {kv: shared}\n"} {
		link(t, filepath.Join(chatModels(t), "chat", "1"), filepath.Join(root, model, "1"))
		write(t, filepath.Join(root, model, "model.yaml"), settings+"threads: 1\ntext: {context: 512, slots: 1}\n")
	}
	s := testkit.Serve(t, testkit.Options{Race: true, Models: root, Unset: true})
	s.Await("the end of loading", func() bool { return strings.Contains(s.Log(), "some models failed") })
	unasked := "serval_gguf" // whatever processor the test runs on
	if kernel.Best() == kernel.Portable() {
		unasked = "llamacpp_gguf"
	}
	for model, platform := range map[string]string{"unasked": unasked, "named": "llamacpp_gguf", "options": "llamacpp_gguf", "inside": "serval_gguf"} {
		ask(t, "GET", s.URL("/v2/models/"+model), "").want(t, 200, `"platform":"`+platform+`"`)
	}
	all := index(t, s)
	answer{200, all["cuda 1"].Reason, nil}.want(t, 200, "computes on the CPU", "engine: llama")

	say := func(model string) (text string, cached int) {
		a := ask(t, "POST", s.URL("/v1/chat/completions"), `{"model":"`+model+`","stream":true,"stream_options":{"include_usage":true},"max_tokens":24,"temperature":0,
			"messages":[{"role":"system","content":"You are a helpful assistant who knows the capitals of all countries and answers in one short sentence."},{"role":"user","content":"What is the capital of France?"}]}`)
		chunks := 0
		for line := range strings.Lines(a.body) {
			data, ok := strings.CutPrefix(strings.TrimSpace(line), "data: ")
			if !ok || data == "[DONE]" {
				continue
			}
			var got struct {
				Choices []struct{ Delta struct{ Content string } }
				Usage   *struct {
					PromptTokensDetails struct {
						CachedTokens int `json:"cached_tokens"`
					} `json:"prompt_tokens_details"`
				}
			}
			if err := json.Unmarshal([]byte(data), &got); err != nil {
				t.Fatalf("%s: %s", model, clip(a.body))
			}
			for _, c := range got.Choices {
				text += c.Delta.Content
				chunks++
			}
			if got.Usage != nil {
				cached = got.Usage.PromptTokensDetails.CachedTokens
			}
		}
		if chunks < 3 || !strings.Contains(text, "Paris") {
			t.Errorf("%s: in %d chunks it says %q: %s", model, chunks, text, clip(a.body))
		}
		return text, cached
	}
	first, none := say("inside")
	again, cached := say("inside")
	apart, _ := say("apart")
	if again != first || apart != first {
		t.Errorf("one server says %q, then %q, and %q from a process of its own", first, again, apart)
	}
	if none != 0 || cached < 32 {
		t.Errorf("%d tokens were cached at first, then %d", none, cached)
	}
}
