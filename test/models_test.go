package test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"serval/internal/testkit"
)

// answersRight asks every model with a row of its own and compares; models are asked a few at a time.
func answersRight(t *testing.T, s *testkit.Server, fleet []testkit.Small) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 8}}
	defer client.CloseIdleConnections()
	var work sync.WaitGroup
	for k := range 4 {
		work.Go(func() {
			for i := k; i < len(fleet); i += 4 {
				m, row := fleet[i], testkit.Row(i)
				r, err := client.Post(s.URL("/v2/models/"+m.Name+"/infer"), "application/json", strings.NewReader(m.Request(row)))
				if err != nil {
					t.Errorf("%s: %v", m.Name, err)
					return
				}
				body, err := io.ReadAll(r.Body)
				_ = r.Body.Close()
				var got struct {
					Model   string `json:"model_name"`
					Outputs []struct {
						Name string
						Data []float32
					}
				}
				if err == nil {
					err = json.Unmarshal(body, &got)
				}
				if err != nil || got.Model != m.Name || len(got.Outputs) != 1 || len(got.Outputs[0].Data) != 1 || got.Outputs[0].Data[0] != m.Answer(row) {
					t.Errorf("%s (%s): want %v; %d %s (%v)", m.Name, m.Kind, m.Answer(row), r.StatusCode, clip(string(body)), err)
				}
			}
		})
	}
	work.Wait()
}

// TestManyModels serves a few hundred small models of three kinds, among them some that cannot be loaded. test/hurt does it
// with 1,000, and measures.
func TestManyModels(t *testing.T) {
	t.Parallel()
	const n = 240
	root, data := t.TempDir(), t.TempDir()
	fleet, err := testkit.Fleet(root, n)
	if err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(filepath.Join(root, fleet[0].Name, "1", "model.onnx"))
	if err != nil {
		t.Fatal(err)
	}
	bad := map[string]string{"bad-onnx/1/model.onnx": string(whole[:len(whole)/2]), "bad-json/1/model.json": `{"learner":`, "bad-text/1/model.txt": "tree\nversion=v4\n", "bad-empty/1/readme": ""}
	for path, text := range bad {
		write(t, filepath.Join(root, path), text)
	}
	s := testkit.Serve(t, testkit.Options{Race: true, Models: root, Data: data, Unset: true})
	s.Await("the end of loading", func() bool { return strings.Contains(s.Log(), "some models failed") })
	if s.Ready() {
		t.Error("ready, though models failed")
	}
	all := index(t, s)
	if len(all) != n+len(bad) {
		t.Errorf("%d versions are listed, want %d", len(all), n+len(bad))
	}
	for path := range bad {
		name, _, _ := strings.Cut(path, "/")
		if m := all[name+" 1"]; m.State != "UNAVAILABLE" || m.Reason == "" {
			t.Errorf("%s: %+v", name, m)
		}
		ask(t, "POST", s.URL("/v2/models/"+name+"/infer"), row).wantError(t, 503, name)
	}
	answersRight(t, s, fleet)
	for path := range bad { // what is taken out of service keeps the server no longer from being ready
		name, _, _ := strings.Cut(path, "/")
		ask(t, "POST", s.URL("/v2/repository/models/"+name+"/unload"), "").want(t, 200)
		if err := os.RemoveAll(filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
	ask(t, "GET", s.URL("/v2/health/ready"), "").want(t, 200)
	one := fleet[n/2]
	ask(t, "POST", s.URL("/v2/repository/models/"+one.Name+"/unload"), "").want(t, 200)
	ask(t, "POST", s.URL("/v2/models/"+one.Name+"/infer"), one.Request(testkit.Row(1))).wantError(t, 503, one.Name, "unloaded")
	ask(t, "POST", s.URL("/v2/repository/models/"+one.Name+"/load"), "").want(t, 200)
	answersRight(t, s, fleet[n/2-1:n/2+2])
	ask(t, "POST", s.URL("/v2/models/nobody/infer"), row).wantError(t, 404, "small-0000", fmt.Sprintf("and %d more", n+len(bad)-20))
	metrics := ask(t, "GET", "http://"+s.Admin+"/metrics", "").body
	for _, m := range fleet {
		for _, name := range []string{"serval_model_ready", "nv_inference_request_success", "serval_request_duration_seconds_count"} {
			if !strings.Contains(metrics, name+"{") || !strings.Contains(metrics, `model="`+m.Name+`"`) {
				t.Errorf("no %s of %s in the metrics", name, m.Name)
			}
		}
	}
	s.Term()
	if code := s.Wait(limit); code != 0 {
		t.Errorf("exit code %d", code)
	}

	// What is known is not tried in a child again, and is ready only when all are; polling loads nothing anew.
	before, err := os.Stat(filepath.Join(data, "probed.json"))
	if err != nil {
		t.Fatal(err)
	}
	again := testkit.Serve(t, testkit.Options{Race: true, Models: root, Data: data, Args: []string{"--model-control", "poll", "--poll", "100ms"}})
	for name, m := range index(t, again) {
		if m.State != "READY" {
			t.Errorf("ready, and %s is %s: %s", name, m.State, m.Reason)
		}
	}
	answersRight(t, again, fleet)
	if after, err := os.Stat(filepath.Join(data, "probed.json")); err != nil || !after.ModTime().Equal(before.ModTime()) {
		t.Errorf("probed.json was written again: something was tried again (%v)", err)
	}
	write(t, filepath.Join(root, one.Name, "model.yaml"), "instances: 1\n")
	again.Await("the changed model", func() bool { return strings.Count(again.Log(), `msg="model loaded" model=`+one.Name+" ") > 1 })
	if loads := strings.Count(again.Log(), `msg="model loaded"`); loads != n+1 {
		t.Errorf("%d loads of %d models, one of which was changed", loads, n)
	}
	answersRight(t, again, fleet)
}
