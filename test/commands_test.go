package test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"serval/internal/testkit"
)

// said is what a command left behind.
type said struct {
	out, errs string
	code      int
}

func run(t *testing.T, args ...string) said {
	t.Helper()
	out, errs, code := testkit.Run(t.Context(), t, args...)
	return said{out, errs, code}
}

// want checks the exit code, and that the words stand in the output, or for a failure in what was said about it.
func (s said) want(t *testing.T, code int, words ...string) said {
	t.Helper()
	text := s.out
	if code != 0 {
		text += s.errs
	}
	if s.code != code {
		t.Errorf("exit code %d, want %d\n%s%s", s.code, code, clip(s.out), clip(s.errs))
	}
	for _, w := range words {
		if !strings.Contains(text, w) {
			t.Errorf("no %q in\n%s", w, text)
		}
	}
	return s
}

// into reads the output as JSON.
func (s said) into(t *testing.T, v any) {
	t.Helper()
	if s.code != 0 {
		t.Fatalf("exit code %d: %s", s.code, s.errs)
	}
	if err := json.Unmarshal([]byte(s.out), v); err != nil {
		t.Fatalf("%v:\n%s", err, clip(s.out))
	}
}

// leaves are the commands without sub-commands, as the help lists them.
func leaves(t *testing.T, path ...string) [][]string {
	t.Helper()
	help := run(t, append(slices.Clone(path), "--help")...).want(t, 0)
	_, list, ok := strings.Cut(help.out, "Available Commands:\n")
	if !ok {
		return [][]string{path}
	}
	list, _, _ = strings.Cut(list, "\n\n")
	var out [][]string
	for line := range strings.Lines(list) {
		if name := strings.Fields(line); len(name) > 0 && name[0] != "help" {
			out = append(out, leaves(t, append(slices.Clone(path), name[0])...)...)
		}
	}
	return out
}

func TestHelp(t *testing.T) {
	t.Parallel()
	var names []string
	for _, path := range leaves(t) {
		name := strings.Join(path, " ")
		names = append(names, name)
		help := run(t, append(path, "--help")...).want(t, 0, "Usage:\n  serval "+name)
		if !strings.Contains(help.out, "Examples:\n") && path[0] != "completion" {
			t.Errorf("serval %s --help shows no example", name)
		}
		if strings.Contains(name, "probe") {
			t.Errorf("the inner command %s is shown", name)
		}
	}
	for _, name := range []string{"serve", "predict", "bench", "doctor", "config check", "config schema", "config hash-key", "model list", "model inspect",
		"model stats", "model load", "model unload", "model pull", "run", "batch run", "batch plan", "batch submit", "stream list", "completion bash"} {
		if !slices.Contains(names, name) {
			t.Errorf("no command %q; there are %q", name, names)
		}
	}
	run(t).want(t, 0, "serval model pull starter", "Available Commands:")
	run(t, "--version").want(t, 0, "serval")
}

func TestWrongCommandLines(t *testing.T) {
	t.Parallel()
	for line, words := range map[string][]string{
		"serve --colour":                 {"--colour", "serval serve --help"},
		"serve --config nothing.yaml":    {"nothing.yaml"},
		"serve extra":                    {"extra"},
		"predict":                        {"2"},
		"bench":                          {"1"},
		"bench mlp -o xml":               {"xml", "json"},
		"bench mlp --format soap":        {"soap", "grpc"},
		"doctor -o xml":                  {"xml", "json"},
		"config check nothing.yaml":      {"nothing.yaml"},
		"config schema colour":           {"colour", "server", "model"},
		"config hash-key":                {"standard input"},
		"model pull everything":          {"everything", "starter"},
		"model dance":                    {"dance", "serval model"},
		"config dance":                   {"dance", "serval config"},
		"dance":                          {"dance"},
		"serve --library onnxruntime":    {"name=path"},
		"bench mlp --concurrency=plenty": {"plenty"},
	} {
		t.Run(line, func(t *testing.T) { run(t, strings.Fields(line)...).want(t, 2, words...) })
	}
	run(t, "model", "list", "--server", "127.0.0.1:1").want(t, 1, "127.0.0.1:1", "refused", "serval serve")
}

func TestDoctor(t *testing.T) {
	run(t, "doctor").want(t, 0, "cpu", "avx", "glibc", "onnxruntime", "found", "All is well")
	var report map[string]any
	run(t, "doctor", "-o", "json").into(t, &report)
	if report["os"] != "linux" {
		t.Errorf("the report: %v", report)
	}
	empty := t.TempDir()
	run(t, "doctor", "--cache", empty).want(t, 1, "onnxruntime", "missing", "serval doctor --fix")
	run(t, "doctor", "--library", "onnxruntime="+filepath.Join(empty, "none.so")).want(t, 1, "none.so")
	// --fix takes it from a folder without the network.
	archives, err := filepath.Glob(filepath.Join(userCache(t), "serval", "archives", "onnxruntime-*"))
	if err != nil || len(archives) == 0 {
		t.Fatalf("no archive of the library in the cache: %v", err)
	}
	run(t, "doctor", "--fix", "--cache", empty, "--offline", filepath.Dir(archives[0])).want(t, 0, "All is well")
	nothing := t.TempDir()
	run(t, "doctor", "--fix", "--cache", t.TempDir(), "--offline", nothing).want(t, 1, "is not in "+nothing, "nothing is fetched", "--dest "+nothing)
	t.Setenv("PATH", t.TempDir()) // no package client
	run(t, "doctor", "--fix", "--cache", t.TempDir()).want(t, 1, "neither pip nor npm", "apt-get install python3-pip")
}

func userCache(t *testing.T) string {
	t.Helper()
	dir, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestConfigCommands(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	good, bad, model := filepath.Join(dir, "good.yaml"), filepath.Join(dir, "bad.yaml"), filepath.Join(dir, "model.yaml")
	write(t, good, "listen: 127.0.0.1:9000\nkeys:\n  - {name: ann, hash: \""+hashKey(t, "a")+"\"}\n")
	write(t, bad, "lisen: 127.0.0.1:9000\nlimits:\n  max_body: lots\n  request_timeout: 30\nkeys:\n  - {name: ann, hash: secret}\n")
	write(t, model, "batching:\n  mode: alwys\ninstances: -1\n")
	run(t, "config", "check", good).want(t, 0, good+": ok")
	// Every mistake at once, each with its place and a hint.
	run(t, "config", "check", bad, model, good).want(t, 2,
		bad+":1:1: unknown key \"lisen\"; did you mean \"listen\"?", bad+":3:13: limits.max_body", bad+":4:20: limits.request_timeout", bad+":6:", "keys[0].hash",
		model+":2:9: batching.mode", "did you mean", model+":3:12: instances", good+": ok")
	run(t, "serve", "--config", bad).want(t, 2, bad+":1:1:", bad+":3:13:")
	for _, kind := range []string{"server", "model"} {
		var schema struct {
			Schema     string         `json:"$schema"`
			Properties map[string]any `json:"properties"`
		}
		run(t, "config", "schema", kind).into(t, &schema)
		if !strings.Contains(schema.Schema, "json-schema.org") || len(schema.Properties) < 8 {
			t.Errorf("schema of %s: %+v", kind, schema)
		}
	}
	if hashKey(t, "a") == hashKey(t, "b") {
		t.Error("two keys have one hash")
	}
}

func TestServeRefusesToBeOpen(t *testing.T) {
	t.Parallel()
	root, data := t.TempDir(), t.TempDir()
	for _, flag := range []string{"--listen", "--grpc"} {
		run(t, "serve", "--models", root, "--data", data, flag, "0.0.0.0:0").want(t, 2, "0.0.0.0:0", "keys", "tls", "--insecure", "127.0.0.1")
	}
	run(t, "serve", "--models", root, "--data", data, "--admin", "0.0.0.0:0").want(t, 2, "admin", "127.0.0.1", "--insecure")
	write(t, filepath.Join(root, "labelled/1/model.fake"), written["labelled/1/model.fake"])
	s := testkit.Serve(t, testkit.Options{Models: root, Args: []string{"--listen", "0.0.0.0:0", "--insecure"}})
	if !s.Ready() {
		t.Error("--insecure does not serve")
	}
	conf := filepath.Join(t.TempDir(), "serval.yaml")
	write(t, conf, "keys:\n  - {name: ann, hash: \""+hashKey(t, "a")+"\"}\n")
	s = testkit.Serve(t, testkit.Options{Models: root, Args: []string{"--listen", "0.0.0.0:0", "--config", conf}})
	ask(t, "POST", s.URL("/v2/models/labelled/infer"), row).wantError(t, 401, "API key")
}

func TestServeFlags(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	write(t, filepath.Join(root, "labelled/1/model.fake"), written["labelled/1/model.fake"])
	s := testkit.Serve(t, testkit.Options{Models: root, Args: []string{"--hello"}, Env: []string{"SERVAL_LOG_LEVEL=debug"}})
	s.Await("what to type next", func() bool { return strings.Contains(s.Log(), "Ctrl-C drains and stops.") })
	if !strings.Contains(s.Log(), "model list --server http://"+s.HTTP) {
		t.Error("--hello names no command for this server")
	}
	run(t, "serve", "--models", root, "--data", t.TempDir(), "--listen", s.HTTP, "--grpc", "off", "--admin", "off").want(t, 1, s.HTTP, "another program has that port")
	s.Term()
	if code := s.Wait(limit); code != 0 {
		t.Errorf("SIGTERM: exit code %d", code)
	}
	missing := filepath.Join(root, "no-such-folder")
	s = testkit.Serve(t, testkit.Options{Models: missing, Unset: true, Args: []string{"--grpc", "off", "--admin", "off"}})
	s.Await("a word about the folder", func() bool { return strings.Contains(s.Log(), "no-such-folder") })
}

func TestCompletion(t *testing.T) {
	t.Parallel()
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		run(t, "completion", shell).want(t, 0, "serval")
	}
	script := filepath.Join(t.TempDir(), "complete")
	write(t, script, run(t, "completion", "bash").out)
	if out, err := exec.Command("bash", "-n", script).CombinedOutput(); err != nil {
		t.Errorf("bash does not read its completion: %v\n%s", err, out)
	}
	run(t, "__complete", "model", "").want(t, 0, "inspect", "unload")
}

func TestModelCommands(t *testing.T) {
	t.Parallel()
	s := serve(t)
	at := []string{"--server", s.HTTP}
	on := func(args ...string) said { return run(t, append(args, at...)...) }
	on("model", "list").want(t, 0, "MODEL", "STATE", "mlp", "credit", "READY")
	var list []map[string]any
	on("model", "list", "-o", "json").into(t, &list)
	if len(list) < 20 {
		t.Errorf("%d models listed", len(list))
	}
	on("model", "inspect", "mlp").want(t, 0, "onnxruntime_onnx", "input", "x", "FP32", "batching", "on: ")
	on("model", "inspect", "anyrank").want(t, 0, "off: ")
	on("model", "inspect", "versions@stable").want(t, 0, "versions", "1, 2, 3")
	var info map[string]any
	on("model", "inspect", "mlp", "-o", "json").into(t, &info)
	on("model", "inspect", "nobody").want(t, 1, "'nobody'")

	for range 3 {
		ask(t, "POST", s.URL("/v2/models/labelled/infer"), row).want(t, 200)
	}
	on("model", "stats", "labelled").want(t, 0, "3 in 3 executions", "batch of 1", "closed")
	var stats []map[string]any
	on("model", "stats", "labelled", "-o", "json").into(t, &stats)
	if len(stats) != 1 || stats[0]["name"] != "labelled" {
		t.Errorf("stats: %v", stats)
	}

	on("model", "unload", "scalar", "gather").want(t, 0, "scalar: unloaded", "gather: unloaded")
	on("model", "list").want(t, 0, "UNAVAILABLE", "unloaded")
	on("model", "inspect", "scalar").want(t, 1, "'scalar'", "unloaded")
	on("model", "load", "scalar", "gather").want(t, 0, "scalar: loaded")
	on("model", "inspect", "scalar").want(t, 0, "scalar")
	on("model", "load", "nobody").want(t, 1, "'nobody'")
	on("model", "unload", "nobody").want(t, 1, "'nobody'")
}

func TestPull(t *testing.T) {
	root := filepath.Join(t.TempDir(), "models")
	run(t, "model", "pull", "starter", "--models", root).want(t, 0, "file-types", "ocr", "credit", "serval predict credit")
	run(t, "model", "pull", "starter", "--models", root).want(t, 0, "credit")
	write(t, filepath.Join(root, "credit", "1", "model.onnx"), "mine")
	run(t, "model", "pull", "starter", "--models", root).want(t, 1, "credit", "differs")
	t.Setenv("PATH", t.TempDir()) // no package client
	run(t, "model", "pull", "starter", "--models", filepath.Join(t.TempDir(), "m"), "--cache", t.TempDir()).want(t, 1, "pip", "install")
}
