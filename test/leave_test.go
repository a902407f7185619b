package test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"serval/internal/testkit"
)

// metric is the sum of a metric's samples whose text begins so.
func metric(t *testing.T, s *testkit.Server, prefix string) (sum float64) {
	t.Helper()
	for line := range strings.Lines(ask(t, "GET", "http://"+s.Admin+"/metrics", "").body) {
		if rest, ok := strings.CutPrefix(line, prefix); ok {
			value, err := strconv.ParseFloat(strings.TrimSpace(rest[strings.LastIndexByte(rest, ' ')+1:]), 64)
			if err != nil {
				t.Fatalf("%q: %v", line, err)
			}
			sum += value
		}
	}
	return sum
}

// TestLeaversFreeTheirSlot: a client that goes away ends its answer, streamed or not, in each dialect. The model has one slot and
// the answers 1,900 tokens: the steps that are still made are those until the server's kernel says that nobody listens.
func TestLeaversFreeTheirSlot(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	write(t, filepath.Join(root, "one", "model.yaml"), "threads: 1\ntext: {context: 2048, slots: 1}\n")
	link(t, filepath.Join(chatModels(t), "chat", "1"), filepath.Join(root, "one", "1"))
	s := testkit.Serve(t, testkit.Options{Race: true, Models: root})
	const steps, running = `serval_model_executions_total{model="one"`, `vllm:num_requests_running{model_name="one"`
	const endless = `{"type":"array","items":{"type":"integer"},"minItems":900}` // where there is no ignore_eos
	const cache = `vllm:kv_cache_usage_perc{model_name="one"`
	for _, c := range []struct{ name, path, body string }{
		{"openai, streamed", "/v1/chat/completions", `{"model":"one","messages":[{"role":"user","content":"Tell a story."}],"max_tokens":1900,"ignore_eos":true,"stream":true}`},
		{"openai, whole", "/v1/chat/completions", `{"model":"one","messages":[{"role":"user","content":"Tell a story."}],"max_tokens":1900,"ignore_eos":true}`},
		{"completions, whole", "/v1/completions", `{"model":"one","prompt":"A story:","max_tokens":1900,"ignore_eos":true}`},
		{"responses, streamed", "/v1/responses", `{"model":"one","input":"Numbers.","max_output_tokens":1900,"stream":true,"text":{"format":{"type":"json_schema","name":"n","schema":` + endless + `}}}`},
		{"anthropic, streamed", "/v1/messages", `{"model":"one","messages":[{"role":"user","content":"Numbers."}],"max_tokens":1900,"stream":true,"output_config":{"format":{"type":"json_schema","schema":` + endless + `}}}`},
		{"ollama, streamed", "/api/chat", `{"model":"one","messages":[{"role":"user","content":"Numbers."}],"options":{"num_predict":1900},"format":` + endless + `}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := metric(t, s, steps)
			ctx, leave := context.WithCancel(t.Context())
			defer leave()
			req, err := http.NewRequestWithContext(ctx, "POST", s.URL(c.path), strings.NewReader(c.body))
			if err != nil {
				t.Fatal(err)
			}
			over := make(chan error, 1)
			read := make(chan struct{})
			go func() {
				r, err := http.DefaultClient.Do(req)
				if err == nil {
					lines := bufio.NewReader(r.Body)
					_, _ = lines.ReadString('\n')
					close(read)
					_, err = io.Copy(io.Discard, lines)
					_ = r.Body.Close()
				}
				over <- err
			}()
			if strings.HasSuffix(c.name, "streamed") {
				select {
				case <-read:
				case <-time.After(limit):
					t.Fatal("no line came")
				}
			}
			await(t, "it is answered", func() bool { return metric(t, s, steps) >= before+3 })
			if used := metric(t, s, cache); used <= 0 || used > 1 {
				t.Errorf("while it is answered, %v of the cache is used", used)
			}
			at := metric(t, s, steps)
			leave()
			if err := <-over; err == nil {
				t.Fatal("the answer came to its end")
			}
			await(t, "the slot is free", func() bool { return metric(t, s, running) == 0 && metric(t, s, cache) == 0 })
			if more := metric(t, s, steps) - at; more > 60 {
				t.Errorf("%v more steps were made after its client had left", more)
			} else {
				t.Logf("%v steps until it was free", more)
			}
			r := ask(t, "POST", s.URL("/v1/completions"), `{"model":"one","prompt":"a","max_tokens":1}`)
			r.want(t, 200, `"length"`)
		})
	}
	if n := metric(t, s, fmt.Sprintf(`nv_inference_request_failure{model="one",reason=%q`, "CANCELED")); n != 6 {
		t.Errorf("%v cancelled calls are counted, want 6", n)
	}
}
