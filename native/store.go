package native

import (
	"context"
	"io"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"serval"
)

// Options say where a Store looks and keeps things.
type Options struct {
	Cache     string            // folder for what was fetched and unpacked; made when first needed. Required
	Offline   string            // folder with archives or libraries that somebody put there; "" = none
	Libraries map[string]string // explicit paths of libraries, by name; they win over everything else
	Progress  io.Writer         // where downloads report: a bar if it is a terminal, else lines; nil = nowhere
	Manifest  []Library         // nil = Manifest()
}

// Store finds and fetches libraries and packages. It is safe for concurrent use, also by several processes on one cache.
//
// In the cache, archives/ holds the archives as downloaded: they may be deleted at any time, and one put there by hand is
// taken once its sha256 fits. packages/ holds what was unpacked, one folder a package.
type Store struct {
	cache    string
	offline  string
	explicit map[string]string
	manifest []Library
	progress io.Writer
	terminal bool
	mu       sync.Mutex // guards writes to progress
}

// New makes a Store; it touches nothing on disk.
func New(o Options) *Store {
	if o.Manifest == nil {
		o.Manifest = Manifest()
	}
	s := &Store{cache: absolute(o.Cache), offline: absolute(o.Offline), explicit: o.Libraries, manifest: o.Manifest, progress: o.Progress}
	if f, ok := o.Progress.(*os.File); ok && f != nil {
		info, err := f.Stat()
		s.terminal = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	return s
}

// absolute makes a path absolute, since clients run in a folder of their own; "" stays "".
func absolute(p string) string {
	if p == "" {
		return ""
	}
	if abs, err := filepath.Abs(p); err == nil {
		return abs
	}
	return p
}

// Folder is a folder of the cache for what an engine keeps there; "" if there is no cache. It need not exist.
func (s *Store) Folder(name string) string {
	if s.cache == "" {
		return ""
	}
	return filepath.Join(s.cache, name)
}

// Libraries lists the names that Find knows on this machine's platform or was given a path for, sorted; of those that are only
// fetched on demand, the ones that are there.
func (s *Store) Libraries() []string {
	var names []string
	for _, l := range here(s.manifest) {
		if !l.OnDemand || verify(l.Package, s.dir(l.Package), false) == nil {
			names = append(names, l.Name)
		}
	}
	for name := range s.explicit {
		names = append(names, name)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Find returns the absolute path of the named library: the explicit path, else the cache's, else the offline folder's. It
// never downloads; it may unpack an archive that is there. The error says which command gets the library.
func (s *Store) Find(name string) (string, error) {
	f, err := s.find(name)
	return f.path, err
}

// Ensure finds the named library, and fetches it if it is nowhere, by the first package client that the machine has. With an offline folder
// nothing is fetched.
func (s *Store) Ensure(ctx context.Context, name string) (string, error) {
	found, err := s.find(name)
	if err == nil || !found.missing || s.offline != "" {
		return found.path, err
	}
	var failed []error
	for _, l := range s.candidates(name) {
		if _, err := findClient(ctx, l.Package.Client); err != nil {
			continue
		}
		dir, err := s.Fetch(ctx, l.Package)
		if err == nil {
			return filepath.Join(dir, filepath.FromSlash(l.Path)), nil
		}
		if ctx.Err() != nil {
			return "", err
		}
		failed = append(failed, err)
	}
	if len(failed) == 0 {
		return "", err // no client: find's error says what to do by hand
	}
	return "", failed[0]
}

// found is where a library stands.
type found struct {
	path    string
	from    string  // "path", "cache", "offline"
	library Library // zero for an explicit path
	missing bool    // nowhere, but it can be fetched
}

// findPatience bounds how long Find waits while another process unpacks or fetches the same archive.
const findPatience = 5 * time.Minute

func (s *Store) find(name string) (found, error) {
	if p, ok := s.explicit[name]; ok {
		p = absolute(p)
		if err := checkLibrary(p); err != nil {
			return found{}, serval.Errorf(serval.Unavailable, "library %s: the given path cannot be used: %w", name, err).At(name)
		}
		return found{path: p, from: "path"}, nil
	}
	candidates := s.candidates(name)
	if len(candidates) == 0 {
		return found{}, s.unknown(name)
	}
	for _, l := range candidates {
		dir := s.dir(l.Package)
		if verify(l.Package, dir, false) == nil {
			return found{path: filepath.Join(dir, filepath.FromSlash(l.Path)), from: "cache", library: l}, nil
		}
	}
	var broken error
	for _, l := range candidates {
		f, err := s.offlineLibrary(l)
		if err == nil && f.path != "" {
			return f, nil
		}
		if err != nil && broken == nil {
			broken = err
		}
	}
	if broken != nil {
		return found{}, broken
	}
	return found{missing: true}, s.missing(candidates[0])
}

// offlineLibrary looks for l without a client: as the library itself in the offline folder, or as an archive there or in
// the cache, which it unpacks. An empty path and no error: it is not there.
func (s *Store) offlineLibrary(l Library) (found, error) {
	if s.offline != "" {
		p := filepath.Join(s.offline, path.Base(l.Path))
		if l.standsIn(s.offline) {
			return found{path: p, from: "offline", library: l}, nil
		}
	}
	archive := s.localArchive(l.Package)
	if archive == "" {
		return found{}, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), findPatience)
	defer cancel()
	dir, err := s.install(ctx, l.Package, false)
	if err != nil {
		return found{}, err
	}
	from := "cache"
	if filepath.Dir(archive) == s.offline {
		from = "offline"
	}
	return found{path: filepath.Join(dir, filepath.FromSlash(l.Path)), from: from, library: l}, nil
}

// standsIn says whether the folder has the library itself, and what it needs beside it.
func (l Library) standsIn(folder string) bool {
	for _, f := range l.Package.Files {
		if f.SHA256 == "" || !l.Whole && f.Path != l.Path {
			continue
		}
		if verifyFile(filepath.Join(folder, path.Base(f.Path)), f.SHA256) != nil {
			return false
		}
	}
	return l.Package.digestOf(l.Path) != ""
}

func (s *Store) candidates(name string) []Library {
	var out []Library
	for _, l := range here(s.manifest) {
		if l.Name == name {
			out = append(out, l)
		}
	}
	return out
}

// unknown is the error for a name without a build for this platform.
func (s *Store) unknown(name string) error {
	platform := runtime.GOOS + "/" + runtime.GOARCH
	for _, l := range s.manifest {
		if l.Name == name {
			return serval.Errorf(serval.Unimplemented, "library %s: no build for %s is known; give the path of your own", name, platform).At(name)
		}
	}
	return serval.Errorf(serval.NotFound, "library %q is not known; known on %s: %s", name, platform, strings.Join(s.Libraries(), ", ")).At(name)
}

// missing is the error for a library that is nowhere, with the commands that get it.
func (s *Store) missing(l Library) error {
	if s.offline != "" {
		return serval.Errorf(serval.Unavailable, "library %s %s is not in %s, and with --offline nothing is fetched; get it there with: %s; or without --offline by: serval doctor --fix",
			l.Name, l.Package.Version, s.offline, s.byHand(l.Package)).At(l.Name)
	}
	return serval.Errorf(serval.Unavailable, "library %s %s is not on this machine; get it with: serval doctor --fix; or by hand: %s",
		l.Name, l.Package.Version, s.byHand(l.Package)).At(l.Name)
}

// byHand is the command that puts p's archive where the Store looks for it.
func (s *Store) byHand(p Package) string {
	if s.offline != "" {
		return p.command(s.offline)
	}
	return p.command(s.archives())
}

func (s *Store) archives() string { return filepath.Join(s.cache, "archives") }

// dir is where p is unpacked to.
func (s *Store) dir(p Package) string { return filepath.Join(s.cache, "packages", p.folder()) }
