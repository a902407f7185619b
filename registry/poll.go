package registry

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// settleTime is how long a model's files must stay as they are before a change is acted on: a copy under way goes on
// changing.
const settleTime = 500 * time.Millisecond

// Poll looks at the folders again and again until ctx ends: new models are loaded, those whose files or settings changed are
// loaded anew (of these only the versions that changed), those whose folder is gone are unloaded and forgotten. What fails
// leaves the copy that served before in its place, and is tried again when its files change.
func (r *Registry) Poll(ctx context.Context, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			r.poll(ctx)
		}
	}
}

func (r *Registry) poll(ctx context.Context) {
	for _, root := range r.opt.Roots { // one that cannot be read now is not one without models
		if _, err := os.ReadDir(root); err != nil {
			r.opt.Log.Warn("a models folder cannot be read; nothing is changed", "error", err)
			return
		}
	}
	found, _ := r.list()
	for _, name := range r.gone(found) {
		if err := r.forget(ctx, name); err != nil {
			r.opt.Log.Error("model not unloaded", "model", name, "error", err)
		}
	}
	changed := r.changed(found)
	if len(changed) == 0 {
		return
	}
	select {
	case <-ctx.Done():
		return
	case <-time.After(settleTime):
	}
	done := make(chan error)
	count := 0
	for name, files := range changed {
		if now, err := look(found[name]); err != nil || !reflect.DeepEqual(now, files) {
			continue // the next look will do
		}
		count++
		go func() { done <- r.load(ctx, name, found[name], nil, false) }() // which has logged what failed
	}
	for range count {
		<-done
	}
}

// gone lists the models whose folders are not there any more.
func (r *Registry) gone(found map[string]string) (list []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for name := range r.models {
		if _, ok := found[name]; !ok {
			list = append(list, name)
		}
	}
	return list
}

// changed finds the models whose files are not what they were when they were read last.
func (r *Registry) changed(found map[string]string) map[string]snapshot {
	out := map[string]snapshot{}
	for name, dir := range found {
		files, err := look(dir)
		if err != nil {
			continue
		}
		r.mu.Lock()
		m := r.models[name]
		same := m != nil && m.dir == dir && reflect.DeepEqual(m.files, files)
		r.mu.Unlock()
		if !same {
			out[name] = files
		}
	}
	return out
}

// forget unloads a model and takes it off the list.
func (r *Registry) forget(ctx context.Context, name string) error {
	err := r.Unload(ctx, name)
	r.mu.Lock()
	r.drop(name)
	r.mu.Unlock()
	if err == nil {
		r.opt.Log.Info("model unloaded, since its folder is gone", "model", name)
	}
	return err
}

// unchanged says whether what a version would be loaded from is what it was loaded from.
func (r *Registry) unchanged(m *model, src Source) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	v := m.versions[src.Version]
	return v != nil && v.loaded != nil && v.from.files != "" && reflect.DeepEqual(v.from, src)
}

// snapshot is what a model's folder looked like: a digest of its files' names, sizes and times of change.
type snapshot struct {
	shared   string            // of all but the version folders
	versions map[string]string // by version folder
}

// of is what stands for the files of one version; dir is its folder.
func (s snapshot) of(dir string) string {
	if s.shared == "" {
		return ""
	}
	return s.shared + " " + s.versions[filepath.Base(dir)]
}

// look takes a snapshot of a model's folder.
func look(dir string) (snapshot, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return snapshot{}, err
	}
	s := snapshot{versions: map[string]string{}}
	shared := sha256.New()
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		into := shared
		n, err := strconv.ParseInt(e.Name(), 10, 64)
		number := err == nil && n >= 0
		if number {
			into = sha256.New()
		}
		if err := digest(into, path, 0); err != nil {
			return snapshot{}, err
		}
		if number {
			s.versions[e.Name()] = hex.EncodeToString(into.Sum(nil))
		}
	}
	s.shared = hex.EncodeToString(shared.Sum(nil))
	return s, nil
}

// deepest is how far below a model's folder files are looked at; links may lead in circles.
const deepest = 16

// digest adds a file, or all in a folder, to h. Links are followed.
func digest(h hash.Hash, path string, depth int) error {
	if strings.HasPrefix(filepath.Base(path), ".") { // an editor's, or a copy's under way
		return nil
	}
	info, err := os.Stat(path)
	if os.IsNotExist(err) { // removed meanwhile, or a link to nothing
		return nil
	}
	if err != nil {
		return err
	}
	if !info.IsDir() {
		fmt.Fprintf(h, "%s %d %d\n", path, info.Size(), info.ModTime().UnixNano())
		return nil
	}
	fmt.Fprintf(h, "%s/\n", path)
	if depth == deepest {
		return nil
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := digest(h, filepath.Join(path, e.Name()), depth+1); err != nil {
			return err
		}
	}
	return nil
}
