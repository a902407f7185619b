package gguf

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Saving is how a Draft becomes a file.
type Saving struct {
	Path    string // of the file; it is there under this name only when it is whole
	Replace bool   // a file that has the name already; else that is an error, fs.ErrExist
	// Data writes exactly t.Size bytes, the data of one tensor, into w. It is called for one tensor after the other, in their
	// order, on Save's goroutine. Its errors should name the tensor; ctx ends when nobody wants the file any more.
	Data func(ctx context.Context, t *Tensor, w io.Writer) error
	// Progress, if any, hears after each piece how many of the file's bytes are written. It is called on Save's goroutine.
	Progress func(done, total int64)
}

// Save writes the file beside its final name, makes sure that it is on the disk, and renames it. It needs room for all of it,
// which is checked before anything is written. When it fails or ctx ends nothing stays behind.
func (d *Draft) Save(ctx context.Context, s Saving) error {
	p, err := d.lay()
	if err != nil {
		return err
	}
	if !s.Replace {
		if _, err := os.Lstat(s.Path); err == nil {
			return &fs.PathError{Op: "write", Path: s.Path, Err: fs.ErrExist}
		}
	}
	dir := filepath.Dir(s.Path)
	if free, known := freeSpace(dir); known && p.size > free {
		return fmt.Errorf("%s needs %d MB, but its disk has %d MB free", s.Path, mb(p.size), free/1e6)
	}
	// Not os.CreateTemp: the file gets the permissions that the user's mask leaves.
	file, err := os.OpenFile(filepath.Join(dir, ".gguf-"+rand.Text()+".part"), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return err
	}
	kept := false
	defer func() {
		if !kept {
			file.Close()
			os.Remove(file.Name())
		}
	}()
	if err := p.write(ctx, file, &s); err != nil {
		return err
	}
	if err := errors.Join(file.Sync(), file.Close()); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := os.Rename(file.Name(), s.Path); err != nil {
		return err
	}
	kept = true
	return syncFolder(dir)
}

// mb rounds up, so that what is said to be needed is never less than it is.
func mb(n int64) int64 { return (n + 1e6 - 1) / 1e6 }

// syncFolder makes a rename outlast a crash of the machine, where folders can be synced.
func syncFolder(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Sync(); err != nil && !errors.Is(err, errors.ErrUnsupported) && !errors.Is(err, fs.ErrInvalid) && !errors.Is(err, fs.ErrPermission) {
		return err
	}
	return nil
}

// output counts what goes into the file, tells of it, and takes no more than a tensor's size.
type output struct {
	ctx      context.Context
	to       *bufio.Writer
	done     int64
	total    int64
	left     int64 // of the tensor
	progress func(done, total int64)
}

func (o *output) Write(b []byte) (int, error) {
	if err := o.ctx.Err(); err != nil {
		return 0, err
	}
	if int64(len(b)) > o.left {
		return 0, fmt.Errorf("%d bytes more than the tensor has", int64(len(b))-o.left)
	}
	n, err := o.to.Write(b)
	o.done, o.left = o.done+int64(n), o.left-int64(n)
	if o.progress != nil {
		o.progress(o.done, o.total)
	}
	return n, err
}

// write writes everything into file.
func (p *plan) write(ctx context.Context, file io.Writer, s *Saving) error {
	o := &output{ctx: ctx, to: bufio.NewWriterSize(file, 1<<20), total: p.size, progress: s.Progress}
	zeros := make([]byte, min(p.align, 1<<16))
	pad := func() error {
		for o.done%p.align != 0 {
			o.left = min(int64(len(zeros)), p.align-o.done%p.align)
			if _, err := o.Write(zeros[:o.left]); err != nil {
				return err
			}
		}
		return nil
	}
	o.left = int64(len(p.head))
	if _, err := o.Write(p.head); err != nil {
		return err
	}
	if err := pad(); err != nil {
		return err
	}
	for i := range p.tensors {
		t := &p.tensors[i]
		o.left = t.Size
		if err := s.Data(ctx, t, o); err != nil {
			return err
		}
		if o.left != 0 {
			return fmt.Errorf("tensor %q: %d of its %d bytes were not written", t.Name, o.left, t.Size)
		}
		if err := pad(); err != nil {
			return err
		}
	}
	return o.to.Flush()
}
