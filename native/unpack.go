package native

import (
	"archive/tar"
	"archive/zip"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
)

// guard bounds what an archive may unpack to. The archive's digest was checked before; these hold even where the pinned
// archive itself is hostile.
type guard struct {
	members int   // entries in the archive
	file    int64 // bytes of one unpacked file
	total   int64 // bytes that come out of the archive, wanted or not
}

var defaultGuard = guard{members: 200_000, file: 16 << 30, total: 32 << 30}

// unpacking is one archive on its way into a folder.
type unpacking struct {
	guard
	root    *os.Root // the new folder; nothing is written outside it
	wanted  []File
	matched []bool // by wanted
	seen    int
	written int64
	out     []unpacked
}

// unpack writes the wanted files of the archive into the empty folder dir. An archive with any entry that would leave the
// folder is refused whole; a wanted entry that is no plain file (a link, a device) too. The caller removes dir on error.
func unpack(archive, dir string, wanted []File, g guard) ([]unpacked, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	u := &unpacking{guard: g, root: root, wanted: wanted, matched: make([]bool, len(wanted))}
	if strings.HasSuffix(archive, ".tgz") || strings.HasSuffix(archive, ".tar.gz") {
		err = u.tarGzip(archive)
	} else {
		err = u.zip(archive)
	}
	if err != nil {
		return nil, err
	}
	for i, f := range wanted {
		if !u.matched[i] {
			return nil, fmt.Errorf("it holds no %q", f.Path)
		}
	}
	if len(u.out) == 0 {
		return nil, errors.New("it holds no file")
	}
	return u.out, nil
}

func (u *unpacking) zip(archive string) error {
	z, err := zip.OpenReader(archive)
	if err != nil {
		return err
	}
	defer z.Close()
	for _, f := range z.File {
		name, dir := strings.CutSuffix(f.Name, "/")
		want, err := u.admit(name)
		if err != nil {
			return err
		}
		if !want || dir {
			continue
		}
		if f.Mode()&fs.ModeType != 0 {
			return fmt.Errorf("entry %q is no plain file", f.Name)
		}
		if f.UncompressedSize64 > uint64(u.file) {
			return fmt.Errorf("entry %q of %d bytes goes over the limit", f.Name, f.UncompressedSize64)
		}
		r, err := f.Open()
		if err != nil {
			return err
		}
		err = u.write(name, f.Mode(), r, int64(f.UncompressedSize64))
		r.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

func (u *unpacking) tarGzip(archive string) error {
	file, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer file.Close()
	gz, err := gzip.NewReader(file)
	if err != nil {
		return err
	}
	t := tar.NewReader(&bounded{r: gz, left: u.total})
	for {
		h, err := t.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if h.Typeflag == tar.TypeXGlobalHeader {
			continue
		}
		name := strings.TrimPrefix(strings.TrimSuffix(h.Name, "/"), "./")
		if name == "." && h.Typeflag == tar.TypeDir {
			continue // the folder itself
		}
		want, err := u.admit(name)
		if err != nil {
			return err
		}
		if !want || h.Typeflag == tar.TypeDir {
			continue
		}
		if h.Typeflag != tar.TypeReg {
			return fmt.Errorf("entry %q is no plain file", h.Name)
		}
		if err := u.write(name, h.FileInfo().Mode(), t, h.Size); err != nil {
			return err
		}
	}
}

// bounded reads at most left bytes, then fails.
type bounded struct {
	r    io.Reader
	left int64
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errors.New("it unpacks to more than the limit")
	}
	n, err := b.r.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}

// admit counts an entry, refuses one whose name leaves the folder, and says whether it is wanted.
func (u *unpacking) admit(name string) (bool, error) {
	if u.seen++; u.seen > u.members {
		return false, fmt.Errorf("it has more than %d entries", u.members)
	}
	if !safePath(name) {
		return false, fmt.Errorf("entry %q would be written outside its folder", name)
	}
	want := len(u.wanted) == 0
	for i, f := range u.wanted {
		if f.matches(name) {
			want = true
			u.matched[i] = true
		}
	}
	return want, nil
}

// write makes the file name with the size bytes that r must yield.
func (u *unpacking) write(name string, mode fs.FileMode, r io.Reader, size int64) (err error) {
	if size < 0 || size > u.file || size > u.total-u.written {
		return fmt.Errorf("entry %q of %d bytes goes over the limit", name, size)
	}
	if err := u.root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return err
	}
	file, err := u.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(file, sum), io.LimitReader(r, size+1))
	if err != nil {
		return fmt.Errorf("entry %q: %w", name, err)
	}
	if n != size {
		return fmt.Errorf("entry %q holds %d bytes or more, its header says %d", name, n, size)
	}
	u.written += n
	if err := u.pinned(name, sum); err != nil {
		return err
	}
	if err := file.Chmod(0o444 | mode&0o111); err != nil {
		return err
	}
	if err := file.Sync(); err != nil {
		return err
	}
	info, err := file.Stat()
	if err != nil {
		return err
	}
	u.out = append(u.out, unpacked{Path: name, Size: n, ModTime: info.ModTime().UnixNano(), SHA256: hex.EncodeToString(sum.Sum(nil))})
	return nil
}

// pinned compares an unpacked file with the digest that is pinned for it, if one is.
func (u *unpacking) pinned(name string, sum hash.Hash) error {
	got := hex.EncodeToString(sum.Sum(nil))
	for _, f := range u.wanted {
		if f.SHA256 != "" && f.matches(name) && f.SHA256 != got {
			return fmt.Errorf("entry %q has sha256 %s, expected %s", name, got, f.SHA256)
		}
	}
	return nil
}
