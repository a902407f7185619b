package batch

import (
	"errors"
	"os"
)

// AppendFile is a file of text that grows: what Writers of lines stand on. One goroutine uses it.
type AppendFile struct {
	part   *Part
	buf    []byte
	synced int64
	pipe   bool
}

const appendBuffer = 256 << 10

// OpenAppend opens a file to go on at an offset, and cuts off what is behind it; with a negative offset it makes a new one.
func OpenAppend(path string, offset int64) (*AppendFile, error) {
	if offset < 0 {
		p, err := NewPart(path)
		if err != nil {
			return nil, err
		}
		return &AppendFile{part: p}, nil
	}
	p, err := OpenPart(path, offset)
	if err != nil {
		return nil, err
	}
	if err := p.Cut(); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return &AppendFile{part: p, synced: offset}, nil
}

// AppendTo writes to a file that is open, such as standard output; Close leaves it open.
func AppendTo(f *os.File) *AppendFile {
	return &AppendFile{part: &Part{f: f, path: f.Name()}, pipe: true}
}

// Buffer is where to append bytes to; Took is called with it afterwards.
func (a *AppendFile) Buffer() []byte { return a.buf }

// Took takes Buffer back with what was appended to it. An error is of an earlier part of the file, too.
func (a *AppendFile) Took(buf []byte) error {
	if a.buf = buf; len(buf) < appendBuffer {
		return a.part.err
	}
	return a.flush()
}

// Size is the file's with all that was appended.
func (a *AppendFile) Size() int64 { return a.part.Size() + int64(len(a.buf)) }

func (a *AppendFile) flush() error {
	if len(a.buf) == 0 {
		return a.part.err
	}
	_, err := a.part.Write(a.buf)
	a.buf = a.buf[:0]
	return err
}

// Sync brings all of it to the disk and returns its size.
func (a *AppendFile) Sync() (int64, error) {
	if err := a.flush(); err != nil || a.pipe {
		return a.part.Size(), err
	}
	if err := a.part.Sync(); err != nil {
		return 0, err
	}
	a.synced = a.part.Size()
	return a.synced, nil
}

// Close brings all of it to the disk and closes it.
func (a *AppendFile) Close() error {
	_, err := a.Sync()
	if a.pipe {
		return err
	}
	return errors.Join(err, a.part.Close())
}

// Abandon closes the file as the last Sync left it.
func (a *AppendFile) Abandon() error {
	if a.pipe {
		return nil
	}
	return errors.Join(a.part.f.Truncate(a.synced), a.part.Close())
}
