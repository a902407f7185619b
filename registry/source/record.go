package source

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"

	"serval"
)

// recordName is the file in a model's folder that says where it is from; its dot hides it from who serves the folder.
const recordName = ".pull.json"

// record says what a pull put into a model's folder.
type record struct {
	Source   string       `json:"source"`
	Revision string       `json:"revision,omitempty"`
	Verified bool         `json:"verified"`
	Files    []recordFile `json:"files"`
}

type recordFile struct {
	Path    string `json:"path"` // in the model's folder, with slashes
	Size    int64  `json:"size"`
	SHA256  string `json:"sha256,omitempty"`
	Blob    string `json:"blob,omitempty"`
	Mark    string `json:"mark,omitempty"`
	ModTime int64  `json:"mtime"` // Unix time in nanoseconds
}

const mostRecord = 64 << 20 // bytes

// readRecord reads the record of a model's folder; nil means that there is no folder. A folder without a record was put there
// by somebody else.
func readRecord(dir string) (*record, error) {
	if _, err := os.Lstat(dir); errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	foreign := func(why string) (*record, error) {
		return nil, serval.Errorf(serval.Conflict, "%s is there and was not pulled (%s); it stays as it is: pull under another name with --as, or move the folder away", dir, why).At("as")
	}
	f, err := os.Open(filepath.Join(dir, recordName))
	if errors.Is(err, os.ErrNotExist) {
		return foreign("it has no " + recordName)
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, mostRecord))
	if err != nil {
		return nil, err
	}
	r := &record{}
	if err := json.Unmarshal(raw, r); err != nil {
		return foreign(fmt.Sprintf("its %s cannot be read: %v", recordName, err))
	}
	if len(r.Files) == 0 {
		return foreign("its " + recordName + " names no file")
	}
	return r, nil
}

// add notes a file that lies in the folder.
func (r *record) add(dir, name string, f *file, sum string) error {
	info, err := os.Stat(filepath.Join(dir, filepath.FromSlash(name)))
	if err != nil {
		return err
	}
	r.Files = append(r.Files, recordFile{Path: name, Size: info.Size(), SHA256: sum, Blob: f.blob, Mark: f.mark, ModTime: info.ModTime().UnixNano()})
	return nil
}

// write puts the record into the folder.
func (r *record) write(dir string) error {
	raw, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return writeFile(filepath.Join(dir, recordName), append(raw, '\n'))
}

// writeFile writes a file whole or not at all.
func writeFile(to string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(to), ".write-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // there is none after the rename
	_, err = f.Write(data)
	if err = errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), to)
}

// intact says whether the files are still as they were put there, by their sizes and times of change.
func (r *record) intact(dir string) error {
	for _, f := range r.Files {
		if path.Clean(f.Path) != f.Path || !filepath.IsLocal(filepath.FromSlash(f.Path)) {
			return fmt.Errorf("its %s names %q", recordName, f.Path)
		}
		info, err := os.Stat(filepath.Join(dir, filepath.FromSlash(f.Path)))
		switch {
		case errors.Is(err, os.ErrNotExist):
			return fmt.Errorf("its file %s is gone", f.Path)
		case err != nil:
			return err
		case info.Size() != f.Size || info.ModTime().UnixNano() != f.ModTime:
			return fmt.Errorf("its file %s was changed since it was pulled", f.Path)
		}
	}
	return nil
}

// holds says whether the record is of what the plan would fetch.
func (r *record) holds(pl *plan) bool {
	if len(r.Files) != len(pl.files) {
		return false
	}
	for i, f := range pl.files {
		got := r.Files[i]
		same := got.Path == path.Join("1", f.path) && (f.size < 0 || f.size == got.Size)
		switch {
		case f.sha256 != "":
			same = same && f.sha256 == got.SHA256
		case f.blob != "":
			same = same && f.blob == got.Blob
		default:
			same = same && f.mark != "" && f.mark == got.Mark
		}
		if !same {
			return false
		}
	}
	return true
}
