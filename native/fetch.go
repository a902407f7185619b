package native

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"serval"
)

// Fetch returns the folder with p's wanted files, under the paths they have in the archive. What is already there is
// returned at once; else the archive is taken from the cache or the offline folder, else downloaded by p's client; then it is
// verified and unpacked. The folder appears whole or not at all, and its files must not be changed. A fetch that was cut off
// leaves nothing half done: the next one clears up and goes on from the last thing that was complete.
func (s *Store) Fetch(ctx context.Context, p Package) (dir string, err error) {
	if err := p.check(); err != nil {
		return "", err
	}
	return s.install(ctx, p, true)
}

// install makes p's folder whole; only with download does it call a client.
func (s *Store) install(ctx context.Context, p Package, download bool) (string, error) {
	dir := s.dir(p)
	if verify(p, dir, false) == nil {
		return dir, nil
	}
	if s.cache == "" {
		return "", serval.Errorf(serval.InvalidArgument, "no cache folder is set to unpack %s into", p).At("cache")
	}
	for _, d := range []string{s.archives(), filepath.Dir(dir)} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return "", s.failed(ctx, p, err)
		}
	}
	key := p.SHA256[:16]
	unlock, err := lock(ctx, filepath.Join(s.archives(), "."+key+".lock"), func() {
		s.say("%s: another process fetches it; waiting", p)
	})
	if err != nil {
		return "", s.failed(ctx, p, err)
	}
	defer unlock()
	if verify(p, dir, false) == nil {
		return dir, nil
	}
	if err := s.sweep(p); err != nil {
		return "", s.failed(ctx, p, err)
	}
	archive := s.localArchive(p)
	if archive == "" {
		if !download {
			return "", serval.Errorf(serval.Unavailable, "%s: no archive %s is at hand; get it with: %s", p, p.File, s.byHand(p)).At(p.Name)
		}
		if archive, err = s.download(ctx, p); err != nil {
			return "", s.failed(ctx, p, err)
		}
	}
	if err := s.place(p, archive, dir); err != nil {
		return "", s.failed(ctx, p, err)
	}
	return dir, nil
}

// localArchive is the path of p's verified archive in the cache or the offline folder, or empty.
func (s *Store) localArchive(p Package) string {
	for _, folder := range []string{s.archives(), s.offline} {
		if folder == "" {
			continue
		}
		path := filepath.Join(folder, p.File)
		if info, err := os.Stat(path); err != nil || p.Size > 0 && info.Size() != p.Size {
			continue
		}
		if verifyFile(path, p.SHA256) == nil {
			return path
		}
	}
	return ""
}

// tempPattern names the folders in which p is downloaded and unpacked; who holds the lock owns all of them.
func (p Package) tempPattern() string { return ".tmp-" + p.SHA256[:16] + "-*" }

// sweep removes what a killed fetch of p's archive left behind. The caller holds the lock.
func (s *Store) sweep(p Package) error {
	var failed []error
	for _, folder := range []string{s.archives(), filepath.Dir(s.dir(p))} {
		left, err := filepath.Glob(filepath.Join(globLiteral(folder), p.tempPattern()))
		failed = append(failed, err)
		for _, l := range left {
			failed = append(failed, os.RemoveAll(l))
		}
	}
	return errors.Join(failed...)
}

// globLiteral escapes a folder's name for filepath.Glob.
func globLiteral(s string) string {
	var out []byte
	for i := range len(s) {
		switch s[i] {
		case '*', '?', '[', '\\':
			out = append(out, '\\')
		}
		out = append(out, s[i])
	}
	return string(out)
}

// download has p's client save the archive, verifies it and keeps it in the cache's archives. A digest that is wrong may be
// the fault of the client's own cache, so the client is asked a second time without it.
func (s *Store) download(ctx context.Context, p Package) (string, error) {
	c, err := findClient(ctx, p.Client)
	if err != nil {
		return "", err
	}
	for try := 1; ; try++ {
		path, err := s.downloadOnce(ctx, p, c, try > 1)
		if err == nil || try == 2 || !errors.As(err, new(*wrongDigest)) {
			return path, err
		}
		s.say("%s: %v; asking once more without the client's cache", p, err)
	}
}

// wrongDigest says that the file which a client saved is not the pinned one.
type wrongDigest struct{ file, got, want string }

func (e *wrongDigest) Error() string {
	return fmt.Sprintf("the downloaded %s has sha256 %s, expected %s; it was thrown away", e.file, e.got, e.want)
}

func (s *Store) downloadOnce(ctx context.Context, p Package, c client, fresh bool) (string, error) {
	temp, err := os.MkdirTemp(s.archives(), p.tempPattern())
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(temp)
	start := time.Now()
	stop := s.watch(p, c, temp)
	err = c.save(ctx, p, temp, fresh)
	stop()
	if err != nil {
		return "", err
	}
	saved := filepath.Join(temp, "out", p.File)
	got, err := hashFile(saved)
	if errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("%s saved %s instead of %s; the command was: %s", p.Client, names(filepath.Dir(saved)), p.File, p.command("."))
	}
	if err != nil {
		return "", err
	}
	if got != p.SHA256 {
		return "", &wrongDigest{p.File, got, p.SHA256}
	}
	kept := filepath.Join(s.archives(), p.File)
	if err := os.Rename(saved, kept); err != nil {
		return "", err
	}
	s.say("%s: %s in %s, sha256 verified", p, megabytes(sizeOf(kept)), time.Since(start).Round(100*time.Millisecond))
	return kept, nil
}

// names lists the files of a folder for a message.
func names(dir string) string {
	entries, _ := os.ReadDir(dir) // a folder that cannot be read is as good as empty here
	if len(entries) == 0 {
		return "nothing"
	}
	out := entries[0].Name()
	for _, e := range entries[1:] {
		out += ", " + e.Name()
	}
	return out
}

// place unpacks the verified archive and renames the result to dir, replacing what was there.
func (s *Store) place(p Package, archive, dir string) error {
	temp, err := os.MkdirTemp(filepath.Dir(dir), p.tempPattern())
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp)
	fresh := filepath.Join(temp, "new")
	if err := os.Mkdir(fresh, 0o755); err != nil {
		return err
	}
	files, err := unpack(archive, fresh, p.Files, defaultGuard)
	if err != nil {
		return fmt.Errorf("%s: %w", archive, err)
	}
	if err := writeRecord(fresh, record{Package: p.String(), Archive: p.SHA256, Files: files}); err != nil {
		return err
	}
	if err := os.Rename(dir, filepath.Join(temp, "old")); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return os.Rename(fresh, dir)
}

// failed makes an error that says what was being fetched and how to do it by hand.
func (s *Store) failed(ctx context.Context, p Package, err error) error {
	if stopped := ctx.Err(); stopped != nil {
		code := serval.Canceled
		if errors.Is(stopped, context.DeadlineExceeded) {
			code = serval.DeadlineExceeded
		}
		return serval.Errorf(code, "fetching %s was stopped; fetch it again to go on (%w)", p, stopped).At(p.Name)
	}
	return serval.Errorf(serval.Unavailable, "fetching %s failed: %w; by hand: %s", p, err, s.byHand(p)).At(p.Name)
}
