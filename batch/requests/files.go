package requests

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"serval"
	"serval/protocol"
)

// FilesOptions are what Files needs.
type FilesOptions struct {
	// Dir is where the files lie. Servers that share a store share it.
	Dir  string
	Rows FileRows
	// Largest bounds a file, Total those of one tenant together, in bytes; 0: no limit.
	Largest, Total int64
	// Keep is how long a file of the purposes batch and batch_output is kept that does not say; 0: until it is removed.
	Keep time.Duration
}

// Files keeps files: what they hold in a folder, what is known of them in the store. It implements protocol.Files.
type Files struct{ o FilesOptions }

var _ protocol.Files = (*Files)(nil)

// NewFiles makes one.
func NewFiles(o FilesOptions) *Files { return &Files{o} }

// upload begins the name of a file that is not whole yet.
const upload = ".upload-"

// AddFile keeps what fill writes: first the bytes, then the row, so that a row never is without them.
func (f *Files) AddFile(ctx context.Context, fill func(io.Writer) (*protocol.File, error)) (*protocol.File, error) {
	if err := os.MkdirAll(f.o.Dir, 0o700); err != nil {
		return nil, diskError(err)
	}
	part, err := os.CreateTemp(f.o.Dir, upload)
	if err != nil {
		return nil, diskError(err)
	}
	defer os.Remove(part.Name()) // of one that was refused; else it has another name by now
	w := &bounded{to: part, limit: f.o.Largest}
	file, err := fill(w)
	if err == nil {
		err = part.Sync()
	}
	if err = errors.Join(err, part.Close()); err != nil {
		return nil, diskError(err)
	}
	file.ID, file.Size = protocol.NewID("file-"), w.size
	if f.o.Total > 0 {
		held, err := f.o.Rows.FileBytes(ctx, file.Tenant)
		if err != nil {
			return nil, err
		}
		if held+file.Size > f.o.Total {
			return nil, f.full(held)
		}
	}
	if file.Expires.IsZero() && f.o.Keep > 0 && file.Purpose == "batch" {
		file.Expires = time.Now().Add(f.o.Keep)
	}
	if err := f.keep(part.Name(), file.ID); err != nil {
		return nil, err
	}
	if err := f.o.Rows.PutFile(ctx, file); err != nil {
		_ = os.Remove(f.path(file.ID)) // tidy finds what is left
		return nil, err
	}
	if f.o.Total > 0 { // others may have come at the same time
		if held, err := f.o.Rows.FileBytes(ctx, file.Tenant); err == nil && held > f.o.Total {
			if err := f.RemoveFile(ctx, file.Tenant, file.ID); err != nil {
				return nil, err
			}
			return nil, f.full(held - file.Size)
		}
	}
	return file, nil
}

func (f *Files) full(held int64) error {
	return serval.Errorf(serval.ResourceExhausted, "your files have %d bytes together, and with this one more than the %d that you may keep; delete some", held, f.o.Total).Named("file_quota_exceeded")
}

// keep gives a whole file, on the disk already, its place.
func (f *Files) keep(path, id string) error {
	if err := os.Rename(path, f.path(id)); err != nil {
		return err
	}
	return syncFolder(f.o.Dir)
}

func (f *Files) path(id string) string { return filepath.Join(f.o.Dir, id) }

// diskError tells a client of a full disk.
func diskError(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return serval.Errorf(serval.Unavailable, "the server's disk is full; tell its operator, and try again later").After(time.Minute).Because(err)
	}
	return err
}

// bounded refuses more than limit bytes.
type bounded struct {
	to          io.Writer
	size, limit int64
}

func (b *bounded) Write(p []byte) (int, error) {
	if b.limit > 0 && b.size+int64(len(p)) > b.limit {
		return 0, serval.Errorf(serval.TooLarge, "the file is larger than the limit of %d bytes (files.max_size); split it", b.limit).At("file")
	}
	n, err := b.to.Write(p)
	b.size += int64(n)
	return n, err
}

// File describes one.
func (f *Files) File(ctx context.Context, tenant, id string) (*protocol.File, error) {
	return f.o.Rows.File(ctx, tenant, id)
}

// Files lists them.
func (f *Files) Files(ctx context.Context, filter protocol.FileFilter) ([]*protocol.File, error) {
	return f.o.Rows.Files(ctx, filter)
}

// OpenFile opens one.
func (f *Files) OpenFile(ctx context.Context, tenant, id string) (*protocol.File, io.ReadSeekCloser, error) {
	row, err := f.o.Rows.File(ctx, tenant, id)
	if err != nil {
		return nil, nil, err
	}
	file, err := os.Open(f.path(row.ID))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, elsewhere(row.ID)
	}
	return row, file, err
}

func elsewhere(id string) error {
	return serval.Errorf(serval.Unavailable, "this server does not have the bytes of file '%s': servers that share a store must share batch.dir, too", id).At("file_id")
}

// RemoveFile removes one, the row first.
func (f *Files) RemoveFile(ctx context.Context, tenant, id string) error {
	if err := f.o.Rows.RemoveFile(ctx, tenant, id); err != nil {
		return err
	}
	if err := os.Remove(f.path(id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// stale is how old bytes without a row must be to be nobody's: an upload may take long, and its row comes last.
const stale = 24 * time.Hour

// tidy removes files that have expired, and once in a while bytes that a kill has left without a row.
func (f *Files) tidy(ctx context.Context, orphans bool) error {
	list, err := f.o.Rows.ExpiredFiles(ctx)
	for i := 0; err == nil && i < len(list); i++ {
		if err = f.RemoveFile(ctx, "", list[i].ID); err != nil && serval.AsError(err).Code == serval.NotFound {
			err = nil // another server was faster
		}
	}
	if err != nil || !orphans {
		return err
	}
	names, err := os.ReadDir(f.o.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, n := range names {
		info, e := n.Info()
		if e != nil || n.IsDir() || time.Since(info.ModTime()) < stale {
			continue
		}
		if strings.HasPrefix(n.Name(), "file-") {
			if _, e := f.o.Rows.File(ctx, "", n.Name()); e == nil || serval.AsError(e).Code != serval.NotFound {
				continue
			}
		} else if !strings.HasPrefix(n.Name(), upload) {
			continue
		}
		err = errors.Join(err, os.Remove(f.path(n.Name())))
	}
	return err
}

func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
