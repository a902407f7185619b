package batch

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"

	"serval"
)

// Part is a file on its way to being complete, which a Writer goes on with behind a Mark. One goroutine uses it.
type Part struct {
	f    *os.File
	path string
	size int64
	err  error // the first; nothing is written after it
}

var (
	_ io.Writer   = (*Part)(nil)
	_ io.ReaderAt = (*Part)(nil)
)

// NewPart makes a file, which must not be there.
func NewPart(path string) (*Part, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return nil, err
	}
	return &Part{f: f, path: path}, nil
}

// OpenPart opens a file again that had so many bytes at a Mark. It is an InvalidArgument where it has fewer. What is behind them can
// be read until Cut takes it away.
func OpenPart(path string, offset int64) (*Part, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && info.Size() < offset {
		err = serval.Errorf(serval.InvalidArgument, "%s has %d bytes, where the job's checkpoint knows of %d: it was changed; start the job anew with --restart", path, info.Size(), offset)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &Part{f: f, path: path, size: offset}, nil
}

// Cut takes away what is behind the Mark.
func (p *Part) Cut() error {
	err := p.f.Truncate(p.size)
	if err == nil {
		_, err = p.f.Seek(p.size, io.SeekStart)
	}
	return err
}

// Size is where the next byte goes.
func (p *Part) Size() int64 { return p.size }

// Write appends. Its errors say what they mean to whoever runs the job; after one, each further call has the same.
func (p *Part) Write(b []byte) (int, error) {
	if p.err != nil {
		return 0, p.err
	}
	n, err := p.f.Write(b)
	p.size += int64(n)
	return n, p.failed(err)
}

// ReadAt reads what was written.
func (p *Part) ReadAt(b []byte, off int64) (int, error) { return p.f.ReadAt(b, off) }

// Sync brings all of it to the disk.
func (p *Part) Sync() error {
	if p.err != nil {
		return p.err
	}
	return p.failed(p.f.Sync())
}

// Close closes the file as it is.
func (p *Part) Close() error { return p.f.Close() }

func (p *Part) failed(err error) error {
	if err != nil {
		p.err = diskError(p.path, err)
	}
	return p.err
}

// diskError says what a failed write means to whoever runs the job.
func diskError(path string, err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return serval.Errorf(serval.ResourceExhausted, "%s: the disk is full; free some of it", path).Because(err)
	}
	var p *fs.PathError
	if errors.As(err, &p) {
		err = p.Err
	}
	return fmt.Errorf("%s: %w", path, err)
}
