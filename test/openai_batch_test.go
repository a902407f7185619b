package test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"serval/internal/testkit"
)

const hookSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

// TestBatches runs the official client on files and batches of every kind of model, with webhooks.
func TestBatches(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	for path, text := range slowRows {
		write(t, filepath.Join(root, "models", path), text)
	}
	write(t, filepath.Join(root, "models", "chat", "model.yaml"), "threads: 1\ntext: {context: 2048, slots: 8}\n")
	if err := os.MkdirAll(filepath.Join(root, "models", "chat", "1"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(testkit.GGUF(t, "smollm2.gguf"), filepath.Join(root, "models", "chat", "1", "model.gguf")); err != nil {
		t.Fatal(err)
	}
	port := strconv.Itoa(testkit.Port(t))
	conf := filepath.Join(root, "serval.yaml")
	write(t, conf, fmt.Sprintf(`keys:
  - {name: ann, hash: "%s"}
  - {name: bob, hash: "%s"}
limits: {max_body: 8MiB}
files: {max_size: 16MiB}
webhooks:
  all: {url: "http://127.0.0.1:%s/all", secret: "%s", keys: [ann]}
  group: {url: "http://127.0.0.1:%[3]s/group", secret: "%[4]s", events: [none]}
`, hashKey(t, "ann-key"), hashKey(t, "bob-key"), port, hookSecret))
	s := testkit.Serve(t, testkit.Options{Race: true, Models: filepath.Join(root, "models"), Args: []string{"--config", conf}})
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, cache(t, "venv-llm", "bin", "python"), "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "--tb=short", "test_batches.py")
	cmd.Dir = "python"
	cmd.Env = append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1", "SERVAL_HTTP="+s.HTTP, "SERVAL_HOOK="+port, "SERVAL_SECRET="+hookSecret)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// batchCall makes a request of OpenAI's API and decodes the answer.
func batchCall(t *testing.T, s *testkit.Server, method, path, kind string, body []byte, into any) error {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, s.URL(path), bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s %s: %d %s", method, path, resp.StatusCode, text)
	}
	if raw, ok := into.(*[]byte); ok && err == nil {
		*raw = text
		return nil
	}
	if err == nil {
		err = json.Unmarshal(text, into)
	}
	return err
}

// sharedBatch is what is looked at of a batch.
type sharedBatch struct {
	ID, Status string
	Output     string                                 `json:"output_file_id"`
	Counts     struct{ Total, Completed, Failed int } `json:"request_counts"`
}

// TestBatchesShared: two servers on one PostgreSQL do a batch that was given to either; the one at work is killed, and the other one
// ends it and has the files.
func TestBatchesShared(t *testing.T) {
	t.Parallel()
	db := testkit.Postgres(t)
	models, dir := jobFiles(t, 0, 0)
	conf := filepath.Join(dir, "serval.yaml")
	start := func(batches int) *testkit.Server {
		write(t, conf, fmt.Sprintf("store: %q\nbatch: {lease: 1s}\nfiles: {dir: %q, batches: %d}\n", db.URL, filepath.Join(dir, "files"), batches))
		return testkit.Serve(t, testkit.Options{Models: models, Args: []string{"--config", conf}})
	}
	one := start(1)
	two := start(0) // it only takes in and shows
	const rows = 400
	var form bytes.Buffer
	m := multipart.NewWriter(&form)
	file, err := m.CreateFormFile("file", "in.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	for i := range rows {
		fmt.Fprintf(file, `{"custom_id":"r%d","method":"POST","url":"/v2/models/sums/infer","body":{"inputs":[{"name":"x","datatype":"FP32","shape":[1,2],"data":[%d,1]}]}}`+"\n", i, i)
	}
	if err := m.WriteField("purpose", "batch"); err != nil { // behind the file, which some clients do
		t.Fatal(err)
	}
	_ = m.Close()
	var f struct{ ID string }
	if err := batchCall(t, two, "POST", "/v1/files", m.FormDataContentType(), form.Bytes(), &f); err != nil {
		t.Fatal(err)
	}
	var b sharedBatch
	ask := fmt.Appendf(nil, `{"input_file_id":%q,"endpoint":"/v2/models/sums/infer","completion_window":"24h"}`, f.ID)
	if err := batchCall(t, two, "POST", "/v1/batches", "application/json", ask, &b); err != nil {
		t.Fatal(err)
	}
	wait := func(what string, s *testkit.Server, ok func() bool) {
		t.Helper()
		for end := time.Now().Add(limit); ; time.Sleep(10 * time.Millisecond) {
			if err := batchCall(t, s, "GET", "/v1/batches/"+b.ID, "", nil, &b); err != nil {
				t.Fatal(err)
			}
			if ok() {
				return
			}
			if time.Now().After(end) {
				t.Fatalf("no %s: %+v", what, b)
			}
		}
	}
	wait("answers", two, func() bool { return b.Counts.Completed > 0 })
	one.Kill()
	if b.Status != "in_progress" {
		t.Fatalf("%+v: it had ended before its server was killed", b)
	}
	three := start(1)
	wait("end", two, func() bool { return b.Status == "completed" })
	if b.Counts.Completed != rows || b.Counts.Failed != 0 {
		t.Errorf("%+v", b)
	}
	for _, s := range []*testkit.Server{two, three} {
		var out []byte
		if err := batchCall(t, s, "GET", "/v1/files/"+b.Output+"/content", "", nil, &out); err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
		if len(lines) != rows {
			t.Fatalf("%d lines", len(lines))
		}
		for i, l := range lines {
			if !strings.Contains(l, fmt.Sprintf(`"custom_id":"r%d",`, i)) {
				t.Fatalf("line %d is %s", i+1, l)
			}
		}
	}
	for end := time.Now().Add(limit); ; time.Sleep(10 * time.Millisecond) { // it goes once the end is known
		left, _ := filepath.Glob(filepath.Join(dir, "files", "batches", "*"))
		if len(left) == 0 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("left behind: %v", left)
		}
	}
}
