package test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"serval/internal/testkit"
)

// measured is what bench reports of a model of text.
type measured struct {
	API           string
	Requests      uint64
	Failures      uint64
	FailuresBy    map[string]uint64 `json:"failures_by"`
	FirstFailure  string            `json:"first_failure"`
	Reconnects    uint64
	OutputTokens  uint64  `json:"output_tokens"`
	OutputRate    float64 `json:"output_tokens_per_s"`
	PromptTokens  uint64  `json:"prompt_tokens"`
	CachedTokens  uint64  `json:"cached_tokens"`
	CachedShare   float64 `json:"cached_share"`
	Deltas, Short uint64
	Texts         uint64
	Elapsed       float64            `json:"elapsed_s"`
	GoodShare     float64            `json:"good_share"`
	TTFT          map[string]float64 `json:"ttft_ms"`
	ITL           map[string]float64 `json:"itl_ms"`
	TPOT          map[string]float64 `json:"tpot_ms"`
	E2E           map[string]float64 `json:"e2e_ms"`
	Wait          map[string]float64 `json:"wait_ms"`
}

// TestBenchOfText runs each workload with a few tokens: what it reports must be consistent; how fast it is is not asked here.
func TestBenchOfText(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	link(t, chatModels(t), root)
	link(t, cache(t, "minilm", "1"), filepath.Join(root, "minilm", "1"))
	s := testkit.Serve(t, testkit.Options{Models: root})
	prompts := filepath.Join(t.TempDir(), "prompts.jsonl")
	if err := os.WriteFile(prompts, []byte("{\"prompt\":\"Say yes.\",\"max_tokens\":3}\n{\"messages\":[{\"role\":\"user\",\"content\":\"Say no.\"}],\"max_tokens\":5}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	bench := func(t *testing.T, args ...string) (r measured) {
		run(t, append([]string{"bench", "-o", "json", "--warm-up", "0s", "--server", s.URL("")}, args...)...).into(t, &r)
		if r.Requests == 0 || r.Failures != 0 || r.Reconnects != 0 || r.Elapsed <= 0 || r.PromptTokens == 0 {
			t.Errorf("%+v", r)
		}
		return r
	}
	for name, c := range map[string]struct {
		args   []string
		tokens uint64
	}{
		"closed":      {[]string{"chat", "-c", "4", "-n", "8", "--max-tokens", "6", "--prompt-words", "20"}, 48},
		"completions": {[]string{"chat", "--completions", "-c", "2", "-n", "4", "--max-tokens", "6", "--prompt-words", "5-20"}, 24},
		"open":        {[]string{"chat", "--rate", "20", "-n", "8", "--max-tokens", "4", "--prompt-words", "5", "--slo", "e2e=1h"}, 32},
		"turns":       {[]string{"chat", "--turns", "3", "-n", "6", "--max-tokens", "4", "--prompt-words", "5"}, 24},
		"file":        {[]string{"chat", "--file", prompts, "-n", "4"}, 16},
		"mix":         {[]string{"chat", "--mix", "1:5/3", "--mix", "1:20/3", "-n", "4"}, 12},
		"v1":          {[]string{"chat", "--chat", "-n", "2", "--max-tokens", "2", "--prompt-words", "5", "--server", s.URL("/v1")}, 4},
	} {
		t.Run(name, func(t *testing.T) {
			r := bench(t, c.args...)
			if r.OutputTokens != c.tokens || r.Short != 0 || r.Deltas == 0 || r.Deltas > r.OutputTokens || r.OutputRate <= 0 || (r.API == "completions") != (name == "completions") {
				t.Errorf("%d tokens, want %d: %+v", r.OutputTokens, c.tokens, r)
			}
			for _, l := range []map[string]float64{r.TTFT, r.ITL, r.TPOT, r.E2E} {
				if !(0 <= l["min"] && l["min"] <= l["p50"] && l["p50"] <= l["p90"] && l["p90"] <= l["p99"] && l["p99"] <= l["max"]*1.01) {
					t.Errorf("times are not in order: %v", l)
				}
			}
			if r.TTFT["min"] <= 0 || r.E2E["p50"] < r.TTFT["p50"] || (name == "open") != (r.Wait != nil) || (name == "open") != (r.GoodShare == 1) {
				t.Errorf("%+v", r)
			}
		})
	}
	t.Run("shared prefix", func(t *testing.T) {
		r := bench(t, "chat", "-n", "5", "--shared-prefix-words", "150", "--prompt-words", "5", "--max-tokens", "2")
		if r.CachedShare < 0.6 || r.CachedTokens > r.PromptTokens { // 4 of 5 have it from the first
			t.Errorf("%+v", r)
		}
	})
	t.Run("embeddings", func(t *testing.T) {
		r := bench(t, "minilm", "-c", "2", "-n", "6", "--batch", "3", "--prompt-words", "20")
		if r.API != "embeddings" || r.Texts != 18 || r.PromptTokens < 18*20 || r.TTFT != nil {
			t.Errorf("%+v", r)
		}
	})
	t.Run("words", func(t *testing.T) {
		run(t, "bench", "chat", "-n", "2", "--max-tokens", "2", "--server", s.HTTP).want(t, 0, "first token", "4 tokens in", "0 failed")
		for line, words := range map[string][]string{
			"chat --prompt-words x":            {"--prompt-words", "lognormal"},
			"chat --max-tokens 0":              {"--max-tokens"},
			"chat --slo speed=1s":              {"ttft"},
			"chat --mix 60/32":                 {"SHARE"},
			"chat --chat --embed":              {"--chat"},
			"chat --rows 3 --turns 2":          {"--rows", "--turns"},
			"chat --turns 0 --arrivals seldom": {"seldom"},
			"chat --field stream=false":        {"stream"},
			"nobody --turns 2":                 {"--turns", "nobody", "--chat"},
			"chat --chat --server ftp://x":     {"http://host:port"},
			"chat --batch 4":                   {"batch"},
		} {
			t.Run(line, func(t *testing.T) {
				run(t, append([]string{"bench", "--server", s.HTTP}, strings.Fields(line)...)...).want(t, 2, words...)
			})
		}
		run(t, "bench", "nobody", "--chat", "-n", "2", "--server", s.HTTP).want(t, 0, "2 × HTTP 404", "'nobody'")
		run(t, "bench", "chat", "--file", prompts, "--turns", "2", "--server", s.HTTP).want(t, 2, "turns")
		run(t, "bench", "chat", "--file", "nothing.jsonl", "--server", s.HTTP).want(t, 1, "nothing.jsonl")
	})
}

// TestBenchTellsWhatAKilledServerLost kills the server under load: the streams that it cut and those that it never took are
// told apart, and nothing hangs.
func TestBenchTellsWhatAKilledServerLost(t *testing.T) {
	t.Parallel()
	s := testkit.Serve(t, testkit.Options{Models: chatModels(t)})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for !strings.Contains(s.Log(), "protocol=openai") && t.Context().Err() == nil { // until the first answer
			time.Sleep(10 * time.Millisecond)
		}
		s.Kill()
	}()
	var r measured
	run(t, "bench", "chat", "-o", "json", "-c", "4", "-n", "60", "--max-tokens", "64", "--prompt-words", "5", "--warm-up", "0s", "--server", s.URL("")).into(t, &r)
	<-done
	cut := r.FailuresBy["stream cut"] + r.FailuresBy["connection closed"] + r.FailuresBy["kept connection closed"] // as far as each was then; a client may come once more before the port is closed
	if r.Requests != 60 || r.FailuresBy["connection refused"] == 0 || cut == 0 || cut > 8 || r.FirstFailure == "" {
		t.Errorf("%+v", r)
	}
	if r.OutputTokens != 64*(r.Requests-r.Failures) {
		t.Errorf("%d tokens of %d answers", r.OutputTokens, r.Requests-r.Failures)
	}
}
