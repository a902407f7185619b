package test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"serval/internal/testkit"
)

// A client of Ollama has a model of the hub fetched, and talks to it under the name that it asked for.
func TestOllamaPull(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile(testkit.GGUF(t, "smollm2.gguf"))
	if err != nil {
		t.Fatal(err)
	}
	h, root := newHub(t, "SmolLM2.Q4_1.gguf", data), t.TempDir()
	h.once = true // it answers whole from the start
	s := testkit.Serve(t, testkit.Options{Models: root, Env: []string{"HF_ENDPOINT=" + h.URL}})
	post := func(s *testkit.Server, path, key, body string) (int, string) {
		t.Helper()
		req, err := http.NewRequest(http.MethodPost, s.URL(path), strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if key != "" {
			req.Header.Set("Authorization", "Bearer "+key)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var all bytes.Buffer
		_, _ = io.Copy(&all, resp.Body)
		return resp.StatusCode, all.String()
	}
	const pull, chat = `{"model": "hf.co/acme/net:latest"}`, `{"model": "hf.co/acme/net", "messages": [{"role": "user", "content": "Say hello."}], "stream": false, "options": {"num_predict": 3}}`
	if code, said := post(s, "/api/chat", "", chat); code != http.StatusNotFound || !strings.Contains(said, "'net'") {
		t.Errorf("before: %d %s", code, said)
	}
	sum := sha256.Sum256(data)
	digest := hex.EncodeToString(sum[:])
	last := fmt.Sprintf(`{"status":"pulling %s","digest":"sha256:%s","total":%d,"completed":%d}`, digest[:12], digest, len(data), len(data))
	code, said := post(s, "/api/pull", "", pull)
	if lines := strings.Split(strings.TrimSpace(said), "\n"); code != http.StatusOK || lines[0] != `{"status":"pulling manifest"}` || lines[len(lines)-1] != `{"status":"success"}` || !strings.Contains(said, last) {
		t.Fatalf("%d %s", code, said)
	}
	if code, said := post(s, "/api/chat", "", chat); code != http.StatusOK || !strings.Contains(said, `"done":true`) {
		t.Errorf("%d %s", code, said)
	}
	asked := len(h.spans)
	if code, said := post(s, "/api/pull", "", `{"model": "hf.co/acme/net", "stream": false}`); code != http.StatusOK || said != `{"status":"success"}` || len(h.spans) != asked {
		t.Errorf("again: %d %s", code, said)
	}
	for model, want := range map[string]int{"file:/etc/passwd": 400, "http://127.0.0.1/x.gguf": 400, "llama3:8b": 404, "hf.co/acme": 400} {
		if code, said := post(s, "/api/pull", "", `{"model": "`+model+`", "stream": false}`); code != want {
			t.Errorf("%s: %d %s", model, code, said)
		}
	}

	// Only who may load models may have them fetched; and nobody where clients load none.
	config := filepath.Join(t.TempDir(), "serval.yaml")
	key := func(secret string) string {
		sum := sha256.Sum256([]byte(secret))
		return "sha256:" + hex.EncodeToString(sum[:])
	}
	write(t, config, "keys:\n- {name: user, hash: \""+key("user-key")+"\"}\n- {name: boss, hash: \""+key("boss-key")+"\", access: [infer, read, control]}\nmodel_control: {mode: none}\n")
	other := t.TempDir()
	s = testkit.Serve(t, testkit.Options{Models: other, Env: []string{"HF_ENDPOINT=" + h.URL}, Args: []string{"--config", config}})
	if code, said := post(s, "/api/pull", "user-key", pull); code != http.StatusForbidden {
		t.Errorf("a key that may only ask: %d %s", code, said)
	}
	if code, said := post(s, "/api/pull", "boss-key", pull); code != http.StatusOK || !strings.Contains(said, `{"error":"explicit model load / unload is not allowed`) {
		t.Errorf("where clients load nothing: %d %s", code, said)
	}
	if entries, err := os.ReadDir(other); err != nil || len(entries) > 0 {
		t.Errorf("something was fetched: %v %v", entries, err)
	}
}
