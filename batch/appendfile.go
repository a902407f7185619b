package batch

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"serval"
)

// AppendFile is a file of text that grows: what Writers of lines stand on. One goroutine uses it.
type AppendFile struct {
	f      *os.File
	path   string
	buf    []byte
	size   int64 // with what is in buf
	synced int64
	pipe   bool
	err    error // the first; nothing is written after it
}

const appendBuffer = 256 << 10

// OpenAppend opens a file to go on at an offset, and cuts off what is behind it; with a negative offset it makes a new one.
func OpenAppend(path string, offset int64) (*AppendFile, error) {
	flags := os.O_WRONLY
	if offset < 0 {
		flags |= os.O_CREATE | os.O_EXCL
	}
	f, err := os.OpenFile(path, flags, 0o644)
	if err != nil {
		return nil, err
	}
	a := &AppendFile{f: f, path: path, size: max(0, offset), synced: max(0, offset)}
	if offset < 0 {
		return a, nil
	}
	info, err := f.Stat()
	if err == nil && info.Size() < offset {
		err = serval.Errorf(serval.InvalidArgument, "%s has %d bytes, where the job's checkpoint knows of %d: it was changed; start the job anew with --restart", path, info.Size(), offset)
	}
	if err == nil {
		err = f.Truncate(offset)
	}
	if err == nil {
		_, err = f.Seek(offset, 0)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return a, nil
}

// AppendTo writes to a file that is open, such as standard output; Close leaves it open.
func AppendTo(f *os.File) *AppendFile { return &AppendFile{f: f, path: f.Name(), pipe: true} }

// Buffer is where to append bytes to; Took is called with it afterwards.
func (a *AppendFile) Buffer() []byte { return a.buf }

// Took takes Buffer back with what was appended to it. An error is of an earlier part of the file, too.
func (a *AppendFile) Took(buf []byte) error {
	a.size += int64(len(buf) - len(a.buf))
	if a.buf = buf; len(buf) < appendBuffer {
		return a.err
	}
	return a.flush()
}

// Size is the file's with all that was appended.
func (a *AppendFile) Size() int64 { return a.size }

func (a *AppendFile) flush() error {
	if a.err != nil || len(a.buf) == 0 {
		return a.err
	}
	if _, err := a.f.Write(a.buf); err != nil {
		a.err = diskError(a.path, err)
	}
	a.buf = a.buf[:0]
	return a.err
}

// Sync brings all of it to the disk and returns its size.
func (a *AppendFile) Sync() (int64, error) {
	if err := a.flush(); err != nil || a.pipe {
		return a.size, err
	}
	if err := a.f.Sync(); err != nil {
		a.err = diskError(a.path, err)
		return 0, a.err
	}
	a.synced = a.size
	return a.size, nil
}

// Close brings all of it to the disk and closes it.
func (a *AppendFile) Close() error {
	_, err := a.Sync()
	if a.pipe {
		return err
	}
	return errors.Join(err, a.f.Close())
}

// Abandon closes the file as the last Sync left it.
func (a *AppendFile) Abandon() error {
	if a.pipe {
		return nil
	}
	return errors.Join(a.f.Truncate(a.synced), a.f.Close())
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
