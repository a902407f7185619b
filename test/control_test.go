package test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"serval/internal/testkit"
)

const echoModel = `{"inputs":[{"name":"x","datatype":"FP32","shape":[-1,4],"symbols":["n",""]}],"outputs":[{"name":"y","datatype":"FP32","shape":[-1,4],"symbols":["n",""]}]}`

// states is the index in short: "a 1 READY, b UNAVAILABLE".
func states(t *testing.T, s *testkit.Server, names ...string) string {
	t.Helper()
	all := index(t, s)
	var list []string
	for _, name := range names {
		state := "gone"
		if m, ok := all[name]; ok {
			state = m.State
		}
		list = append(list, name+" "+state)
	}
	return strings.Join(list, ", ")
}

func TestModelControlExplicit(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	for _, name := range []string{"a", "b", "c"} {
		write(t, filepath.Join(root, name, "1", "model.fake"), echoModel)
	}
	s := testkit.Serve(t, testkit.Options{Race: true, Models: root, Args: []string{"--model-control", "explicit", "--load-model", "a", "--load-model", "b"}})
	if got := states(t, s, "a 1", "b 1", "c"); got != "a 1 READY, b 1 READY, c UNAVAILABLE" {
		t.Error(got)
	}
	ask(t, "POST", s.URL("/v2/models/c/infer"), row).wantError(t, 503, "c", "not loaded")
	ask(t, "POST", s.URL("/v2/repository/models/c/load"), "").want(t, 200)
	ask(t, "POST", s.URL("/v2/repository/models/a/unload"), "").want(t, 200)
	if got := states(t, s, "a 1", "b 1", "c 1"); got != "a 1 UNAVAILABLE, b 1 READY, c 1 READY" {
		t.Error(got)
	}
	all := testkit.Serve(t, testkit.Options{Models: root, Args: []string{"--model-control", "explicit", "--load-model", "*"}})
	if got := states(t, all, "a 1", "b 1", "c 1"); got != "a 1 READY, b 1 READY, c 1 READY" {
		t.Error(got)
	}
	none := testkit.Serve(t, testkit.Options{Models: root, Args: []string{"--model-control", "explicit"}})
	if got := states(t, none, "a", "b", "c"); got != "a UNAVAILABLE, b UNAVAILABLE, c UNAVAILABLE" {
		t.Error(got)
	}
	missing := testkit.Serve(t, testkit.Options{Models: root, Unset: true, Args: []string{"--model-control", "explicit", "--load-model", "zebra"}})
	missing.Await("the end of loading", func() bool { return strings.Contains(missing.Log(), "not ready: some models failed") })
	if m := index(t, missing)["zebra"]; !strings.Contains(m.Reason, "has no folder") {
		t.Errorf("a model that is not there: %+v", m)
	}
	ask(t, "GET", missing.URL("/v2/health/ready"), "").want(t, 503)
}

func TestModelControlPoll(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	write(t, filepath.Join(root, "a", "1", "model.fake"), echoModel)
	write(t, filepath.Join(root, "b", "1", "model.fake"), echoModel)
	s := testkit.Serve(t, testkit.Options{Race: true, Models: root, Args: []string{"--model-control", "poll", "--poll", "100ms"}})
	write(t, filepath.Join(root, "a", "2", "model.fake"), echoModel)
	write(t, filepath.Join(root, "c", "1", "model.fake"), echoModel)
	if err := os.RemoveAll(filepath.Join(root, "b")); err != nil {
		t.Fatal(err)
	}
	s.Await("the changes", func() bool {
		return states(t, s, "a 1", "a 2", "b 1", "c 1") == "a 1 gone, a 2 READY, b 1 gone, c 1 READY"
	}) // the newest version alone is served
	ask(t, "POST", s.URL("/v2/repository/models/a/load"), "").wantError(t, 503, "not allowed", "poll")
	ask(t, "POST", s.URL("/v2/repository/models/a/unload"), "").wantError(t, 503, "not allowed", "poll")
	write(t, filepath.Join(root, "a", "config.pbtxt"), "version_policy { all { } }\nmax_batch_size: 3\n")
	s.Await("both versions", func() bool { return states(t, s, "a 1", "a 2") == "a 1 READY, a 2 READY" })
	s.Await("the new configuration", func() bool {
		return strings.Contains(ask(t, "GET", s.URL("/v2/models/a/config"), "").body, `"max_batch_size":3`)
	})
	s.Term()
	if code := s.Wait(limit); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

func TestModelControlNone(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	write(t, filepath.Join(root, "a", "1", "model.fake"), echoModel)
	s := testkit.Serve(t, testkit.Options{Models: root, Args: []string{"--model-control", "none"}})
	ask(t, "POST", s.URL("/v2/repository/models/a/unload"), "").wantError(t, 503, "not allowed", "none")
	_, errs, code := testkit.Run(t.Context(), t, "serve", "--models", root, "--data", t.TempDir(), "--load-model", "a")
	if code != 2 || !strings.Contains(errs, "model_control.load") {
		t.Errorf("--load-model alone: exit code %d, %s", code, errs)
	}
	if _, errs, code = testkit.Run(t.Context(), t, "serve", "--models", root, "--data", t.TempDir(), "--model-control", "pol"); code != 2 || !strings.Contains(errs, `did you mean "poll"`) {
		t.Errorf("a mode that is none: exit code %d, %s", code, errs)
	}
}

// KServe mounts a model's files alone, or with version folders, and says by a flag what the model is called.
func TestAFolderThatIsOneModel(t *testing.T) {
	t.Parallel()
	bare, versions := filepath.Join(t.TempDir(), "models"), filepath.Join(t.TempDir(), "models")
	put(t, bare, ".", "mlp")
	for _, v := range []string{"0000001", "2"} {
		put(t, versions, v, "mlp")
	}
	for dir, name := range map[string]string{bare: "credit", versions: ""} {
		args := []string{}
		if name != "" {
			args = append(args, "--model-name", name)
		} else {
			name = "models"
		}
		s := testkit.Serve(t, testkit.Options{Models: dir, Args: args})
		ask(t, "GET", s.URL("/v2/models/"+name+"/ready"), "").want(t, 200)
		ask(t, "POST", s.URL("/v1/models/"+name+":predict"), `{"instances":[[`+strings.TrimSuffix(strings.Repeat("0,", 30), ",")+`]]}`).want(t, 200)
		if all := index(t, s); len(all) != 1 {
			t.Errorf("%s: %v", dir, all)
		}
	}
}
