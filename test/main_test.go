package test

import (
	"compress/gzip"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	gziprpc "google.golang.org/grpc/encoding/gzip"

	"serval/internal/testkit"
)

// scratch is a folder for what all tests of this process share. It stays the same path for all, since the server knows an
// artefact that passed its probe by its path.
var scratch string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "serval-e2e-")
	if err != nil {
		panic(err)
	}
	scratch = dir
	if err := gziprpc.SetLevel(gzip.BestSpeed); err != nil { // what is compressed here is large, and slow under the race detector
		panic(err)
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// fixtures are the models of engine/onnx/testdata that are served as they are.
var fixtures = []string{"mlp", "types", "concat", "zipmap_string", "zipmap_int", "scalar", "anyrank", "nonzero", "optional",
	"sequence", "add_fp16", "add_int32", "add_uint64", "gather", "external"}

// written are models beside the fixtures, by their files.
var written = map[string]string{
	"versions/model.yaml":  "versions: {all: true}\naliases: {stable: \"1\"}\n",
	"labelled/model.yaml":  "labels: {y: classes.txt}\n",
	"labelled/classes.txt": "cat\ndog\nbird\nfish\n",
	"labelled/1/model.fake": `{"inputs":[{"name":"x","datatype":"FP32","shape":[-1,4],"symbols":["n",""]}],
		"outputs":[{"name":"y","datatype":"FP32","shape":[-1,4],"symbols":["n",""]}]}`,
	"slow/model.yaml": "instances: 1\nbatching: {mode: off}\n",
	"slow/1/model.fake": `{"inputs":[{"name":"x","datatype":"FP32","shape":[-1,4],"symbols":["n",""]}],
		"outputs":[{"name":"y","datatype":"FP32","shape":[-1,4],"symbols":["n",""]}],"delay":"200ms"}`,
	"counter/1/model.fake": `{"inputs":[{"name":"x","datatype":"INT32","shape":[1]}],
		"outputs":[{"name":"step","datatype":"INT32","shape":[1]}],"steps":3}`,
}

var shared struct {
	once   sync.Once
	models string
	data   string
}

// models is a folder with all fixtures and the starter models. Tests must not change it.
func models(t *testing.T) string {
	t.Helper()
	shared.once.Do(func() {
		root := filepath.Join(scratch, "models")
		for _, name := range fixtures {
			put(t, filepath.Join(root, name), "1", name)
		}
		put(t, filepath.Join(root, "external"), "1", "external", "external.weights")
		for _, v := range []string{"1", "2", "3"} {
			put(t, filepath.Join(root, "versions"), v, "mlp")
		}
		for path, text := range written {
			write(t, filepath.Join(root, path), text)
		}
		pull(t, root)
		shared.models, shared.data = root, filepath.Join(scratch, "data")
	})
	if shared.models == "" {
		t.Fatal("the shared models could not be laid out; the first test that needs them says why")
	}
	return shared.models
}

// put lays one fixture out as a version of a model.
func put(t *testing.T, model, version, fixture string, more ...string) {
	t.Helper()
	from := filepath.Join(testkit.Root(), "engine", "onnx", "testdata")
	copyFile(t, filepath.Join(from, fixture+".onnx"), filepath.Join(model, version, "model.onnx"))
	for _, name := range more {
		copyFile(t, filepath.Join(from, name), filepath.Join(model, version, name))
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	write(t, to, string(data))
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// pull lays the starter models out in root.
func pull(t *testing.T, root string) {
	t.Helper()
	if out, errs, code := testkit.Run(t.Context(), t, "model", "pull", "starter", "--models", root); code != 0 {
		t.Fatalf("model pull starter: exit code %d\n%s%s", code, out, errs)
	}
}

// serve starts the race detector's build on the shared models.
func serve(t *testing.T, args ...string) *testkit.Server {
	t.Helper()
	dir := models(t)
	return testkit.Serve(t, testkit.Options{Race: true, Models: dir, Data: shared.data, Args: args})
}

// cache is where test/setup.sh puts its things.
func cache(t *testing.T, path ...string) string {
	t.Helper()
	user, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(append([]string{user, "serval-test"}, path...)...)
	if _, err := os.Stat(file); err != nil {
		t.Fatalf("%v; run test/setup.sh first", err)
	}
	return file
}

// pytest runs files of test/python in one of setup.sh's environments against s, which serves the shared models. What it says
// is shown only if it fails.
func pytest(t *testing.T, s *testkit.Server, env string, files ...string) {
	t.Helper()
	pytestOn(t, s, shared.models, env, files...)
}

// pytestOn is pytest for a server of other models.
func pytestOn(t *testing.T, s *testkit.Server, models, env string, files ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	args := []string{"-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=short"}
	cmd := exec.CommandContext(ctx, cache(t, "venv-"+env, "bin", "python"), append(args, files...)...)
	cmd.Dir = "python"
	cmd.Env = append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1", "SERVAL_HTTP="+s.HTTP, "SERVAL_GRPC="+s.GRPC, "SERVAL_MODELS="+models, "SERVAL_ADMIN="+s.Admin)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %v\n%s", files, err, out)
	}
}

// limit bounds waits for what should come at once.
const limit = time.Minute
