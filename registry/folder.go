package registry

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"serval"
)

// Source is one version on disk, as a Loader gets it.
type Source struct {
	Name     string
	Version  string
	Root     string // the model's folder
	Dir      string // the version's folder; equal to Root where there are no version folders
	Settings serval.ModelSettings
	files    string // what its files looked like when the settings were read
}

// list finds the model folders below the roots: every folder whose name does not start with '.' or '_'; or the root itself,
// where that is one. Of two models with the same name, the first root's wins and the other is an error.
func (r *Registry) list() (map[string]string, []error) {
	found := map[string]string{}
	var errs []error
	add := func(name, dir string) {
		switch other, twice := found[name]; {
		case strings.ContainsAny(name, ":@"):
			errs = append(errs, fmt.Errorf("model folder %s: ':' and '@' stand before a version or an alias in a model's name; rename the folder", dir))
		case twice:
			errs = append(errs, fmt.Errorf("model '%s' is in two folders, %s and %s; the first is served", name, other, dir))
		default:
			found[name] = dir
		}
	}
	for _, root := range r.opt.Roots {
		if r.opt.Alone != nil {
			if name, is := r.opt.Alone(root); is {
				add(name, root)
				continue
			}
		}
		entries, err := os.ReadDir(root)
		if err != nil {
			errs = append(errs, fmt.Errorf("models folder: %w", err))
			continue
		}
		for _, e := range entries {
			name, dir := e.Name(), filepath.Join(root, e.Name())
			if strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") {
				continue
			}
			if info, err := os.Stat(dir); err != nil || !info.IsDir() {
				continue
			}
			if r.opt.Name != nil {
				if own := r.opt.Name(dir); own != "" {
					name = own
				}
			}
			add(name, dir)
		}
	}
	return found, errs
}

// locate finds a model's folder. For one that is where it was, the other folders are not looked at.
func (r *Registry) locate(name string) (string, error) {
	r.mu.Lock()
	known := ""
	if m := r.models[name]; m != nil {
		known = m.dir
	}
	r.mu.Unlock()
	if known != "" && r.usual(name) == known {
		return known, nil
	}
	found, _ := r.list()
	if dir, ok := found[name]; ok {
		return dir, nil
	}
	return "", r.noFolder(name, found)
}

// usual is the first folder of the model's name below the roots, if its files do not call it otherwise; else "".
func (r *Registry) usual(name string) string {
	if name != filepath.Base(name) || strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") {
		return ""
	}
	for _, root := range r.opt.Roots {
		dir := filepath.Join(root, name)
		if info, err := os.Stat(dir); err != nil || !info.IsDir() {
			continue
		}
		if r.opt.Name != nil {
			if own := r.opt.Name(dir); own != "" && own != name {
				return ""
			}
		}
		return dir
	}
	return ""
}

// listVersions finds a model's version folders: those named by a number, ascending. A folder without any is version 1
// itself.
func listVersions(dir string) (versions []int64, dirs map[int64]string, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, nil, err
	}
	dirs = map[int64]string{}
	for _, e := range entries {
		v, err := strconv.ParseInt(e.Name(), 10, 64)
		if err != nil || v < 0 || e.Name()[0] == '+' {
			continue
		}
		path := filepath.Join(dir, e.Name())
		if info, err := os.Stat(path); err != nil || !info.IsDir() {
			continue
		}
		if _, twice := dirs[v]; twice { // "1" and "01"
			return nil, nil, fmt.Errorf("%s: version %d has two folders; keep one", dir, v)
		}
		dirs[v] = path
		versions = append(versions, v)
	}
	if len(versions) == 0 {
		return []int64{1}, map[int64]string{1: dir}, nil
	}
	slices.Sort(versions)
	return versions, dirs, nil
}

// present leaves out the versions that have no folder, unless none has one: then choose says so.
func present(found, wanted []int64) []int64 {
	var out []int64
	for _, v := range wanted {
		if slices.Contains(found, v) {
			out = append(out, v)
		}
	}
	if len(out) == 0 {
		return wanted
	}
	return out
}

// choose applies a version policy to the versions found, ascending.
func choose(found []int64, p serval.VersionPolicy) ([]int64, error) {
	switch {
	case p.All:
		return found, nil
	case len(p.Specific) > 0:
		want := slices.Clone(p.Specific)
		slices.Sort(want)
		want = slices.Compact(want)
		for _, v := range want {
			if !slices.Contains(found, v) {
				return nil, fmt.Errorf("versions.specific asks for version %d, which has no folder; there are %v", v, found)
			}
		}
		return want, nil
	}
	n := max(p.Latest, 1)
	return found[max(0, len(found)-n):], nil
}
