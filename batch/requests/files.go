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
	// Owner tells this store from others whose servers have the same folder: what kills left is removed by its owner alone. "": not
	// at all.
	Owner string
	// Aside is how much else lies on the disk for a tenant and counts in Total: Service.Held. Nil: nothing.
	Aside func(ctx context.Context, tenant string) (int64, error)
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
		held, err := f.held(ctx, file.Tenant)
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
	if file, err = f.put(ctx, file); err != nil {
		return nil, err
	}
	if f.o.Total > 0 { // others may have come at the same time
		if held, err := f.held(ctx, file.Tenant); err == nil && held > f.o.Total {
			if err := f.RemoveFile(ctx, file.Tenant, file.ID); err != nil {
				return nil, err
			}
			return nil, f.full(held - file.Size)
		}
	}
	return file, nil
}

// put stores what is known of a file whose bytes are in their place. Where the store did not say whether it did, it is asked again:
// bytes that it does know of must stay, and those that it may come to know of are left to tidy.
func (f *Files) put(ctx context.Context, file *protocol.File) (*protocol.File, error) {
	err := f.o.Rows.PutFile(ctx, file)
	if errors.Is(err, ErrUnknown) {
		var row *protocol.File
		there := lookAgain(ctx, func(ctx context.Context) (err error) {
			row, err = f.o.Rows.File(ctx, "", file.ID)
			return err
		})
		if !there {
			return nil, unsure(err)
		}
		file, err = row, nil
	}
	if err != nil {
		_ = os.Remove(f.path(file.ID))
	}
	f.settled(file.ID)
	return file, err
}

// held is how much of a tenant's counts in Total.
func (f *Files) held(ctx context.Context, tenant string) (int64, error) {
	n, err := f.o.Rows.FileBytes(ctx, tenant)
	if err == nil && f.o.Aside != nil {
		var more int64
		more, err = f.o.Aside(ctx, tenant)
		n += more
	}
	return n, err
}

// room refuses a tenant whose files and batches are as much as they may be.
func (f *Files) room(ctx context.Context, tenant string) error {
	if f.o.Total <= 0 {
		return nil
	}
	held, err := f.held(ctx, tenant)
	if err == nil && held > f.o.Total {
		err = f.full(held)
	}
	return err
}

func (f *Files) full(held int64) error {
	return serval.Errorf(serval.ResourceExhausted, "your files and open batches take %d bytes, and with what comes more than the %d that you may keep (files.max_total); delete some", held, f.o.Total).Named("file_quota_exceeded")
}

// keep gives a whole file, on the disk already, its place. Until settled it is noted as one that may have no row.
func (f *Files) keep(path, id string) error {
	if err := f.pending(id); err != nil {
		return err
	}
	if err := os.Rename(path, f.path(id)); err != nil {
		f.settled(id)
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
	ours := strings.HasPrefix(id, "file-") && filepath.Base(id) == id // else there is no such row
	if ours {
		if err := f.pending(id); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return diskError(err)
		}
	}
	if err := f.o.Rows.RemoveFile(ctx, tenant, id); err != nil {
		if ours && serval.AsError(err).Code == serval.NotFound {
			f.settled(id)
		}
		return err
	}
	if err := os.Remove(f.path(id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f.settled(id)
	return nil
}

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
	return f.sweep(ctx)
}

func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
