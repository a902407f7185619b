package native

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"serval"
)

// SaveWheel saves the wheel of a package into the folder dir, which must be there, and returns its path. An empty version means
// the newest. Nothing pins the archive: the client compares it with what its index says. Where the offline folder holds a wheel of
// the package, that is taken. No code of the package is run.
func (s *Store) SaveWheel(ctx context.Context, name, version, dir string) (string, error) {
	if !isWord(name) || version != "" && !isWord(version) {
		return "", serval.Errorf(serval.InvalidArgument, "%q %q is no package and version", name, version).At("source")
	}
	c, err := findClient(ctx, Pip)
	if err != nil {
		return "", err
	}
	temp, err := os.MkdirTemp(dir, ".save-*")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(temp)
	if temp, err = filepath.Abs(temp); err != nil {
		return "", err
	}
	what := name
	if version != "" {
		what += "==" + version
	}
	args := []string{"download", "--no-deps", "--only-binary=:all:", "--ignore-requires-python", "--dest", filepath.Join(temp, "out")}
	offline := s.hasWheel(name)
	if offline {
		args = append(args, "--no-index", "--find-links", s.offline)
	}
	stop := s.watch(Package{Client: Pip, Name: name, Version: version}, c, temp)
	err = c.call(ctx, append(args, what), temp, false)
	stop()
	if err != nil {
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		return "", serval.Errorf(serval.Unavailable, "fetching the package %s failed: %w", what, err).At("source")
	}
	saved, err := filepath.Glob(filepath.Join(globLiteral(filepath.Join(temp, "out")), "*.whl"))
	if err == nil && len(saved) != 1 {
		err = fmt.Errorf("pip saved %s instead of one wheel", names(filepath.Join(temp, "out")))
	}
	if err != nil {
		return "", err
	}
	to := filepath.Join(dir, filepath.Base(saved[0]))
	return to, os.Rename(saved[0], to)
}

// hasWheel says whether the offline folder holds a wheel of the package.
func (s *Store) hasWheel(name string) bool {
	if s.offline == "" {
		return false
	}
	entries, _ := os.ReadDir(s.offline) // one that cannot be read holds none
	for _, e := range entries {
		if base, _, ok := cutWheel(e.Name()); ok && plainName(base) == plainName(name) {
			return true
		}
	}
	return false
}
