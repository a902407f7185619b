package native

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// recordName is the file in an unpacked folder that says what the folder holds. It is written last.
const recordName = ".serval.json"

// record is what was unpacked.
type record struct {
	Package string     `json:"package"`
	Archive string     `json:"archive"` // sha256
	Files   []unpacked `json:"files"`
}

// unpacked is one file of a record.
type unpacked struct {
	Path    string `json:"path"`  // with slashes, in the folder
	Size    int64  `json:"size"`  // bytes
	ModTime int64  `json:"mtime"` // nanoseconds since 1970
	SHA256  string `json:"sha256"`
}

func writeRecord(dir string, r record) error {
	b, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, recordName), append(b, '\n'), 0o444)
}

// verify says whether the folder dir holds p, unpacked and unharmed. Unless full, a file whose size and time are still those
// of when it was written and hashed counts as unharmed, which saves reading tens of megabytes at each start.
func verify(p Package, dir string, full bool) error {
	b, err := os.ReadFile(filepath.Join(dir, recordName))
	if err != nil {
		return err
	}
	var r record
	if err := json.Unmarshal(b, &r); err != nil {
		return fmt.Errorf("%s: %w", filepath.Join(dir, recordName), err)
	}
	if r.Archive != p.SHA256 || len(r.Files) == 0 {
		return fmt.Errorf("%s does not describe %s", filepath.Join(dir, recordName), p)
	}
	for _, u := range r.Files {
		if !safePath(u.Path) {
			return fmt.Errorf("%s names %q", filepath.Join(dir, recordName), u.Path)
		}
		if want := p.digestOf(u.Path); want != "" && want != u.SHA256 {
			return fmt.Errorf("%s records another %s than the one pinned", filepath.Join(dir, recordName), u.Path)
		}
		path := filepath.Join(dir, filepath.FromSlash(u.Path))
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		if info.Size() != u.Size {
			return fmt.Errorf("%s has %d bytes, expected %d", path, info.Size(), u.Size)
		}
		if !full && info.ModTime().UnixNano() == u.ModTime {
			continue
		}
		if err := verifyFile(path, u.SHA256); err != nil {
			return err
		}
	}
	return nil
}

// verifyFile compares a file's sha256 with want.
func verifyFile(path, want string) error {
	got, err := hashFile(path)
	if err != nil {
		return err
	}
	if got != want {
		return fmt.Errorf("%s has sha256 %s, expected %s", path, got, want)
	}
	return nil
}

func hashFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
