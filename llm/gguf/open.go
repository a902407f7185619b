package gguf

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
)

// The keys that say how a model is split over files.
const (
	splitNumber  = "split.no"            // of this part, from 0
	splitCount   = "split.count"         // of parts
	splitTensors = "split.tensors.count" // in all parts
)

// part is how the files of a split model are named: NAME-00001-of-00003.gguf.
var part = regexp.MustCompile(`^(.*)-(\d{5})-of-(\d{5})\.gguf$`)

// Open reads the header of the GGUF file at path, and those of the other parts when path is the first of a split model. The
// files stay open until Close.
func Open(path string) (*File, error) {
	f, err := openOne(path)
	if err != nil {
		return nil, err
	}
	count, split := f.Uint(splitCount)
	if !split || count <= 1 {
		return f, nil
	}
	if err := f.join(path, count); err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return f, nil
}

func openOne(path string) (*File, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is no regular file", path)
	}
	if err != nil {
		file.Close()
		return nil, err
	}
	f, err := Read(file, info.Size())
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	f.Paths, f.files = []string{path}, []*os.File{file}
	return f, nil
}

// join opens the parts after the first and takes over their tensors.
func (f *File) join(path string, count uint64) error {
	name := part.FindStringSubmatch(filepath.Base(path))
	if name == nil {
		return fmt.Errorf("the model is split into %d parts, so the file must be named NAME-00001-of-%05d.gguf", count, count)
	}
	if n, _ := strconv.ParseUint(name[3], 10, 64); n != count {
		return fmt.Errorf("the file's name says %d parts, %s says %d", n, splitCount, count)
	}
	sibling := func(i uint64) string {
		return filepath.Join(filepath.Dir(path), fmt.Sprintf("%s-%05d-of-%05d.gguf", name[1], i, count))
	}
	if no, ok := f.Uint(splitNumber); !ok || no != 0 || name[2] != "00001" {
		return fmt.Errorf("this is part %s of a split model; open the first, %s", name[2], sibling(1))
	}
	names := make(map[string]bool, len(f.Tensors))
	for i := range f.Tensors {
		names[f.Tensors[i].Name] = true
	}
	for i := uint64(2); i <= count; i++ {
		next, err := openOne(sibling(i))
		if err != nil {
			return fmt.Errorf("part %d of %d: %w", i, count, err)
		}
		at := len(f.files)
		f.files, f.Paths, f.Sizes = append(f.files, next.files...), append(f.Paths, next.Paths...), append(f.Sizes, next.Sizes...)
		if no, ok := next.Uint(splitNumber); !ok || no != i-1 {
			return fmt.Errorf("%s does not say that it is part %d: %s is %d", next.Paths[0], i, splitNumber, no)
		}
		if n, _ := next.Uint(splitCount); n != count {
			return fmt.Errorf("%s belongs to a model of %d parts, not %d", next.Paths[0], n, count)
		}
		for _, t := range next.Tensors {
			if names[t.Name] {
				return fmt.Errorf("%s: at byte %d: the tensor %q stands in an earlier part too", next.Paths[0], t.entry, t.Name)
			}
			names[t.Name] = true
			t.File = at
			f.Tensors = append(f.Tensors, t)
		}
		if len(f.Tensors) > maxTensors {
			return fmt.Errorf("the parts have more than %d tensors", maxTensors)
		}
	}
	if n, ok := f.Uint(splitTensors); ok && n != uint64(len(f.Tensors)) {
		return fmt.Errorf("%s is %d, but the parts have %d tensors", splitTensors, n, len(f.Tensors))
	}
	return nil
}
