package server

import (
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"serval"
	"serval/engine"
	"serval/engine/fake"
)

// lay writes files below a new folder called name.
func lay(t *testing.T, name string, files ...string) string {
	t.Helper()
	root := filepath.Join(t.TempDir(), name)
	for _, f := range files {
		path := filepath.Join(root, f)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		text := ""
		if filepath.Base(f) == "config.pbtxt" {
			text = `name: "named"`
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func reading(name string) *reader {
	return &reader{engines: []engine.Engine{fake.New()}, name: name, log: slog.New(slog.NewTextHandler(io.Discard, nil))}
}

func TestAFolderThatIsAModel(t *testing.T) {
	for want, files := range map[string][]string{
		"":       {"m/1/model.fake", "n/1/model.fake", "README.md"},
		"  ":     {"README.md"},
		"   ":    {"1/readme.txt"},
		"    ":   {"model.fake", "sub/1/model.fake"},
		"root":   {"model.fake", ".git/config"},
		"root ":  {"1/model.fake", "20/model.fake"},
		"named":  {"config.pbtxt", "1/model.fake"},
		"root  ": {"model.yaml", "model.fake", "data/rows.csv"},
	} {
		want = strings.TrimSpace(want)
		name, is := reading("").alone(lay(t, "root", files...))
		if is != (want != "") || is && name != want {
			t.Errorf("%v: %q, %v; want %q", files, name, is, want)
		}
		if name, is := reading("given").alone(lay(t, "root", files...)); is && name != "given" {
			t.Errorf("%v: %q with a name given", files, name)
		}
	}
}

func TestWhichFileCounts(t *testing.T) {
	r := reading("")
	dir := lay(t, "named", "config.pbtxt")
	if s, err := r.read("named", dir, nil); err != nil || len(s.Declared) == 0 {
		t.Errorf("%+v, %v", s, err)
	}
	if _, err := r.read("other", dir, nil); err == nil || !strings.Contains(err.Error(), `config.pbtxt: name: is "named"`) {
		t.Error(err)
	}
	if s, err := r.read("other", dir, &serval.ModelSettings{Declared: []byte{0}}); err != nil || len(s.Declared) != 0 {
		t.Errorf("with a configuration in its place: %+v, %v", s, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "model.yaml"), []byte("threads: 3\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if s, err := r.read("other", dir, nil); err != nil || s.Threads != 3 || len(s.Declared) != 0 {
		t.Errorf("Serval's own file comes first: %+v, %v", s, err)
	}
}

// MLServer's other layout: a file in each version folder, each of which is served.
func TestVersionsWithTheirOwnFiles(t *testing.T) {
	dir := lay(t, "m", "1/model.bst", "2/other.bst", "readme.txt")
	for version, text := range map[string]string{"1": `{"name":"own","implementation":"mlserver_lightgbm.LightGBMModel"}`,
		"2": `{"name":"own","implementation":"mlserver_lightgbm.LightGBMModel","parameters":{"uri":"other.bst","version":"v2"}}`} {
		if err := os.WriteFile(filepath.Join(dir, version, "model-settings.json"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	r := reading("")
	s, err := r.read("own", dir, nil)
	if err != nil || !s.Versions.All || r.named(dir) != "own" {
		t.Fatalf("%+v, %v, %s", s, err, r.named(dir))
	}
	s.Threads = 7
	for version, file := range map[string]string{"1": "model.bst", "2": "other.bst"} {
		got, err := r.version(filepath.Join(dir, version), s)
		if err != nil || got.File != file || got.Threads != 7 || got.Version != "" || got.Engine != "tree" {
			t.Errorf("version %s: %+v, %v", version, got, err)
		}
	}
}
