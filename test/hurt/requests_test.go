//go:build hurt

package hurt

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"mime/multipart"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"serval/internal/testkit"
)

// TestRequests kills the server again and again while it does batches of requests: of tensors and of chats. In the end each request
// has one answer, in its place, and nothing is left behind. One more batch is cancelled just before a kill, and stays so.
func TestRequests(t *testing.T) {
	both(t, func(t *testing.T, b build) {
		k := &batcher{t: t, b: b, models: t.TempDir(), data: t.TempDir(), c: client(t, time.Minute)}
		write(t, filepath.Join(k.models, "sums", "model.yaml"), []byte("instances: 1\n"))
		write(t, filepath.Join(k.models, "sums", "1", "model.fake"), []byte(`{"inputs":[{"name":"x","datatype":"FP32","shape":[-1,1],"symbols":["n",""]}],
			"outputs":[{"name":"y","datatype":"FP32","shape":[-1,1],"symbols":["n",""]}],"delay":"4ms"}`))
		write(t, filepath.Join(k.models, "chat", "model.yaml"), []byte("threads: 2\ntext: {context: 512, slots: 8}\n"))
		if err := os.MkdirAll(filepath.Join(k.models, "chat", "1"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(testkit.GGUF(t, "smollm2.gguf"), filepath.Join(k.models, "chat", "1", "model.gguf")); err != nil {
			t.Fatal(err)
		}
		k.start()
		tensors, chats := pick(b, 3000, 1500), pick(b, 32, 8)
		all := []*job{
			k.submit(tensors, "/v2/models/sums/infer", func(i int) string {
				return fmt.Sprintf(`{"inputs":[{"name":"x","datatype":"FP32","shape":[1,1],"data":[%d]}]}`, i)
			}),
			k.submit(chats, "/v1/chat/completions", func(i int) string {
				return fmt.Sprintf(`{"model":"chat","messages":[{"role":"user","content":"Count to %d."}],"max_tokens":4}`, i)
			}),
		}
		random := rand.New(rand.NewPCG(5, 7))
		kills := 0
		for ; kills < 5; kills++ {
			before := k.progress(all)
			eventually(t, time.Minute, "an answer more", func() bool { return k.progress(all) > before })
			time.Sleep(time.Duration(random.IntN(300)) * time.Millisecond)
			if kills == 3 {
				gone := k.submit(10*tensors, "/v2/models/sums/infer", func(i int) string {
					return fmt.Sprintf(`{"inputs":[{"name":"x","datatype":"FP32","shape":[1,1],"data":[%d]}]}`, i)
				})
				eventually(t, time.Minute, "answers of the one that is cancelled", func() bool { return k.get(gone).Counts.Completed > 0 })
				var now batchState
				k.call("POST", "/v1/batches/"+gone.id+"/cancel", "", nil, &now)
				gone.cancelled = true
				all = append(all, gone)
			}
			k.s.Kill()
			k.c.CloseIdleConnections()
			k.start()
		}
		for _, j := range all {
			k.check(j)
		}
		eventually(t, 20*time.Second, "no folder is left behind", func() bool {
			left, _ := filepath.Glob(filepath.Join(k.data, "files", "batches", "*"))
			return len(left) == 0
		})
		k.s.Term()
		ends(t, k.s, 30*time.Second, 0)
	})
}

// job is a batch and how many requests it has.
type job struct {
	id        string
	n         int
	cancelled bool
}

// batchState is what is looked at of a batch.
type batchState struct {
	ID, Status string
	Output     string                                 `json:"output_file_id"`
	Errors     string                                 `json:"error_file_id"`
	Counts     struct{ Total, Completed, Failed int } `json:"request_counts"`
}

// batcher gives a server batches and kills it.
type batcher struct {
	t            *testing.T
	b            build
	models, data string
	c            *http.Client
	s            *testkit.Server
}

func (k *batcher) start() {
	k.t.Helper()
	k.s = start(k.t, k.b, setup{models: k.models, data: k.data, config: "log: {access: false}\nbatch: {lease: 1s}\n"})
}

// call makes a request, which must succeed.
func (k *batcher) call(method, path, kind string, body []byte, into any) []byte {
	k.t.Helper()
	req, err := http.NewRequest(method, k.s.URL(path), bytes.NewReader(body))
	if err != nil {
		k.t.Fatal(err)
	}
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	resp, err := k.c.Do(req)
	if err != nil {
		k.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && into != nil {
		err = json.Unmarshal(text, into)
	}
	if err != nil || resp.StatusCode != http.StatusOK {
		k.t.Fatalf("%s %s: %d %.300s %v", method, path, resp.StatusCode, text, err)
	}
	return text
}

func (k *batcher) submit(n int, endpoint string, body func(int) string) *job {
	k.t.Helper()
	var form bytes.Buffer
	m := multipart.NewWriter(&form)
	_ = m.WriteField("purpose", "batch") // into memory
	file, err := m.CreateFormFile("file", "in.jsonl")
	if err != nil {
		k.t.Fatal(err)
	}
	for i := range n {
		fmt.Fprintf(file, `{"custom_id":"r%d","method":"POST","url":%q,"body":%s}`+"\n", i, endpoint, body(i))
	}
	_ = m.Close()
	var f, b struct{ ID string }
	k.call("POST", "/v1/files", m.FormDataContentType(), form.Bytes(), &f)
	k.call("POST", "/v1/batches", "application/json", fmt.Appendf(nil, `{"input_file_id":%q,"endpoint":%q,"completion_window":"24h"}`, f.ID, endpoint), &b)
	return &job{id: b.ID, n: n}
}

func (k *batcher) get(j *job) batchState {
	k.t.Helper()
	var b batchState
	k.call("GET", "/v1/batches/"+j.id, "", nil, &b)
	return b
}

// progress is how many requests were answered.
func (k *batcher) progress(all []*job) (n int) {
	k.t.Helper()
	for _, j := range all {
		n += k.get(j).Counts.Completed
	}
	return n
}

// check waits for a batch's end and looks for each request.
func (k *batcher) check(j *job) {
	k.t.Helper()
	want := "completed"
	if j.cancelled {
		want = "cancelled"
	}
	var b batchState
	eventually(k.t, 2*time.Minute, j.id+" is "+want, func() bool { b = k.get(j); return b.Status == want })
	answered, lost := k.ids(b.Output), k.ids(b.Errors)
	k.t.Logf("%s of %d: %d answered, %d not", want, j.n, len(answered), len(lost))
	if len(answered)+len(lost) != j.n || !j.cancelled && len(lost) > 0 || j.cancelled && (len(lost) == 0 || len(answered) == 0) ||
		b.Counts.Completed != len(answered) || b.Counts.Failed != len(lost) || b.Counts.Total != j.n {
		k.t.Errorf("%+v, and there are %d answers and %d errors", b, len(answered), len(lost))
	}
	seen := map[string]bool{}
	for _, id := range append(answered, lost...) {
		if seen[id] {
			k.t.Errorf("%s is there twice", id)
		}
		seen[id] = true
	}
	if !j.cancelled {
		for i, id := range answered {
			if id != fmt.Sprint("r", i) {
				k.t.Fatalf("answer %d is that of %s", i, id)
			}
		}
	}
}

// ids are the custom_ids of a file, in its order.
func (k *batcher) ids(file string) (list []string) {
	k.t.Helper()
	if file == "" {
		return nil
	}
	for l := range strings.Lines(string(k.call("GET", "/v1/files/"+file+"/content", "", nil, nil))) {
		var row struct {
			ID string `json:"custom_id"`
		}
		if err := json.Unmarshal([]byte(l), &row); err != nil {
			k.t.Fatal(err)
		}
		list = append(list, row.ID)
	}
	return list
}
