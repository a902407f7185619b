package safetensors

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// The files of a model's folder.
const (
	single   = "model.safetensors"
	indexed  = "model.safetensors.index.json"
	maxIndex = 64 << 20 // bytes of the index
	maxFiles = 1 << 10
)

// Set is an open model: one file, or all that its index names. It is read-only and safe for concurrent use; Close it once.
type Set struct {
	Paths   []string
	Tensors []Tensor // of all files, in the order of the files' names and of the data in them

	files []*os.File
	names map[string]int
}

// Open opens the model of a folder: model.safetensors, or what model.safetensors.index.json names.
func Open(dir string) (*Set, error) {
	index := filepath.Join(dir, indexed)
	switch _, err := os.Stat(index); {
	case err == nil:
		return openIndexed(dir, index)
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	if _, err := os.Stat(filepath.Join(dir, single)); errors.Is(err, fs.ErrNotExist) {
		if others, _ := filepath.Glob(filepath.Join(dir, "pytorch_model*.bin")); len(others) > 0 {
			return nil, fmt.Errorf("%s has %s, which is a program as much as data and is not read; take the model's .safetensors files",
				dir, filepath.Base(others[0]))
		}
		return nil, fmt.Errorf("%s has neither %s nor %s", dir, single, indexed)
	}
	return openFiles(dir, []string{single})
}

// openFiles opens the files of a folder.
func openFiles(dir string, names []string) (*Set, error) {
	s := &Set{names: map[string]int{}}
	for _, name := range names {
		if err := s.add(filepath.Join(dir, name)); err != nil {
			s.Close()
			return nil, err
		}
	}
	return s, nil
}

func (s *Set) add(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	s.files, s.Paths = append(s.files, file), append(s.Paths, path)
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is no regular file", path)
	}
	list, err := Read(file, info.Size())
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if len(s.Tensors)+len(list) > maxTensors {
		return fmt.Errorf("%s: more than %d tensors with those of the files before", path, maxTensors)
	}
	for _, t := range list {
		if other, twice := s.names[t.Name]; twice {
			return fmt.Errorf("%s: the tensor %q is in %s, too", path, t.Name, filepath.Base(s.Paths[s.Tensors[other].File]))
		}
		t.File = len(s.files) - 1
		s.names[t.Name] = len(s.Tensors)
		s.Tensors = append(s.Tensors, t)
	}
	return nil
}

// openIndexed opens the files that the index names, and checks that it says of each tensor where it is.
func openIndexed(dir, path string) (*Set, error) {
	places, err := readIndex(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	files := map[string]bool{}
	for tensor, name := range places {
		if filepath.Base(name) != name || !strings.HasSuffix(name, ".safetensors") {
			return nil, fmt.Errorf("%s: weight_map: %.60q of %.60q is not the name of a .safetensors file beside it", path, name, tensor)
		}
		files[name] = true
	}
	if len(files) > maxFiles {
		return nil, fmt.Errorf("%s: weight_map names %d files, more than the %d allowed", path, len(files), maxFiles)
	}
	s, err := openFiles(dir, slices.Sorted(maps.Keys(files)))
	if err != nil {
		return nil, err
	}
	if err := s.agrees(places); err != nil {
		s.Close()
		return nil, fmt.Errorf("%s: weight_map: %w", path, err)
	}
	return s, nil
}

// readIndex reads which file each tensor is in.
func readIndex(path string) (map[string]string, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	raw, err := io.ReadAll(io.LimitReader(file, maxIndex+1))
	if err != nil {
		return nil, err
	}
	if len(raw) > maxIndex {
		return nil, fmt.Errorf("it has more than the %d bytes allowed", maxIndex)
	}
	var index struct {
		Places map[string]string `json:"weight_map"`
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	if err := d.Decode(&index); err != nil {
		return nil, whole(err)
	}
	if len(index.Places) == 0 {
		return nil, errors.New("it has no weight_map")
	}
	return index.Places, nil
}

// agrees tells where the files and the index differ.
func (s *Set) agrees(places map[string]string) error {
	for tensor, name := range places {
		at, ok := s.names[tensor]
		if !ok {
			return fmt.Errorf("%s does not have the tensor %q", name, tensor)
		}
		if in := filepath.Base(s.Paths[s.Tensors[at].File]); in != name {
			return fmt.Errorf("the tensor %q is in %s, not in %s", tensor, in, name)
		}
	}
	for _, t := range s.Tensors {
		if _, ok := places[t.Name]; !ok {
			return fmt.Errorf("it does not name the tensor %q of %s", t.Name, filepath.Base(s.Paths[t.File]))
		}
	}
	return nil
}

// Tensor finds a tensor by its name; nil when there is none.
func (s *Set) Tensor(name string) *Tensor {
	if i, ok := s.names[name]; ok {
		return &s.Tensors[i]
	}
	return nil
}

// Data reads the tensor's bytes as they stand in the file, little endian. It is valid until Close.
func (s *Set) Data(t *Tensor) *io.SectionReader {
	return io.NewSectionReader(s.files[t.File], t.Offset, t.Size)
}

// Close closes the files.
func (s *Set) Close() error {
	var errs []error
	for _, file := range s.files {
		errs = append(errs, file.Close())
	}
	s.files = nil
	return errors.Join(errs...)
}
