package server

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"

	"serval/registry"
)

// folder is a model's folder as far as its own files may be read: links that lead outside, devices and pipes are refused, and
// so are files larger than any list of labels. The caller closes it.
type folder struct{ root *os.Root }

const maxListFile = 64 << 20

func openFolder(dir string) (*folder, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	return &folder{root}, nil
}

// Open implements fs.FS.
func (f *folder) Open(name string) (fs.File, error) {
	info, err := f.root.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxListFile {
		return nil, fmt.Errorf("%s: must be a plain file of at most %d MiB", name, maxListFile>>20)
	}
	return f.root.Open(name)
}

func (f *folder) Close() { _ = f.root.Close() } // it was only read

// folderOf is a version's folder as engines look at it to tell whether the artefact is theirs: where the settings name the
// file, nothing else is in it.
func folderOf(src registry.Source) fs.FS {
	dir := os.DirFS(src.Dir)
	if src.Settings.File == "" {
		return dir
	}
	name := filepath.ToSlash(src.Settings.File)
	if at := path.Dir(name); at != "." {
		if sub, err := fs.Sub(dir, at); err == nil {
			dir = sub
		}
	}
	return only{dir, path.Base(name)}
}

// only is a folder of which one entry is seen.
type only struct {
	fs.FS
	name string
}

// ReadDir lists the one entry of the folder itself; folders in it are whole.
func (o only) ReadDir(name string) ([]fs.DirEntry, error) {
	list, err := fs.ReadDir(o.FS, name)
	if name == "." {
		list = slices.DeleteFunc(list, func(e fs.DirEntry) bool { return e.Name() != o.name })
	}
	return list, err
}
