package test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"serval/internal/testkit"
)

// index is the repository index by model and version: "mlp 1" → its state and reason.
func index(t *testing.T, s *testkit.Server) map[string]struct{ State, Reason string } {
	t.Helper()
	a := ask(t, "POST", s.URL("/v2/repository/index"), "")
	a.want(t, 200)
	var list []struct{ Name, Version, State, Reason string }
	if err := json.Unmarshal([]byte(a.body), &list); err != nil {
		t.Fatalf("%v: %s", err, a.body)
	}
	out := map[string]struct{ State, Reason string }{}
	for _, m := range list {
		out[strings.TrimSpace(m.Name+" "+m.Version)] = struct{ State, Reason string }{m.State, m.Reason}
	}
	return out
}

// TestBadModels serves a folder in which one model is good and all others are broken in different ways: the good one is
// served, each other one says in the index and to who asks for it what is wrong with it, and mending one is enough.
func TestBadModels(t *testing.T) {
	t.Parallel()
	root, source := t.TempDir(), filepath.Join(testkit.Root(), "engine", "onnx", "testdata")
	put(t, filepath.Join(root, "good"), "1", "mlp")
	raw, err := os.ReadFile(filepath.Join(source, "mlp.onnx"))
	if err != nil {
		t.Fatal(err)
	}
	whole := string(raw)
	flipped := []byte(whole)
	for i := range 64 {
		flipped[i] ^= 0xa5
	}
	files := map[string]string{
		"half-copied/1/model.onnx":   whole[:len(whole)/2],
		"corrupt/1/model.onnx":       string(flipped),
		"no-onnx/1/model.onnx":       "this is not a model\n",
		"no-bytes/1/model.onnx":      "",
		"no-files/1/.keep":           "",
		"other-files/1/readme.txt":   "hello\n",
		"two-engines/1/model.onnx":   whole,
		"two-engines/1/model.fake":   `{"inputs":[],"outputs":[]}`,
		"bad-fake/1/model.fake":      `{"inputs":[{"name":"x","datatype":"FLOAT","shape":[1]}]}`,
		"bad-yaml/1/model.onnx":      whole,
		"bad-yaml/model.yaml":        "instances: many\nbatching:\n  maxx: 4\n",
		"bad-engine/1/model.onnx":    whole,
		"bad-engine/model.yaml":      "engine: tensorfire\n",
		"bad-device/1/model.onnx":    whole,
		"bad-device/model.yaml":      "device: toaster\n",
		"bad-labels/1/model.onnx":    whole,
		"bad-labels/model.yaml":      "labels: {y: nothing.txt}\n",
		"bad-version/1/model.onnx":   whole,
		"bad-version/model.yaml":     "versions: {specific: [4]}\n",
		"bad-alias/1/model.onnx":     whole,
		"bad-alias/model.yaml":       "aliases: {stable: \"3\"}\n",
		"twice-1/1/model.onnx":       whole,
		"twice-1/01/model.onnx":      whole,
		"outside/1/secret.weights":   "",
		"some-versions/1/model.onnx": whole,
		"some-versions/2/model.onnx": whole[:1000],
		"some-versions/model.yaml":   "versions: {all: true}\n",
	}
	for path, text := range files {
		write(t, filepath.Join(root, path), text)
	}
	put(t, filepath.Join(root, "no-weights"), "1", "external")
	put(t, filepath.Join(root, "float8"), "1", "refused_float8")
	// The weights lie outside the model's folder; the path in the file is the same name.
	put(t, filepath.Join(root, "outside"), "1", "external")
	elsewhere := t.TempDir()
	copyFile(t, filepath.Join(source, "external.weights"), filepath.Join(elsewhere, "external.weights"))
	if err := os.Symlink(filepath.Join(elsewhere, "external.weights"), filepath.Join(root, "outside", "1", "external.weights")); err != nil {
		t.Fatal(err)
	}

	s := testkit.Serve(t, testkit.Options{Race: true, Models: root, Unset: true})
	s.Await("the end of loading", func() bool { return strings.Contains(s.Log(), "not ready: some models failed") })
	if code := ask(t, "GET", s.URL("/v2/health/live"), "").code; code != 200 {
		t.Errorf("live: %d", code)
	}
	ask(t, "GET", s.URL("/v2/health/ready"), "").want(t, 503)
	got := index(t, s)
	if got["good 1"].State != "READY" || got["some-versions 1"].State != "READY" {
		t.Errorf("the good ones: %v, %v", got["good 1"], got["some-versions 1"])
	}
	for model, words := range map[string][]string{
		"half-copied 1": {"model.onnx"}, "corrupt 1": {"model.onnx"}, "no-onnx 1": {"model.onnx"}, "no-bytes 1": {"model.onnx"},
		"no-files 1": {"no engine loads", ".onnx", "model.fake"}, "other-files 1": {"no engine loads"},
		"two-engines 1":   {"fake", "onnx", "both accept it", "engine:"},
		"bad-fake 1":      {"model.fake", "inputs", "FLOAT"},
		"bad-yaml":        {"model.yaml:1:", "instances", "model.yaml:3:", "maxx", "max"},
		"bad-engine 1":    {"tensorfire", "onnx"},
		"bad-device 1":    {"toaster"},
		"bad-labels 1":    {"labels.y", "nothing.txt"},
		"bad-version":     {"version 4", "[1]"},
		"bad-alias":       {"aliases.stable", "3"},
		"twice-1":         {"version 1", "two folders"},
		"no-weights 1":    {"external.weights"},
		"outside 1":       {"external.weights"},
		"float8 1":        {"'x'"},
		"some-versions 2": {"model.onnx"},
	} {
		m, ok := got[model]
		if !ok || m.State != "UNAVAILABLE" {
			t.Errorf("%s: %v (known: %v)", model, m, ok)
			continue
		}
		for _, w := range words {
			if !strings.Contains(m.Reason, w) {
				t.Errorf("%s: no %q in its reason: %s", model, w, m.Reason)
			}
		}
		name, version, _ := strings.Cut(model, " ")
		path := "/v2/models/" + name
		if version == "2" {
			path += "/versions/2"
		}
		ask(t, "POST", s.URL(path+"/infer"), row).wantError(t, 503, name, words[0])
	}
	ask(t, "POST", s.URL("/v2/models/good/infer"), row).wantError(t, 400, "'x'")
	write(t, filepath.Join(root, "half-copied", "1", "model.onnx"), whole)
	ask(t, "POST", s.URL("/v2/repository/models/half-copied/load"), "").want(t, 200)
	if m := index(t, s)["half-copied 1"]; m.State != "READY" || m.Reason != "" {
		t.Errorf("mended: %v", m)
	}
	if strings.Contains(s.Log(), "panic") {
		t.Errorf("a panic in the log")
	}
}
