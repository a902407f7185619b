package batch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
)

// Window is the part of an object that a Reader of text looks at: it moves on over the object, and grows for long records.
// One goroutine uses it.
type Window struct {
	Buf    []byte // what was read and not skipped
	Offset int64  // of Buf's first byte in the object
	r      io.ReadCloser
	name   string
	mem    []byte // Buf is a part of it
	end    error  // why nothing more comes
}

const windowStep = 256 << 10

// OpenWindow opens an object at an offset.
func OpenWindow(ctx context.Context, o Object, offset int64) (*Window, error) {
	r, err := o.Open(ctx, offset)
	if err != nil {
		return nil, err
	}
	return &Window{r: r, name: o.Name(), Offset: offset}, nil
}

// More reads more behind Buf, which may move; io.EOF says that Buf is all that is left.
func (w *Window) More() error {
	if w.end != nil {
		return w.end
	}
	if room := cap(w.Buf) - len(w.Buf); room < min(len(w.mem), windowStep)/2 || room == 0 {
		if need := min(2*len(w.mem)+16<<10, 2*len(w.Buf)+windowStep); need > len(w.mem) {
			w.mem = make([]byte, need)
		}
		w.Buf = w.mem[:copy(w.mem, w.Buf)]
	}
	for range 100 {
		n, err := w.r.Read(w.Buf[len(w.Buf):cap(w.Buf)])
		w.Buf = w.Buf[:len(w.Buf)+n]
		switch {
		case err == io.EOF:
			w.end = io.EOF
		case err != nil:
			w.end = fmt.Errorf("%s: %w", w.name, err)
		}
		if n > 0 {
			return nil
		} else if w.end != nil {
			return w.end
		}
	}
	return fmt.Errorf("%s: %w", w.name, io.ErrNoProgress)
}

// Skip moves on by n bytes of Buf.
func (w *Window) Skip(n int) {
	w.Buf = w.Buf[n:]
	w.Offset += int64(n)
}

// Ended says whether Buf is all that is left.
func (w *Window) Ended() bool { return errors.Is(w.end, io.EOF) }

// Close closes the object.
func (w *Window) Close() error { return w.r.Close() }

// Line gives the next line without its end, and moves behind it; io.EOF when there is none. Of one longer than most bytes it gives
// the beginning, and cut. The line is good until the next call.
func (w *Window) Line(most int) (line []byte, cut bool, err error) {
	seen := 0
	for {
		if i := bytes.IndexByte(w.Buf[seen:], '\n'); i >= 0 {
			line = w.Buf[:seen+i]
			w.Skip(seen + i + 1)
			break
		}
		if seen = len(w.Buf); seen > most {
			return w.pass(most)
		}
		if err = w.More(); err == io.EOF && len(w.Buf) > 0 {
			line = w.Buf
			w.Skip(len(line))
			break
		} else if err != nil {
			return nil, false, err
		}
	}
	if n := len(line); n > 0 && line[n-1] == '\r' {
		line = line[:n-1]
	}
	if len(line) > most {
		return line[:min(most, lineHead)], true, nil
	}
	return line, false, nil
}

// lineHead is how much is kept of a line that is too long.
const lineHead = 4 << 10

// pass moves behind a line that is too long.
func (w *Window) pass(most int) (head []byte, cut bool, err error) {
	head = bytes.Clone(w.Buf[:min(len(w.Buf), lineHead, most)])
	for {
		if i := bytes.IndexByte(w.Buf, '\n'); i >= 0 {
			w.Skip(i + 1)
			return head, true, nil
		}
		w.Skip(len(w.Buf))
		if err := w.More(); err == io.EOF {
			return head, true, nil
		} else if err != nil {
			return nil, false, err
		}
	}
}
