package server

import (
	"fmt"
	"io/fs"
	"os"
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
