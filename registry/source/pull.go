package source

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"serval"
)

const (
	keep      = ".pull"             // the folder in a models folder for what is under way; its dot hides it from who serves the folder
	keepFor   = 14 * 24 * time.Hour // how long a partial file is kept that nobody goes on with
	mostFiles = 100_000             // of one model
	mostBytes = 1 << 50             // of one model
	spare     = 64 << 20            // bytes of a disk that are left free
)

// pulling is one pull under way. It belongs to one goroutine.
type pulling struct {
	*Puller
	req   Request
	src   source
	keep  string // path of the folder for what is under way
	dir   string // path that the model's folder gets
	gauge *gauge
}

// Pull puts a model into the models folder and returns it; one that is there already stays as it is. The model's folder appears
// whole or not at all. A pull that was cut off, however it ended, leaves what it has: the same pull goes on from there. Pulls of
// one model wait for each other.
//
// The model's folder being something else is a Conflict and never touched. What is wrong with the request is InvalidArgument, a
// source that does not have it NotFound, one that refuses it PermissionDenied, one that fails Unavailable, a full disk
// ResourceExhausted.
func (p *Puller) Pull(ctx context.Context, req Request) (Result, error) {
	src, err := p.parse(req.Source, req.Link)
	if err != nil {
		return Result{}, err
	}
	if req.Name == "" {
		req.Name = cleanName(src.name())
	}
	if err := checkName(req.Name); err != nil {
		return Result{}, err
	}
	if req.SHA256 = strings.ToLower(req.SHA256); req.SHA256 != "" && !isHex(req.SHA256, sha256.Size) {
		return Result{}, serval.Errorf(serval.InvalidArgument, "%q is no sha256: write its 64 hex digits", req.SHA256).At("sha256")
	}
	if err := os.MkdirAll(req.Models, 0o755); err != nil {
		return Result{}, serval.Errorf(serval.InvalidArgument, "models folder: %w", err).At("models")
	}
	u := &pulling{Puller: p, req: req, src: src, keep: filepath.Join(req.Models, keep), dir: filepath.Join(req.Models, req.Name)}
	unlock, err := lock(ctx, filepath.Join(u.keep, req.Name+".lock"), func() {
		p.meter.say("%s: another process pulls it; waiting", req.Name)
	})
	if err != nil {
		return Result{}, u.failed(ctx, err)
	}
	defer func() {
		unlock()
		_ = os.Remove(u.keep) // only if it is empty
	}()
	r, err := u.run(ctx)
	if err != nil {
		return Result{}, u.failed(ctx, err)
	}
	return r, nil
}

func (u *pulling) run(ctx context.Context) (Result, error) {
	u.sweep()
	there, err := readRecord(u.dir)
	if err != nil {
		return Result{}, err
	}
	if there != nil && u.src.settled() && there.Source == u.req.Source && there.intact(u.dir) == nil && u.req.SHA256 == "" {
		return u.result(there, false), nil
	}
	temp := filepath.Join(u.keep, u.req.Name+".tmp") // the lock makes it ours
	if err := errors.Join(os.RemoveAll(temp), os.Mkdir(temp, 0o755)); err != nil {
		return Result{}, err
	}
	defer os.RemoveAll(temp)
	pl, err := u.src.resolve(ctx, temp)
	if err != nil {
		return Result{}, err
	}
	if err := u.check(pl); err != nil {
		return Result{}, err
	}
	if there != nil {
		if err := u.compare(there, pl); err != nil {
			return Result{}, err
		}
		return u.result(there, false), nil
	}
	for _, n := range pl.notes {
		u.meter.say("%s: %s", u.req.Name, n)
	}
	return u.fetchAll(ctx, pl)
}

// check refuses what a source must not give, and applies the digest that was asked for.
func (u *pulling) check(pl *plan) error {
	bad := func(format string, args ...any) error {
		return serval.Errorf(serval.Unavailable, "%s: its source gives "+format, append([]any{u.req.Source}, args...)...).At("source")
	}
	if n := len(pl.files); n == 0 || n > mostFiles {
		return bad("%d files; 1 to %d can be pulled", n, mostFiles)
	}
	seen, total := map[string]bool{}, int64(0)
	for i := range pl.files {
		f := &pl.files[i]
		f.sha256 = strings.ToLower(f.sha256)
		low := strings.ToLower(f.path)
		switch {
		case !safePath(f.path):
			return bad("a file %q, which would lie outside the model's folder", f.path)
		case seen[low]:
			return bad("two files %q", f.path)
		case f.size < -1 || f.size > mostBytes-total:
			return bad("a size of %d bytes for %s, which no model has", f.size, f.path)
		case f.sha256 != "" && !isHex(f.sha256, sha256.Size):
			return bad("%q as the sha256 of %s", f.sha256, f.path)
		}
		seen[low] = true
		total += max(f.size, 0)
	}
	want, first := u.req.SHA256, &pl.files[0]
	switch {
	case want == "":
	case len(pl.files) > 1 && strings.HasSuffix(strings.ToLower(pl.files[1].path), ".gguf"):
		return serval.Errorf(serval.InvalidArgument, "%s is a model of %d files; one sha256 cannot be that of all", u.req.Source, len(pl.files)).At("sha256")
	case first.sha256 != "" && first.sha256 != want:
		return serval.Errorf(serval.InvalidArgument, "%s: its source says that its sha256 is %s, %s was asked for", first.path, first.sha256, want).At("sha256")
	default:
		first.sha256 = want
	}
	return nil
}

// fetchAll fetches the plan's files into a folder of their own, and makes that the model's.
func (u *pulling) fetchAll(ctx context.Context, pl *plan) (Result, error) {
	stage := filepath.Join(u.keep, u.req.Name+".new-"+pl.digest(u.req.Source))
	if err := os.MkdirAll(filepath.Join(stage, "1"), 0o755); err != nil {
		return Result{}, err
	}
	want, total := u.wanted(pl, stage)
	if err := u.room(want); err != nil {
		return Result{}, err
	}
	var watch func(done, total int64)
	if w := u.req.Watch; w != nil {
		digest := pl.files[0].sha256
		watch = func(done, total int64) { w(digest, done, total) }
	}
	u.gauge = u.meter.begin(u.req.Name, total, watch)
	defer u.gauge.end()
	rec := &record{Source: u.req.Source, Revision: pl.revision, Verified: true}
	for i := range pl.files {
		f := &pl.files[i]
		to := filepath.Join(stage, "1", filepath.FromSlash(f.path))
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return Result{}, err
		}
		sum, err := u.fetch(ctx, f, to)
		if err != nil {
			return Result{}, err
		}
		rec.Verified = rec.Verified && (f.sha256 != "" || f.blob != "")
		if err := rec.add(stage, path.Join("1", f.path), f, sum); err != nil {
			return Result{}, err
		}
	}
	u.gauge.end()
	if err := rec.write(stage); err != nil {
		return Result{}, err
	}
	if _, err := os.Lstat(u.dir); err == nil {
		return Result{}, u.conflict("which was put there meanwhile")
	}
	if err := os.Rename(stage, u.dir); err != nil {
		return Result{}, err
	}
	syncFolder(u.req.Models)
	return u.result(rec, true), nil
}

// wanted is how many bytes there are still to write, and how many there are in all; sizes that are not known count as none.
func (u *pulling) wanted(pl *plan, stage string) (want, total int64) {
	for i := range pl.files {
		f := &pl.files[i]
		if f.size <= 0 {
			continue
		}
		total += f.size
		if l, ok := f.from.(*disk); ok && l.link {
			continue
		}
		have := int64(0)
		for _, at := range []string{filepath.Join(stage, "1", filepath.FromSlash(f.path)), u.partPath(f)} {
			if info, err := os.Stat(at); err == nil {
				have = max(have, info.Size())
			}
		}
		want += max(0, f.size-have)
	}
	return want, total
}

// room says whether the disk takes so many bytes more.
func (u *pulling) room(want int64) error {
	free, known := u.free(u.req.Models)
	if !known || want <= free-spare || want == 0 {
		return nil
	}
	return serval.Errorf(serval.ResourceExhausted, "the disk of %s has %s free, and %s takes %s more (and %s are left free); make room, or name another folder with --models",
		u.req.Models, size(free), u.req.Name, size(want), size(spare)).At("models")
}

// compare says whether the model that is there is the plan's; the error names the difference.
func (u *pulling) compare(there *record, pl *plan) error {
	if err := there.intact(u.dir); err != nil {
		return u.conflict("but %v", err)
	}
	if !there.holds(pl) {
		what := "which now gives something else"
		if there.Source != u.req.Source {
			what = "and not what " + u.req.Source + " gives"
		}
		return u.conflict("pulled from %s%s, %s", there.Source, at(there.Revision), what)
	}
	return nil
}

func at(revision string) string {
	if revision == "" {
		return ""
	}
	return " (" + revision + ")"
}

func (u *pulling) conflict(format string, args ...any) error {
	return serval.Errorf(serval.Conflict, "%s is there, %s; it stays as it is: pull under another name with --as, or move the folder away",
		u.dir, fmt.Sprintf(format, args...)).At("as")
}

func (u *pulling) result(r *record, fresh bool) Result {
	out := Result{Name: u.req.Name, Dir: u.dir, Source: r.Source, Revision: r.Revision, Fresh: fresh, Verified: r.Verified}
	for _, f := range r.Files {
		out.Bytes += f.Size
	}
	return out
}

// sweep removes what pulls left that nobody went on with. What is in use is younger.
func (u *pulling) sweep() {
	entries, err := os.ReadDir(u.keep)
	if err != nil {
		return
	}
	for _, e := range entries {
		info, err := e.Info()
		if err == nil && time.Since(info.ModTime()) > keepFor && !strings.HasSuffix(e.Name(), ".lock") {
			_ = os.RemoveAll(filepath.Join(u.keep, e.Name())) // it is tried again by the next pull
		}
	}
}

// failed makes any error one that says what was being pulled.
func (u *pulling) failed(ctx context.Context, err error) error {
	var e *serval.Error
	switch {
	case ctx.Err() != nil:
		code := serval.Canceled
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			code = serval.DeadlineExceeded
		}
		return serval.Errorf(code, "%s: stopped; what was fetched is kept, and the same command goes on from there (%w)", u.req.Name, ctx.Err()).At("source")
	case errors.As(err, &e):
		return err
	case diskFull(err):
		return serval.Errorf(serval.ResourceExhausted, "%s: the disk of %s is full; make room, and the same command goes on (%w)", u.req.Name, u.req.Models, err).At("models")
	}
	return serval.Errorf(serval.Unavailable, "%s: %w", u.req.Name, err).At("source")
}

// digest tells a plan from others.
func (pl *plan) digest(text string) string {
	h := sha256.New()
	fmt.Fprintf(h, "%q %q\n", text, pl.revision)
	for i := range pl.files {
		f := &pl.files[i]
		fmt.Fprintf(h, "%q %d %q %q %q %q\n", f.path, f.size, f.sha256, f.blob, f.mark, f.from.id())
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

func isHex(s string, bytes int) bool {
	b, err := hex.DecodeString(s)
	return err == nil && len(b) == bytes
}

func syncFolder(dir string) {
	if d, err := os.Open(dir); err == nil {
		_ = d.Sync() // not every file system does
		d.Close()
	}
}

// hashFile is the sha256 of a file, in hex.
func hashFile(ctx context.Context, file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, &stoppable{ctx, f}); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// stoppable is a reader that ends with its context.
type stoppable struct {
	ctx context.Context
	r   io.Reader
}

func (s *stoppable) Read(p []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	return s.r.Read(p)
}

// ModelName is what a model of that source is called, where the request names none.
func (p *Puller) ModelName(text string) (string, error) {
	src, err := p.parse(text, false)
	if err != nil {
		return "", err
	}
	name := cleanName(src.name())
	return name, checkName(name)
}

// There is the model that the same request put into the models folder earlier, if its files are as they were. Its source is not
// asked whether it has changed since.
func (p *Puller) There(req Request) (Result, bool) {
	src, err := p.parse(req.Source, req.Link)
	if err != nil {
		return Result{}, false // Pull says why
	}
	if req.Name == "" {
		req.Name = cleanName(src.name())
	}
	u := &pulling{Puller: p, req: req, dir: filepath.Join(req.Models, req.Name)}
	if checkName(req.Name) != nil {
		return Result{}, false
	}
	there, err := readRecord(u.dir)
	if err != nil || there == nil || there.Source != req.Source || there.intact(u.dir) != nil {
		return Result{}, false
	}
	return u.result(there, false), true
}
