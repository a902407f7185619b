package requests

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"serval"
)

// ErrUnknown says that a store did not hear whether what it was to take is there: the answer to a COMMIT was lost.
var ErrUnknown = errors.New("it is not known whether the database has stored it; look before you send it again")

// lookFor bounds how long a store is asked whether it has what it may have taken.
const lookFor = 10 * time.Second

// lookAgain says whether find finds what a store may have taken. What it does not find may still come: a server of a database may be
// at it after its client has left.
func lookAgain(ctx context.Context, find func(context.Context) error) bool {
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), lookFor) // that the client has left may be why it is not known
	defer stop()
	for wait := 10 * time.Millisecond; ; wait *= 2 {
		err := find(ctx)
		if err == nil {
			return true
		}
		if serval.AsError(err).Code == serval.NotFound || ctx.Err() != nil {
			return false
		}
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-ctx.Done():
		}
		t.Stop()
	}
}

// unsure tells a client.
func unsure(err error) error {
	return serval.Errorf(serval.Unavailable, "the database did not say whether it has stored this; look whether it is there, or send it again").After(time.Second).Because(err)
}

// A file whose bytes are in their place and whose row is not certain has a note beside it, with whose it is: only what has a note may be
// removed for want of a row. Without that, two stores over one folder would remove each other's files.

const note = ".pending-"

func (f *Files) noteOf(id string) string { return f.path(note + f.o.Owner + "-" + id) }

// pending notes that a file may have no row.
func (f *Files) pending(id string) error {
	if f.o.Owner == "" {
		return nil
	}
	n, err := os.OpenFile(f.noteOf(id), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	return n.Close()
}

// settled removes the note: the file has a row, or no bytes.
func (f *Files) settled(id string) {
	if f.o.Owner != "" {
		_ = os.Remove(f.noteOf(id)) // sweep finds what is left
	}
}

// stale is how old bytes without a row must be to be nobody's: an upload may take long, and its row comes last.
const stale = 24 * time.Hour

// sweep removes what kills have left.
func (f *Files) sweep(ctx context.Context) error {
	names, err := os.ReadDir(f.o.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, n := range names {
		info, e := n.Info()
		if e != nil || n.IsDir() || time.Since(info.ModTime()) < stale {
			continue
		}
		if id, ours := strings.CutPrefix(n.Name(), note+f.o.Owner+"-"); ours && f.o.Owner != "" {
			_, e := f.o.Rows.File(ctx, "", id)
			switch {
			case e == nil: // it has got its row
			case serval.AsError(e).Code != serval.NotFound:
				err = errors.Join(err, e)
				continue
			default:
				if e := os.Remove(f.path(id)); e != nil && !errors.Is(e, fs.ErrNotExist) {
					err = errors.Join(err, e)
					continue
				}
			}
		} else if !strings.HasPrefix(n.Name(), upload) {
			continue
		}
		if e := os.Remove(f.path(n.Name())); e != nil && !errors.Is(e, fs.ErrNotExist) {
			err = errors.Join(err, e)
		}
	}
	return err
}

// ownerName is the file in a batch's folder that says which store it is of.
const ownerName = "owner"

// own notes whose a batch's folder is.
func (s *Service) own(dir string) error {
	if s.o.Owner == "" {
		return nil
	}
	return os.WriteFile(filepath.Join(dir, ownerName), []byte(s.o.Owner), 0o600)
}

// sweep removes folders of batches that have ended, or never began.
func (s *Service) sweep(ctx context.Context) error {
	folders, err := filepath.Glob(filepath.Join(s.o.Dir, "batch_*"))
	for _, dir := range folders {
		info, e := os.Stat(dir)
		if e != nil || time.Since(info.ModTime()) < stale {
			continue
		}
		if owner, e := os.ReadFile(filepath.Join(dir, ownerName)); e != nil || s.o.Owner == "" || string(owner) != s.o.Owner {
			continue
		}
		b, e := s.o.Store.Batch(ctx, "", filepath.Base(dir))
		if e == nil && b.Status.Ended() || e != nil && serval.AsError(e).Code == serval.NotFound {
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}
	return err
}
