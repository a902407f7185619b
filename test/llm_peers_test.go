package test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"serval/internal/testkit"
)

// TestPeersComplaints: what the users of other servers complain of does not happen here. Each case names whose complaint it is.
func TestPeersComplaints(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	for _, name := range []string{"chat", "other"} {
		link(t, filepath.Join(chatModels(t), "chat", "1"), filepath.Join(root, name, "1"))
		write(t, filepath.Join(root, name, "model.yaml"), "threads: 1\ntext: {context: 1024, slots: 4}\n")
	}
	s := testkit.Serve(t, testkit.Options{Race: true, Models: root})
	t.Run("ollama#17889 ollama#6026: a prompt is cut silently", func(t *testing.T) { neverCut(t, s) })
	t.Run("llama.cpp#19051 llama.cpp#26596: constrained output that is not", func(t *testing.T) { alwaysHeld(t, s) })
	t.Run("llama-server: keep-alive connections are closed under load", func(t *testing.T) { keptAlive(t, s) })
	t.Run("llama.cpp#21678 LocalAI#7269: a model in use is evicted", func(t *testing.T) { notEvicted(t, s) }) // last: it unloads
}

// neverCut asks with the option by which Ollama cuts: the whole prompt is read all the same, or refused.
func neverCut(t *testing.T, s *testkit.Server) {
	count := func(words int) (tokens int) {
		body := fmt.Sprintf(`{"model":"chat","messages":[{"role":"user","content":%q}]}`, strings.Repeat("word ", words))
		var got struct{ Count int }
		if err := json.Unmarshal([]byte(ask(t, "POST", s.URL("/tokenize"), body).body), &got); err != nil || got.Count < words {
			t.Fatalf("%d tokens of %d words (%v)", got.Count, words, err)
		}
		return got.Count
	}
	for _, words := range []int{10, 300, 900} {
		body := fmt.Sprintf(`{"model":"chat","stream":false,"options":{"num_ctx":64,"num_keep":4,"num_predict":1},"truncate":true,"messages":[{"role":"user","content":%q}]}`, strings.Repeat("word ", words))
		a := ask(t, "POST", s.URL("/api/chat"), body)
		a.want(t, 200, fmt.Sprintf(`"prompt_eval_count":%d,`, count(words)))
	}
	for path, body := range map[string]string{"/api/chat": `{"model":"chat","options":{"num_ctx":64},"messages":[{"role":"user","content":%q}]}`, "/api/generate": `{"model":"chat","prompt":%q}`, openaiChat: `{"model":"chat","messages":[{"role":"user","content":%q}]}`} {
		ask(t, "POST", s.URL(path), fmt.Sprintf(body, strings.Repeat("word ", 1100))).want(t, 400, "takes 1024 together with the answer", "shorten it by at least")
	}
}

// alwaysHeld has schemas kept by hot sampling, streamed or not; one that cannot be read is refused, and what is cut says so.
func alwaysHeld(t *testing.T, s *testkit.Server) {
	body := func(schema, more string) string {
		return fmt.Sprintf(`{"model":"chat","messages":[{"role":"user","content":"Say something."}],"temperature":2,"response_format":{"type":"json_schema","json_schema":{"name":"x","strict":true,"schema":%s}}%s}`, schema, more)
	}
	said := func(a answer) (content, finish string) {
		var got struct {
			Choices []struct {
				Message struct{ Content string }
				Finish  string `json:"finish_reason"`
			}
		}
		if err := json.Unmarshal([]byte(a.body), &got); err != nil || len(got.Choices) != 1 {
			t.Fatalf("%d %s", a.code, clip(a.body))
		}
		return got.Choices[0].Message.Content, got.Choices[0].Finish
	}
	const greeting = `{"type":"string","pattern":"^hello there indeed\\!$"}`
	for seed := range 3 {
		if text, finish := said(ask(t, "POST", s.URL(openaiChat), body(greeting, fmt.Sprintf(`,"seed":%d`, seed)))); text != `"hello there indeed!"` || finish != "stop" {
			t.Errorf("%q, %s", text, finish)
		}
	}
	streamed := ""
	for line := range strings.Lines(ask(t, "POST", s.URL(openaiChat), body(greeting, `,"stream":true`)).body) {
		var got struct {
			Choices []struct{ Delta struct{ Content string } }
		}
		if data, ok := strings.CutPrefix(line, "data: {"); ok && json.Unmarshal([]byte("{"+data), &got) == nil && len(got.Choices) == 1 {
			streamed += got.Choices[0].Delta.Content
		}
	}
	if streamed != `"hello there indeed!"` {
		t.Errorf("streamed: %q", streamed)
	}
	for _, pattern := range []string{`^(a$`, `^(?=a)b$`, `^[z-a]$`, `^a{3,1}$`, `^\\p{Nobody}$`} {
		ask(t, "POST", s.URL(openaiChat), body(`{"type":"object","properties":{"a":{"type":"string","pattern":"`+pattern+`"}}}`, "")).
			want(t, 400, "response_format.json_schema.schema", "#/properties/a/pattern", "character")
	}
	if text, finish := said(ask(t, "POST", s.URL(openaiChat), body(`{"type":"array","items":{"enum":["a","b"]},"minItems":500}`, `,"max_tokens":20`))); finish != "length" || !strings.HasPrefix(text, "[") {
		t.Errorf("%q, %s", text, finish)
	}
}

// keptAlive makes many requests over a few connections, and looks whether they stay.
func keptAlive(t *testing.T, s *testkit.Server) {
	const clients, each = 16, 30
	var dials, failures atomic.Int64
	transport := &http.Transport{MaxIdleConnsPerHost: clients, MaxConnsPerHost: clients, DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		dials.Add(1)
		return new(net.Dialer).DialContext(ctx, network, addr)
	}}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	one := func() {
		// A body of a kind that is not sent again: a connection that is closed under it is a failure.
		body := struct{ io.Reader }{strings.NewReader(`{"model":"chat","prompt":"a","max_tokens":1}`)}
		r, err := client.Post(s.URL("/v1/completions"), "application/json", body)
		if err != nil {
			failures.Add(1)
			t.Errorf("%v", err)
			return
		}
		if _, err := io.Copy(io.Discard, r.Body); err != nil || r.StatusCode != 200 {
			failures.Add(1)
			t.Errorf("%d, %v", r.StatusCode, err)
		}
		_ = r.Body.Close()
	}
	var work sync.WaitGroup
	for range clients {
		work.Go(func() {
			for range each {
				one()
			}
		})
	}
	work.Wait()
	time.Sleep(6 * time.Second) // longer than the 5 s after which llama-server closes them
	for range clients {
		work.Go(one)
	}
	work.Wait()
	if dials.Load() > clients || failures.Load() != 0 {
		t.Errorf("%d connections and %d failures for %d clients", dials.Load(), failures.Load(), clients)
	}
}

// notEvicted takes a model away, in each way that there is, while it answers: the answers come to their ends first.
func notEvicted(t *testing.T, s *testkit.Server) {
	for _, c := range []struct{ name, path, body string }{
		{"loads its neighbour anew", "/v2/repository/models/other/load", "{}"},
		{"loads it anew", "/v2/repository/models/chat/load", "{}"},
		{"unloads it", "/v2/repository/models/chat/unload", "{}"},
		{"asks as Ollama's clients do", "/api/generate", `{"model":"chat","keep_alive":0}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			ask(t, "POST", s.URL("/v2/repository/models/chat/load"), "{}").want(t, 200)
			r, err := http.Post(s.URL(openaiChat), "application/json", strings.NewReader(say(`"max_tokens":200,"ignore_eos":true,"stream":true`)))
			if err != nil {
				t.Fatal(err)
			}
			defer r.Body.Close()
			lines := bufio.NewScanner(r.Body)
			pieces, finish := 0, ""
			taken := make(chan answer, 1)
			for lines.Scan() {
				if pieces++; pieces == 8 { // it is under way
					go func() { taken <- ask(t, "POST", s.URL(c.path), c.body) }()
				}
				if strings.Contains(lines.Text(), `"finish_reason":"length"`) {
					finish = "length"
				}
				if strings.Contains(lines.Text(), `"error"`) {
					t.Errorf("%s", lines.Text())
				}
			}
			if lines.Err() != nil || finish != "length" || pieces < 100 {
				t.Errorf("%d pieces, ended with %q, %v", pieces, finish, lines.Err())
			}
			select {
			case a := <-taken:
				a.want(t, 200)
			case <-time.After(limit):
				t.Error("it was not done after the answer had ended")
			}
		})
	}
}

// TestStartUpErrors (vllm#27934, LocalAI#9287): a model that cannot be served says why and what to change, and no engine takes
// what is another's.
func TestStartUpErrors(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	gguf, onnx := filepath.Join(chatModels(t), "chat", "1", "model.gguf"), filepath.Join(testkit.Root(), "engine", "onnx", "testdata", "mlp.onnx")
	put := func(model, name, from string) {
		if err := os.MkdirAll(filepath.Join(root, model, "1"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(from, filepath.Join(root, model, "1", name)); err != nil {
			t.Fatal(err)
		}
	}
	want := map[string]struct {
		settings string
		words    []string
	}{
		"too-large":  {"options: {kv: shared}\ntext: {context: 2048, cache: 400000000}\n", []string{"does not fit", "for 400000000 tokens", "is free"}},
		"too-many":   {"text: {slots: 100000}\n", []string{"text.slots is 100000", "at most"}},
		"option":     {"options: {kv: maybe}\n", []string{"options.kv", "maybe", "streams, shared or auto"}},
		"template":   {"text: {template: '{% if %}'}\n", []string{"template"}},
		"adapter":    {"text: {adapters: {a: nothing.gguf}}\n", []string{"nothing.gguf"}},
		"other-task": {"engine: onnx\n", []string{"onnx", ".onnx"}},
	}
	for model, w := range want {
		put(model, "model.gguf", gguf)
		write(t, filepath.Join(root, model, "model.yaml"), w.settings)
	}
	put("both", "model.gguf", gguf)
	put("both", "model.onnx", onnx)
	put("onnx-in-gguf", "model.gguf", onnx)
	put("gguf-in-onnx", "model.onnx", gguf)
	put("asked", "model.gguf", gguf)
	put("asked", "model.onnx", onnx)
	write(t, filepath.Join(root, "asked", "model.yaml"), "engine: onnx\n")
	put("good", "model.gguf", gguf)
	write(t, filepath.Join(root, "good", "model.yaml"), "engine: llama\nthreads: 1\ntext: {context: 512, slots: 2}\n")
	for model, words := range map[string][]string{"both": {"onnx and llama both accept it", "engine: in model.yaml"}, "onnx-in-gguf": {"model.gguf is no GGUF file"}, "gguf-in-onnx": {"model.onnx", "not an ONNX model"}} {
		want[model] = struct {
			settings string
			words    []string
		}{"", words}
	}
	s := testkit.Serve(t, testkit.Options{Race: true, Models: root, Unset: true})
	s.Await("the end of loading", func() bool { return strings.Contains(s.Log(), "some models failed") })
	all := index(t, s)
	for model, w := range want {
		m, ok := all[model+" 1"]
		if !ok {
			m = all[model] // its settings are wrong, so no version was looked at
		}
		if m.State != "UNAVAILABLE" {
			t.Errorf("%s: %+v", model, m)
			continue
		}
		answer{200, model + ": " + m.Reason, nil}.want(t, 200, w.words...)
	}
	if all["good 1"].State != "READY" || all["asked 1"].State != "READY" {
		t.Errorf("%+v %+v", all["good 1"], all["asked 1"])
	}
	if n := len(hosts(t, s.Cmd.Process.Pid)); n != 1 {
		t.Errorf("%d processes host models, want 1", n)
	}
	out, _, _ := testkit.Run(t.Context(), t, "model", "list", "--server", s.HTTP)
	if !strings.Contains(out, "both accept it") {
		t.Errorf("model list: %s", out)
	}
}
