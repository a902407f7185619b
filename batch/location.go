package batch

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"serval"
)

// InBucket says whether a location is in a store of a cloud's kind: s3://, gs:// or azblob://.
func InBucket(location string) bool {
	scheme, _, ok := strings.Cut(location, "://")
	return ok && slices.Contains([]string{"s3", "gs", "azblob"}, strings.ToLower(scheme))
}

// Locator knows the objects behind locations of its kind, such as s3://bucket/prefix*. Safe for concurrent use.
type Locator interface {
	// Locate lists the objects at a location, sorted by name; none is a NotFound that names the location.
	Locate(ctx context.Context, location string) ([]Object, error)
	// Target is where a job's output goes.
	Target(ctx context.Context, location string) (Target, error)
}

// Target is where a job's output goes once it is complete. Until then it is a file on this machine.
type Target interface {
	// Name is what errors say: a path or a URL without secrets.
	Name() string
	// Path is the output's file on this machine; "": it lies elsewhere.
	Path() string
	// Exists says whether something is there already.
	Exists(ctx context.Context) (bool, error)
	// Publish puts the file at path there, whole or not at all, under the target's name with suffix behind it: "" for the output,
	// ErrorsSuffix for its side file. The file at path may be gone afterwards. The same call again after a kill does no harm.
	Publish(ctx context.Context, path, suffix string) error
	// Remove takes away what an earlier job published with that suffix; nothing there is no error.
	Remove(ctx context.Context, suffix string) error
}

// Formatted is what an Object or a Target may be: one that has a format whatever its name, unless the job says another.
type Formatted interface{ Format() string }

// ErrorsSuffix is what the side file with bad rows is called, behind the output's name.
const ErrorsSuffix = ".errors.jsonl"

// Files is the Locator of this machine's files: paths, and globs as path/filepath.Match has them; a folder stands for all files in
// it that do not begin with a dot. Whatever names a scheme it refuses.
type Files struct{}

// Locate lists files.
func (Files) Locate(_ context.Context, location string) ([]Object, error) {
	if scheme, _, ok := strings.Cut(location, "://"); ok {
		return nil, serval.Errorf(serval.InvalidArgument, "%s: %s:// is no place that this program reads from", location, scheme).At("input")
	}
	names := []string{location}
	info, err := os.Stat(location)
	switch {
	case err == nil && info.IsDir():
		names, err = filesIn(location)
	case err != nil && strings.ContainsAny(location, "*?["):
		names, err = filepath.Glob(location)
	}
	if err == nil && len(names) == 0 {
		err = fs.ErrNotExist
	}
	if err != nil {
		return nil, unreadable(location, err)
	}
	slices.Sort(names)
	var objects []Object
	for _, name := range names {
		info, err := os.Stat(name)
		if err != nil {
			return nil, unreadable(name, err)
		}
		if info.IsDir() {
			continue
		}
		objects = append(objects, &file{name: name, regular: info.Mode().IsRegular(), size: info.Size(), time: info.ModTime().UnixNano()})
	}
	if len(objects) == 0 {
		return nil, unreadable(location, fs.ErrNotExist)
	}
	return objects, nil
}

func filesIn(folder string) ([]string, error) {
	entries, err := os.ReadDir(folder)
	var names []string
	for _, e := range entries {
		if !e.IsDir() && !strings.HasPrefix(e.Name(), ".") {
			names = append(names, filepath.Join(folder, e.Name()))
		}
	}
	return names, err
}

func unreadable(name string, err error) error {
	if os.IsNotExist(err) {
		return serval.Errorf(serval.NotFound, "%s: there is no such file", name).At("input")
	}
	return serval.Errorf(serval.InvalidArgument, "%s: %w", name, err).At("input")
}

// Target is a file.
func (Files) Target(_ context.Context, location string) (Target, error) {
	if scheme, _, ok := strings.Cut(location, "://"); ok {
		return nil, serval.Errorf(serval.InvalidArgument, "%s: %s:// is no place that this program writes to", location, scheme).At("output")
	}
	if info, err := os.Stat(location); err == nil && info.IsDir() {
		return nil, serval.Errorf(serval.InvalidArgument, "%s is a folder; name the file in it", location).At("output")
	}
	if info, err := os.Stat(filepath.Dir(location)); err != nil || !info.IsDir() {
		return nil, serval.Errorf(serval.InvalidArgument, "%s: there is no folder %s", location, filepath.Dir(location)).At("output")
	}
	return fileTarget(location), nil
}

// file is an Object.
type file struct {
	name    string
	regular bool
	size    int64
	time    int64
}

func (f *file) Name() string { return f.name }

func (f *file) Size() int64 {
	if !f.regular {
		return -1
	}
	return f.size
}

func (f *file) Version() string {
	if !f.regular {
		return ""
	}
	return strconv.FormatInt(f.size, 10) + "-" + strconv.FormatInt(f.time, 36)
}

func (f *file) Open(_ context.Context, offset int64) (io.ReadCloser, error) {
	r, err := os.Open(f.name)
	if err != nil {
		return nil, unreadable(f.name, err)
	}
	if offset > 0 {
		if _, err := r.Seek(offset, io.SeekStart); err != nil {
			_ = r.Close()
			return nil, fmt.Errorf("%s: %w", f.name, err)
		}
	}
	return r, nil
}

func (f *file) At() io.ReaderAt {
	if !f.regular {
		return nil
	}
	return f
}

// ReadAt opens the file for each read, so that nothing has to be closed: its readers read much at once.
func (f *file) ReadAt(p []byte, off int64) (int, error) {
	r, err := os.Open(f.name)
	if err != nil {
		return 0, unreadable(f.name, err)
	}
	defer r.Close()
	return r.ReadAt(p, off)
}

// fileTarget is a path.
type fileTarget string

func (t fileTarget) Name() string { return string(t) }
func (t fileTarget) Path() string { return string(t) }

func (t fileTarget) Exists(context.Context) (bool, error) {
	_, err := os.Lstat(string(t))
	if os.IsNotExist(err) {
		return false, nil
	}
	return err == nil, err
}

func (t fileTarget) Publish(_ context.Context, path, suffix string) error {
	if err := os.Rename(path, string(t)+suffix); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(string(t)))
}

func (t fileTarget) Remove(_ context.Context, suffix string) error {
	if err := os.Remove(string(t) + suffix); err != nil && !os.IsNotExist(err) {
		return err
	}
	return nil
}

// syncFolder brings renames in a folder to the disk.
func syncFolder(folder string) error {
	d, err := os.Open(folder)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// Stream is an Object that can be read once, from its start: standard input.
type Stream struct {
	Label  string
	Source io.Reader
	opened bool
}

// Name is the label.
func (s *Stream) Name() string { return s.Label }

// Size is not known.
func (s *Stream) Size() int64 { return -1 }

// Version is not known: a job that reads a stream cannot be resumed.
func (s *Stream) Version() string { return "" }

// Open gives the source, once.
func (s *Stream) Open(_ context.Context, offset int64) (io.ReadCloser, error) {
	if s.opened || offset != 0 {
		return nil, serval.Errorf(serval.InvalidArgument, "%s can be read only once, from its start", s.Label).At("input")
	}
	s.opened = true
	return io.NopCloser(s.Source), nil
}

// At is nil.
func (s *Stream) At() io.ReaderAt { return nil }
