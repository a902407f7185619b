package test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"serval/internal/testkit"
)

// answers asks model over REST and gRPC until stop is closed; every failure is one of the test.
func answers(t *testing.T, s *testkit.Server, model string, stop chan struct{}) (count *atomic.Int64, done *sync.WaitGroup) {
	t.Helper()
	client := rpc(t, s)
	count, done = new(atomic.Int64), new(sync.WaitGroup)
	zeros := fmt.Sprintf(`{"inputs":[{"name":"x","shape":[1,30],"datatype":"FP32","data":[%s0]}]}`, strings.Repeat("0,", 29))
	loop := func(call func() error) {
		done.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if err := call(); err != nil {
					t.Errorf("a request failed: %v", err)
					return
				}
				count.Add(1)
			}
		})
	}
	for range 4 {
		loop(func() error {
			if a := ask(t, "POST", s.URL("/v2/models/"+model+"/infer"), zeros); a.code != 200 {
				return fmt.Errorf("%d %s", a.code, a.body)
			}
			return nil
		})
		loop(func() error {
			_, err := client.ModelInfer(t.Context(), inferRequest(model, fp32("x", []int64{1, 30}, make([]float32, 30)...)))
			return err
		})
	}
	return count, done
}

func load(t *testing.T, s *testkit.Server, model string) answer {
	t.Helper()
	return ask(t, "POST", s.URL("/v2/repository/models/"+model+"/load"), "")
}

// answering is the version that answers for the model.
func answering(t *testing.T, s *testkit.Server, model string) string {
	t.Helper()
	zeros := fmt.Sprintf(`{"inputs":[{"name":"x","shape":[1,30],"datatype":"FP32","data":[%s0]}]}`, strings.Repeat("0,", 29))
	a := ask(t, "POST", s.URL("/v2/models/"+model+"/infer"), zeros)
	var v struct {
		Version string `json:"model_version"`
	}
	if err := json.Unmarshal([]byte(a.body), &v); err != nil || a.code != 200 {
		t.Fatalf("%d %s", a.code, a.body)
	}
	return v.Version
}

// TestReloadUnderTraffic loads a model anew, again and again: new versions, changed settings, a broken version. Not one
// request may fail.
func TestReloadUnderTraffic(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	dir := filepath.Join(root, "net")
	put(t, dir, "1", "mlp")
	s := testkit.Serve(t, testkit.Options{Race: true, Models: root})
	stop := make(chan struct{})
	count, done := answers(t, s, "net", stop)
	moved := func() { // requests are answered between one change and the next
		from := count.Load()
		s.Await("answers", func() bool { return t.Failed() || count.Load() > from+20 })
	}
	step := func(what string, change func(), code int, version string) {
		t.Helper()
		moved()
		change()
		a := load(t, s, "net")
		if a.code != code {
			t.Errorf("%s: %d %s", what, a.code, a.body)
		}
		moved()
		if got := answering(t, s, "net"); got != version {
			t.Errorf("%s: version %s answers, want %s", what, got, version)
		}
	}
	step("the same again", func() {}, 200, "1")
	step("a new version", func() { put(t, dir, "2", "mlp") }, 200, "2")
	step("other settings", func() { write(t, filepath.Join(dir, "model.yaml"), "instances: 1\nbatching: {max: 4}\n") }, 200, "2")
	step("a broken version", func() { write(t, filepath.Join(dir, "3", "model.onnx"), "half a model") }, 400, "2")
	if m := index(t, s)["net 3"]; m.State != "UNAVAILABLE" || !strings.Contains(m.Reason, "model.onnx") {
		t.Errorf("the index says of the broken version: %v", m)
	}
	if m := index(t, s)["net 2"]; m.State != "READY" {
		t.Errorf("the index says of the one that answers: %v", m)
	}
	step("a broken model.yaml", func() { write(t, filepath.Join(dir, "model.yaml"), "instances: many\n") }, 400, "2")
	if m := index(t, s)["net 2"]; m.State != "READY" || !strings.Contains(m.Reason, "model.yaml:1:12") {
		t.Errorf("the index says of the one that answers: %v", m)
	}
	step("mended", func() {
		write(t, filepath.Join(dir, "model.yaml"), "instances: 1\n")
		put(t, dir, "3", "mlp")
	}, 200, "3")
	step("the same version broken", func() { write(t, filepath.Join(dir, "3", "model.onnx"), "half a model") }, 400, "3")
	if m := index(t, s)["net 3"]; m.State != "READY" || !strings.Contains(m.Reason, "serves on") {
		t.Errorf("the index says of the copy that serves on: %v", m)
	}
	step("back to an old version", func() {
		if err := os.RemoveAll(filepath.Join(dir, "3")); err != nil {
			t.Fatal(err)
		}
	}, 200, "2")
	close(stop)
	done.Wait()
	ask(t, "GET", s.URL("/v2/health/ready"), "").want(t, 200)
}

// TestUnloadUnderTraffic: what is under way is answered, what comes later is told why not.
func TestUnloadUnderTraffic(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	write(t, filepath.Join(root, "slow/1/model.fake"), written["slow/1/model.fake"])
	s := testkit.Serve(t, testkit.Options{Race: true, Models: root})
	var all sync.WaitGroup
	started := make(chan struct{}, 4)
	for range 4 {
		all.Go(func() {
			started <- struct{}{}
			a := ask(t, "POST", s.URL("/v2/models/slow/infer"), row)
			if a.code != 200 && (a.code != 503 || !strings.Contains(a.body, "unloaded")) {
				t.Errorf("%d %s", a.code, a.body)
			}
		})
	}
	for range 4 {
		<-started
	}
	ask(t, "POST", s.URL("/v2/repository/models/slow/unload"), "").want(t, 200)
	all.Wait()
	ask(t, "POST", s.URL("/v2/models/slow/infer"), row).wantError(t, 503, "'slow'", "unloaded")
	ask(t, "GET", s.URL("/v2/models/slow/ready"), "").want(t, 503)
	load(t, s, "slow").want(t, 200)
	ask(t, "POST", s.URL("/v2/models/slow/infer"), row).want(t, 200)
}

func TestVersionPolicy(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	dir := filepath.Join(root, "net")
	for _, v := range []string{"1", "2", "3", "10"} {
		put(t, dir, v, "mlp")
	}
	s := testkit.Serve(t, testkit.Options{Race: true, Models: root})
	for _, c := range []struct{ policy, versions, answers string }{
		{"", "10", "10"},
		{"versions: {latest: 2}", "3 10", "10"},
		{"versions: {all: true}", "1 2 3 10", "10"},
		{"versions: {specific: [1, 3]}\naliases: {stable: \"1\"}", "1 3", "3"},
		{"versions: {latest: 1}", "10", "10"},
	} {
		write(t, filepath.Join(dir, "model.yaml"), c.policy+"\n")
		load(t, s, "net").want(t, 200)
		var m struct{ Versions []string }
		a := ask(t, "GET", s.URL("/v2/models/net"), "")
		if err := json.Unmarshal([]byte(a.body), &m); err != nil || strings.Join(m.Versions, " ") != c.versions {
			t.Errorf("%s: versions %v (%v), want %s", c.policy, m.Versions, err, c.versions)
		}
		if got := answering(t, s, "net"); got != c.answers {
			t.Errorf("%s: version %s answers, want %s", c.policy, got, c.answers)
		}
		if strings.Contains(c.policy, "stable") {
			if got := answering(t, s, "net@stable"); got != "1" {
				t.Errorf("%s: net@stable is version %s", c.policy, got)
			}
		}
	}
}
