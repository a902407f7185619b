package source

import (
	"bytes"
	"context"
	"crypto/sha1" // git names its blobs by it; no secret depends on it
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"serval"
)

const (
	mostFailures = 6       // in a row, without getting any further
	mostAttempts = 200     // of one file
	further      = 1 << 20 // bytes that count as getting further
	firstPause   = 500 * time.Millisecond
	longestPause = 30 * time.Second
	longestAfter = 5 * time.Minute // that a server may ask to wait
	chunk        = 256 << 10
	syncEvery    = 32 << 20 // bytes of a file without a digest between two marks of what is safely on the disk
)

// again tries until it works, fails for good, or fails too often without getting any further.
func (p *Puller) again(ctx context.Context, what string, try func() (further bool, err error)) error {
	failures := 0
	for n := 1; ; n++ {
		further, err := try()
		var a *attempt
		if err == nil || ctx.Err() != nil || !errors.As(err, &a) {
			return err
		}
		if further {
			failures = 0
		}
		if failures++; failures >= mostFailures || n >= mostAttempts {
			return serval.Errorf(serval.Unavailable, "%s: %w; given up after %d attempts: the same command goes on from there", what, a.err, n).At("source")
		}
		if a.after > longestAfter {
			return serval.Errorf(serval.Unavailable, "%s: %w; it asks to wait for %v: try again then, the same command goes on", what, a.err, a.after).At("source").After(a.after)
		}
		wait := max(pauseAfter(failures), a.after)
		p.meter.say("%s: %v; trying again in %v", what, a.err, wait.Round(100*time.Millisecond))
		if err := p.pause(ctx, wait); err != nil {
			return err
		}
	}
}

// pauseAfter doubles from firstPause to longestPause, with jitter so that many do not come back at once.
func pauseAfter(failures int) time.Duration {
	d := min(firstPause<<(failures-1), longestPause)
	return d/2 + rand.N(d/2+1)
}

// partial is a file on its way, on disk under a name of its own until it is whole and verified.
type partial struct {
	*pulling
	f       *file
	disk    *os.File
	have    int64 // bytes in it
	kept    bool  // some of them are from an earlier attempt
	sum     hash.Hash
	blob    hash.Hash // nil: no git blob's digest is known
	safe    int64     // bytes that are known to be on the disk
	learned bool      // the digest came from the server, not from the plan
}

// keptState is what is known of a partial file when no digest is.
type keptState struct {
	Mark string `json:"mark"`
	Safe int64  `json:"safe"`
}

func (u *pulling) key(f *file) string {
	of := "sha256 " + f.sha256
	if f.sha256 == "" {
		of = "at " + f.from.id() + " " + f.blob
	}
	sum := sha256.Sum256([]byte(of))
	return hex.EncodeToString(sum[:12])
}

func (u *pulling) partPath(f *file) string { return filepath.Join(u.keep, u.key(f)+".part") }

// fetch makes the file at to, which another pull of the same plan may have made already, and returns its sha256.
func (u *pulling) fetch(ctx context.Context, f *file, to string) (string, error) {
	if l, ok := f.from.(*disk); ok && l.link {
		_ = os.Remove(to) // an earlier one; Symlink says if it is still there
		u.gauge.add(f.size)
		return "", os.Symlink(l.path, to)
	}
	if sum, ok := u.finished(ctx, f, to); ok {
		u.gauge.add(f.size)
		return sum, nil
	}
	part := u.partPath(f)
	unlock, err := lock(ctx, strings.TrimSuffix(part, ".part")+".lock", func() { u.meter.say("%s: another process fetches it; waiting", f.path) })
	if err != nil {
		return "", err
	}
	defer unlock()
	t := &partial{pulling: u, f: f}
	if t.disk, err = os.OpenFile(part, os.O_RDWR|os.O_CREATE, 0o644); err != nil {
		return "", err
	}
	defer t.disk.Close()
	if err := t.resume(ctx); err != nil {
		return "", err
	}
	if err := u.again(ctx, f.path, func() (bool, error) { return t.try(ctx) }); err != nil {
		t.remember()
		return "", err
	}
	if err := errors.Join(t.disk.Sync(), t.disk.Close(), os.Rename(part, to)); err != nil {
		return "", err
	}
	_ = os.Remove(part + ".json")
	return hex.EncodeToString(t.sum.Sum(nil)), nil
}

// finished says whether the file is at to already, from a pull that was cut off later.
func (u *pulling) finished(ctx context.Context, f *file, to string) (string, bool) {
	info, err := os.Stat(to)
	if err != nil || !info.Mode().IsRegular() || f.size >= 0 && info.Size() != f.size || f.sha256 == "" && f.mark == "" {
		return "", false
	}
	sum, err := hashFile(ctx, to)
	return sum, err == nil && (f.sha256 == "" || sum == f.sha256)
}

// resume takes up what an earlier pull left.
func (t *partial) resume(ctx context.Context) error {
	info, err := t.disk.Stat()
	if err != nil {
		return err
	}
	have := info.Size()
	if t.f.sha256 == "" { // what is wrong in it would not be found: only what the disk surely has, of the same content, counts
		var s keptState
		raw, err := os.ReadFile(t.disk.Name() + ".json")
		if err != nil || json.Unmarshal(raw, &s) != nil || s.Mark == "" || s.Mark != t.f.mark {
			have = 0
		}
		have = min(have, max(s.Safe, 0))
	}
	if t.f.size >= 0 && have > t.f.size {
		have = 0
	}
	if err := t.restart(); err != nil || have == 0 {
		return errors.Join(err, t.disk.Truncate(0))
	}
	if err := t.disk.Truncate(have); err != nil {
		return err
	}
	n, err := io.Copy(t.hashes(), &stoppable{ctx, io.LimitReader(t.disk, have)})
	if err != nil {
		return err
	}
	t.have, t.safe, t.kept = n, n, true
	t.gauge.add(n)
	t.meter.say("%s: going on after %s", t.f.path, size(n))
	return nil
}

// restart forgets what was read, but for the bytes in the file.
func (t *partial) restart() error {
	t.gauge.add(-t.have)
	t.have, t.safe, t.kept, t.sum, t.blob = 0, 0, false, sha256.New(), nil
	if t.f.blob != "" && t.f.size >= 0 {
		t.blob = sha1.New()
		fmt.Fprintf(t.blob, "blob %d\x00", t.f.size)
	}
	_, err := t.disk.Seek(0, io.SeekStart)
	return err
}

func (t *partial) hashes() io.Writer {
	if t.blob == nil {
		return t.sum
	}
	return io.MultiWriter(t.sum, t.blob)
}

// discard throws away what was fetched.
func (t *partial) discard() error { return errors.Join(t.restart(), t.disk.Truncate(0)) }

// try reads on from where the partial file ends, to the file's end, and verifies it.
func (t *partial) try(ctx context.Context) (got bool, err error) {
	start := t.have
	if t.f.size < 0 || t.have < t.f.size || t.f.size == 0 {
		err = t.read(ctx)
	}
	got = t.have-start >= further
	if errors.Is(err, errRange) {
		return got, errors.Join(t.discard(), err)
	}
	if err != nil {
		return got, err
	}
	return got, t.verify()
}

func (t *partial) read(ctx context.Context) error {
	mark := t.f.mark
	if t.f.sha256 != "" {
		mark = "" // the digest decides; where a file is stored twice, marks differ for equal content
	} else if mark == "" && t.have > 0 {
		if err := t.discard(); err != nil {
			return err
		}
	}
	s, err := t.f.from.open(ctx, t.have, mark)
	if err != nil {
		return err
	}
	defer s.Close()
	if err := t.accept(s); err != nil {
		return err
	}
	if t.have > 0 {
		t.kept = true
	}
	if t.f.size >= 0 {
		if err := t.room(t.f.size - t.have); err != nil {
			return err
		}
	}
	if err := t.copy(ctx, s); err != nil {
		return err
	}
	if t.f.size >= 0 && t.have < t.f.size {
		return &attempt{err: fmt.Errorf("it ended after %s of %s", size(t.have), size(t.f.size))}
	}
	t.f.size = t.have
	return nil
}

// accept compares what is sent with what was announced before.
func (t *partial) accept(s *stream) error {
	f := t.f
	if s.sha256 != "" {
		switch {
		case f.sha256 == "":
			f.sha256, t.learned = s.sha256, true
		case f.sha256 != s.sha256:
			return serval.Errorf(serval.Unavailable, "%s: sha256 %s is offered, %s was expected; pull again for what is there now", f.path, s.sha256, f.sha256).At("source")
		}
	}
	if s.page && !strings.HasSuffix(f.path, ".html") {
		return serval.Errorf(serval.Unavailable, "%s: a page for people (text/html) is sent instead of the file", f.path).At("source")
	}
	if s.size > mostBytes {
		return serval.Errorf(serval.Unavailable, "%s: a size of %d bytes is announced, which no model has", f.path, s.size).At("source")
	}
	changed := f.size >= 0 && s.size >= 0 && s.size != f.size
	if changed && f.sha256 != "" && !t.learned || changed && f.blob != "" {
		return serval.Errorf(serval.Unavailable, "%s: %d bytes are sent, %d were announced", f.path, s.size, f.size).At("source")
	}
	if s.at != t.have || changed {
		if s.at != 0 {
			return errors.Join(t.discard(), &attempt{err: errors.New("it is not what it was; beginning anew")})
		}
		if t.have > 0 {
			t.meter.say("%s: beginning anew, since its server cannot go on or has another file now", f.path)
		}
		if err := t.discard(); err != nil {
			return err
		}
	}
	if s.size >= 0 {
		t.gauge.grow(s.size - max(f.size, 0))
		f.size = s.size
	}
	if f.sha256 == "" && f.mark != s.mark {
		f.mark = s.mark
	}
	return nil
}

// copy reads the stream into the partial file, and never more than was announced or than the disk takes.
func (t *partial) copy(ctx context.Context, s *stream) error {
	buf := make([]byte, chunk)
	to := io.MultiWriter(t.disk, t.hashes())
	next := t.have + syncEvery
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := s.Read(buf)
		if t.f.size >= 0 && t.have+int64(n) > t.f.size {
			err := serval.Errorf(serval.Unavailable, "%s: more is sent than the %d bytes that were announced; what came was thrown away", t.f.path, t.f.size)
			return errors.Join(t.discard(), err.At("source"))
		}
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				return err
			}
			t.have += int64(n)
			t.gauge.add(int64(n))
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if t.have >= next {
			next = t.have + syncEvery
			if t.f.size < 0 {
				if err := t.room(syncEvery); err != nil {
					return errors.Join(t.discard(), err)
				}
			}
			t.remember()
		}
	}
}

// remember notes how far a file without a digest has come.
func (t *partial) remember() {
	if t.f.sha256 != "" || t.f.mark == "" || t.have == t.safe {
		return
	}
	if t.disk.Sync() != nil {
		return // the next pull begins anew, which is no harm
	}
	raw, err := json.Marshal(keptState{t.f.mark, t.have})
	if err == nil && writeFile(t.disk.Name()+".json", raw) == nil {
		t.safe = t.have
	}
}

// verify compares the whole file with its digests. What was put together of several attempts gets a second chance.
func (t *partial) verify() error {
	want, got := t.f.sha256, hex.EncodeToString(t.sum.Sum(nil))
	kind := "sha256"
	if want == "" && t.blob != nil {
		want, got, kind = t.f.blob, hex.EncodeToString(t.blob.Sum(nil)), "git digest"
	}
	if want != "" && got != want {
		kept := t.kept
		if err := t.discard(); err != nil {
			return err
		}
		if kept {
			return &attempt{err: fmt.Errorf("put together of several parts it has %s %s, expected %s; beginning anew", kind, got, want)}
		}
		return serval.Errorf(serval.Unavailable, "%s has %s %s, expected %s; it was removed", t.f.path, kind, got, want).At("sha256")
	}
	head := make([]byte, 16)
	n, err := t.disk.ReadAt(head, 0)
	if err != nil && err != io.EOF {
		return err
	}
	if why := wrongStart(t.f.path, head[:n]); why != "" {
		return errors.Join(t.discard(), serval.Errorf(serval.Unavailable, "%s is no such file: %s; it was removed", t.f.path, why).At("source"))
	}
	return nil
}

// wrongStart says why a file that begins so is not what its name says; "" if it may be.
func wrongStart(name string, head []byte) string {
	low := strings.ToLower(name)
	switch start := bytes.ToLower(bytes.TrimSpace(head)); {
	case strings.HasSuffix(low, ".gguf") && !bytes.HasPrefix(head, []byte("GGUF")):
		return fmt.Sprintf("a GGUF file begins with GGUF, this with %q", head[:min(4, len(head))])
	case modelFile(low) && (bytes.HasPrefix(start, []byte("<!doctype")) || bytes.HasPrefix(start, []byte("<html"))):
		return "it is a web page"
	case modelFile(low) && bytes.HasPrefix(head, []byte("version https://")):
		return "it is a pointer of Git LFS to the file, not the file"
	}
	return ""
}

func diskFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}
