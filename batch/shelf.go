package batch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"serval"
)

// shelf is where files of jobs lie that no worker is at: pieces that are done, and results that the server keeps. Workers that share
// a queue share it. A file that is not there is an fs.ErrNotExist. Safe for concurrent use.
type shelf interface {
	// put moves a finished file of this machine there, whole or not at all; what is there is replaced.
	put(ctx context.Context, job, name, path string) error
	size(ctx context.Context, job, name string) (int64, error)
	// fetch makes it a file of this machine, in the folder work where it is none yet.
	fetch(ctx context.Context, job, name, work string) (path string, err error)
	open(ctx context.Context, job, name string) (File, error)
	drop(ctx context.Context, job, name string) error
	// list names all files of a job.
	list(ctx context.Context, job string) ([]string, error)
	// clear removes all of a job.
	clear(ctx context.Context, job string) error
}

// File is an open file of a result.
type File interface {
	io.ReadSeeker
	io.Closer
}

// folders is a shelf on this machine's disk, or on one that several machines mount: a folder for each job.
type folders string

func (f folders) path(job, name string) string { return filepath.Join(string(f), job, name) }

func (f folders) put(_ context.Context, job, name, path string) error {
	to := f.path(job, name)
	if err := os.Rename(path, to); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(to))
}

func (f folders) size(_ context.Context, job, name string) (int64, error) {
	info, err := os.Stat(f.path(job, name))
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func (f folders) fetch(_ context.Context, job, name, _ string) (string, error) {
	_, err := os.Stat(f.path(job, name))
	return f.path(job, name), err
}

func (f folders) open(_ context.Context, job, name string) (File, error) {
	return os.Open(f.path(job, name)) // the error has no file beside it
}

func (f folders) drop(_ context.Context, job, name string) error { return remove(f.path(job, name)) }

func (f folders) list(_ context.Context, job string) (names []string, err error) {
	entries, err := os.ReadDir(filepath.Join(string(f), job))
	for _, e := range entries {
		if !e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names, err
}

func (f folders) clear(_ context.Context, job string) error {
	return os.RemoveAll(filepath.Join(string(f), job))
}

// Store is a Locator whose objects can be found again by their names alone, where a name has the characters of a pattern, too.
type Store interface {
	Locator
	// Find returns the object of that name, a NotFound if there is none.
	Find(ctx context.Context, name string) (Object, error)
}

// elsewhere is a shelf in an object store: at/job/name.
type elsewhere struct {
	store Store
	at    string // a location, without a slash at its end
}

func (e elsewhere) name(job, name string) string { return e.at + "/" + job + "/" + name }

func (e elsewhere) put(ctx context.Context, job, name, path string) error {
	to, err := e.store.Target(ctx, e.name(job, name))
	if err == nil {
		err = to.Publish(ctx, path, "")
	}
	if err == nil {
		err = remove(path)
	}
	return err
}

// find is an object, or an fs.ErrNotExist.
func (e elsewhere) find(ctx context.Context, job, name string) (Object, error) {
	o, err := e.store.Find(ctx, e.name(job, name))
	if s := (*serval.Error)(nil); errors.As(err, &s) && s.Code == serval.NotFound {
		return nil, fmt.Errorf("%s: %w", e.name(job, name), fs.ErrNotExist)
	}
	return o, err
}

func (e elsewhere) size(ctx context.Context, job, name string) (int64, error) {
	o, err := e.find(ctx, job, name)
	if err != nil {
		return 0, err
	}
	return o.Size(), nil
}

func (e elsewhere) fetch(ctx context.Context, job, name, work string) (string, error) {
	o, err := e.find(ctx, job, name)
	if err != nil {
		return "", err
	}
	from, err := o.Open(ctx, 0)
	if err != nil {
		return "", err
	}
	defer from.Close()
	if err := os.MkdirAll(work, 0o700); err != nil {
		return "", err
	}
	path := filepath.Join(work, "held-"+name)
	return path, writeTo(path, from)
}

func (e elsewhere) open(ctx context.Context, job, name string) (File, error) {
	o, err := e.find(ctx, job, name)
	if err != nil {
		return nil, err
	}
	at := o.At()
	if at == nil {
		return nil, serval.Errorf(serval.Unimplemented, "%s cannot be read in parts", o.Name())
	}
	return section{io.NewSectionReader(at, 0, o.Size())}, nil
}

type section struct{ *io.SectionReader }

func (section) Close() error { return nil }

func (e elsewhere) drop(ctx context.Context, job, name string) error {
	to, err := e.store.Target(ctx, e.name(job, name))
	if err == nil {
		err = to.Remove(ctx, "")
	}
	return err
}

func (e elsewhere) list(ctx context.Context, job string) (names []string, err error) {
	list, err := e.store.Locate(ctx, e.name(job, ""))
	if s := (*serval.Error)(nil); errors.As(err, &s) && s.Code == serval.NotFound {
		return nil, nil
	}
	for _, o := range list {
		names = append(names, strings.TrimPrefix(o.Name(), e.name(job, "")))
	}
	return names, err
}

func (e elsewhere) clear(ctx context.Context, job string) error {
	names, err := e.list(ctx, job)
	for i := 0; err == nil && i < len(names); i++ {
		err = e.drop(ctx, job, names[i])
	}
	return err
}

// writeTo makes a file of what comes from a reader, and brings it to the disk.
func writeTo(path string, from io.Reader) error {
	out, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, from)
	if err == nil {
		err = out.Sync()
	}
	return errors.Join(err, out.Close())
}
