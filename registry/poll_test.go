package registry

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"serval"
)

// state is what the table shows: "m:1 one" for a version that is ready and its artefact's text.
func state(r *Registry) string {
	var list []string
	for _, info := range r.List() {
		s := info.Name + ":" + info.Version + " "
		if info.State == serval.StateReady {
			s += info.Engine
		} else {
			s += "(" + info.Reason + ")"
		}
		list = append(list, s)
	}
	return strings.Join(list, ", ")
}

// touch writes a file with another time of change than before, which file systems may otherwise round to the same.
func touch(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	at := time.Now()
	if info, err := os.Stat(path); err == nil {
		at = info.ModTime().Add(time.Second)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, at, at); err != nil {
		t.Fatal(err)
	}
}

func TestPoll(t *testing.T) {
	r, f, root := setUp(t, map[string]string{"a/policy": "all", "a/1/model.txt": "one", "b/1/model.txt": "bee"})
	if err := r.LoadAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	handler := func(ref serval.Ref) serval.Handler {
		h, _, err := r.Find(ref)
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	step := func(what, want string) {
		t.Helper()
		r.poll(t.Context())
		if got := state(r); got != want {
			t.Errorf("%s: %s\nwant %s", what, got, want)
		}
	}
	first := handler(serval.Ref{Name: "a", Version: "1"})
	step("nothing changed", "a:1 one, b:1 bee")
	touch(t, filepath.Join(root, "a/2/model.txt"), "two")
	step("a version more", "a:1 one, a:2 two, b:1 bee")
	if handler(serval.Ref{Name: "a", Version: "1"}) != first {
		t.Error("a version whose files did not change was loaded anew")
	}
	touch(t, filepath.Join(root, "a/2/model.txt"), "second")
	step("another artefact", "a:1 one, a:2 second, b:1 bee")
	touch(t, filepath.Join(root, "a/notes.txt"), "shared by all versions")
	step("a file of the whole model", "a:1 one, a:2 second, b:1 bee")
	if handler(serval.Ref{Name: "a", Version: "1"}) == first {
		t.Error("a file that all versions share changed, and version 1 was not loaded anew")
	}
	touch(t, filepath.Join(root, "a/2/model.txt"), "bad")
	r.poll(t.Context())
	if got := state(r); !strings.Contains(got, "a:2 second") || !r.Ready() {
		t.Errorf("a bad artefact: %s, ready %v", got, r.Ready())
	}
	live := f.live.Load()
	r.poll(t.Context())
	if f.live.Load() != live {
		t.Error("what failed was tried again, though nothing changed")
	}
	touch(t, filepath.Join(root, "c/1/model.txt"), "sea")
	if err := os.RemoveAll(filepath.Join(root, "b")); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(root, "a/2")); err != nil {
		t.Fatal(err)
	}
	step("models and versions come and go", "a:1 one, c:1 sea")
	if _, _, err := r.Find(serval.Ref{Name: "b"}); serval.AsError(err).Code != serval.NotFound {
		t.Errorf("a model whose folder is gone: %v", err)
	}
	away := root + ".away"
	if err := os.Rename(root, away); err != nil {
		t.Fatal(err)
	}
	step("the root cannot be read", "a:1 one, c:1 sea")
	if err := os.Rename(away, root); err != nil {
		t.Fatal(err)
	}
}

func TestLoadNamed(t *testing.T) {
	r, _, _ := setUp(t, map[string]string{"a/1/model.txt": "one", "b/1/model.txt": "bee"})
	err := r.LoadNamed(t.Context(), []string{"b", "zebra"})
	var e *serval.Error
	if !errors.As(err, &e) || e.Code != serval.NotFound || !strings.Contains(err.Error(), "'zebra'") || r.Ready() {
		t.Errorf("%v, ready %v", err, r.Ready())
	}
	if got := state(r); !strings.HasPrefix(got, "a: (not loaded), b:1 bee, zebra: (model 'zebra' has no folder") {
		t.Error(got)
	}
	r, _, _ = setUp(t, map[string]string{"a/1/model.txt": "one", "b/1/model.txt": "bee"})
	if err := r.LoadNamed(t.Context(), nil); err != nil || !r.Ready() {
		t.Errorf("none at all: %v, ready %v", err, r.Ready())
	}
	if err := r.Load(t.Context(), "a", nil); err != nil || state(r) != "a:1 one, b: (not loaded)" {
		t.Errorf("%v, %s", err, state(r))
	}
}

func TestNamesAndRoots(t *testing.T) {
	r, _, root := setUp(t, map[string]string{"folder/name": "own", "folder/model.txt": "x", "other/1/model.txt": "y"})
	r.opt.Name = func(dir string) string {
		raw, _ := os.ReadFile(filepath.Join(dir, "name"))
		return string(raw)
	}
	if err := r.LoadAll(t.Context()); err != nil || state(r) != "other:1 y, own:1 x" {
		t.Errorf("%v, %s", err, state(r))
	}
	read := r.opt.Read
	alone, _, _ := setUp(t, nil)
	alone.opt.Roots = []string{filepath.Join(root, "folder")}
	alone.opt.Alone = func(root string) (string, bool) { return "me", true }
	alone.opt.Read = func(name, dir string, over *serval.ModelSettings) (serval.ModelSettings, error) {
		s, err := read(name, dir, over)
		s.Version = "v1.2"
		return s, err
	}
	if err := alone.LoadAll(t.Context()); err != nil || state(alone) != "me:v1.2 x" {
		t.Errorf("%v, %s", err, state(alone))
	}
}

// A whole configuration that a load brings stands in the place of the one that is there, and Triton's versions that have no
// folder are left out.
func TestDeclaredSettings(t *testing.T) {
	r, _, _ := setUp(t, map[string]string{"m/1/model.txt": "one", "m/2/model.txt": "two"})
	var over []bool
	r.opt.Read = func(_, _ string, o *serval.ModelSettings) (serval.ModelSettings, error) {
		over = append(over, o != nil)
		return serval.ModelSettings{}, nil
	}
	s := &serval.ModelSettings{Declared: []byte{1}, Versions: serval.VersionPolicy{Specific: []int64{1, 7}}}
	if err := r.Load(t.Context(), "m", s); err != nil || state(r) != "m:1 one" || len(over) != 1 || !over[0] {
		t.Errorf("%v, %s, %v", err, state(r), over)
	}
	s.Versions.Specific = []int64{7}
	if err := r.Load(t.Context(), "m", s); err == nil || !strings.Contains(err.Error(), "version 7") {
		t.Error(err)
	}
}
