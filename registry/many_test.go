package registry

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"serval"
)

// agree compares what look-ups see with what the models are, worked out anew.
func agree(t *testing.T, r *Registry) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	ready := true
	var want []string
	for name, m := range r.models {
		v := m.look()
		ready = ready && !v.missing
		for _, info := range v.list {
			want = append(want, fmt.Sprint(name, " ", info.Version, " ", info.State, " ", info.Reason))
		}
		for _, info := range v.list {
			s, err := r.find(serval.Ref{Name: name, Version: info.Version})
			if (err == nil) != (info.State == serval.StateReady) || err == nil && s.loaded != m.versions[info.Version].loaded {
				t.Errorf("%s:%s is %s, found: %v", name, info.Version, info.State, err)
			}
		}
	}
	var got []string
	for _, info := range r.List() {
		got = append(got, fmt.Sprint(info.Name, " ", info.Version, " ", info.State, " ", info.Reason))
	}
	slices.Sort(want)
	slices.Sort(got)
	if r.Ready() != ready || !slices.Equal(got, want) {
		t.Fatalf("ready %v, want %v\nlist %s\nwant %s", r.Ready(), ready, strings.Join(got, "; "), strings.Join(want, "; "))
	}
}

// TestManyChanges changes models in every way there is; each model is published alone, and all must agree after each.
func TestManyChanges(t *testing.T) {
	const models = 12
	tree := map[string]string{}
	name := func(i int) string { return fmt.Sprintf("m%02d", i) }
	for i := range models {
		tree[name(i)+"/1/model.txt"] = "one"
	}
	r, _, root := setUp(t, tree)
	if r.Ready() {
		t.Error("ready before anything was loaded")
	}
	if err := r.LoadAll(t.Context()); err != nil || !r.Ready() {
		t.Fatalf("%v, ready %v", err, r.Ready())
	}
	agree(t, r)
	if done, of := r.Progress(); done != models || of != models {
		t.Errorf("%d of %d models done", done, of)
	}
	random := rand.New(rand.NewPCG(1, 2))
	for step := range 300 {
		m := name(random.IntN(models))
		dir := filepath.Join(root, m)
		text := fmt.Sprint("step ", step)
		switch random.IntN(7) {
		case 0:
			_ = r.Unload(t.Context(), m) // a model that was dropped cannot be
		case 1:
			write(t, root, map[string]string{m + "/1/model.txt": "bad " + text})
			_ = r.Load(t.Context(), m, nil)
		case 2:
			write(t, root, map[string]string{m + "/policy": "all", m + "/2/model.txt": text})
			_ = r.Load(t.Context(), m, nil)
		case 3:
			write(t, root, map[string]string{m + "/policy": "unreadable"})
			_ = r.Load(t.Context(), m, nil)
		case 4:
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
			if err := r.forget(t.Context(), m); err == nil && r.table.Load().models[m] != nil {
				t.Errorf("%s was forgotten and is found", m)
			}
		default:
			write(t, root, map[string]string{m + "/policy": "alias", m + "/2/model.txt": text})
			if err := r.Load(t.Context(), m, nil); err == nil && serves(r, m+"@prod") != text {
				t.Errorf("%s: %s, want %s", m, serves(r, m+"@prod"), text)
			}
		}
		agree(t, r)
	}
}

// TestLocate: a model that is where it was is found without a look at the others, one that moved is found too.
func TestLocate(t *testing.T) {
	r, _, root := setUp(t, map[string]string{"a/1/model.txt": "a", "b/1/model.txt": "b"})
	looks := 0
	r.opt.Name = func(dir string) string {
		looks++
		raw, _ := os.ReadFile(filepath.Join(dir, "name"))
		return string(raw)
	}
	if err := r.LoadAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	looks = 0
	if err := r.Load(t.Context(), "a", nil); err != nil || looks != 1 {
		t.Errorf("%v, %d folders looked at", err, looks)
	}
	write(t, root, map[string]string{"a/name": "z", "b/name": "a"})
	if err := r.Load(t.Context(), "a", nil); err != nil || serves(r, "a") != "b" {
		t.Errorf("the folder b is called a now: %v, %s", err, serves(r, "a"))
	}
	if err := r.Load(t.Context(), "z", nil); err != nil || serves(r, "z") != "a" {
		t.Errorf("the folder a is called z now: %v, %s", err, serves(r, "z"))
	}
	if err := os.RemoveAll(filepath.Join(root, "b")); err != nil {
		t.Fatal(err)
	}
	if err := r.Load(t.Context(), "a", nil); err == nil || !strings.Contains(err.Error(), "there are: z") {
		t.Errorf("a model that is gone: %v", err)
	}
	for _, name := range []string{"../b", ".", ".hidden", ""} {
		if err := r.Load(t.Context(), name, nil); err == nil {
			t.Errorf("%q was loaded", name)
		}
	}
}
