package onnx

import (
	"errors"
	"fmt"
	"io"
)

// wire reads protobuf's wire format from a file without loading it: what nobody asks for, weights above all, is stepped
// over. It never reads more than a window and never allocates by a length it was told.
type wire struct {
	from   io.ReaderAt
	window [4096]byte
	start  int64 // of the window in the file
	filled int
}

// span is a stretch of the file: a message's fields, or a value's bytes.
type span struct{ at, end int64 }

// field is one field of a message.
type field struct {
	number uint64
	kind   uint64
	value  uint64 // of a varint
	body   span   // of a length-delimited field
}

// The wire types.
const (
	wireVarint = 0
	wireFixed8 = 1
	wireBytes  = 2
	wireFixed4 = 5
)

var errCut = errors.New("the file ends before its contents do: it was cut short or is still being copied")

// next reads the field at s.at and moves s past it. It reports false at the end of the message.
func (w *wire) next(s *span) (field, bool, error) {
	if s.at >= s.end {
		return field{}, false, nil
	}
	start := s.at
	tag, err := w.varint(s)
	if err != nil {
		return field{}, false, err
	}
	f := field{number: tag >> 3, kind: tag & 7}
	if f.number == 0 || f.number > 1<<29-1 {
		return field{}, false, fmt.Errorf("not an ONNX model: byte %d starts no field", start)
	}
	switch f.kind {
	case wireVarint:
		f.value, err = w.varint(s)
	case wireFixed8:
		err = skip(s, 8)
	case wireFixed4:
		err = skip(s, 4)
	case wireBytes:
		var n uint64
		if n, err = w.varint(s); err == nil {
			f.body.at = s.at
			err = skip(s, n)
			f.body.end = s.at
		}
	default:
		err = fmt.Errorf("not an ONNX model: byte %d has wire type %d", start, f.kind)
	}
	return f, err == nil, err
}

func skip(s *span, n uint64) error {
	if n > uint64(s.end-s.at) {
		return errCut
	}
	s.at += int64(n)
	return nil
}

func (w *wire) varint(s *span) (uint64, error) {
	var v uint64
	for shift := 0; shift < 64; shift += 7 {
		if s.at >= s.end {
			return 0, errCut
		}
		b, err := w.byteAt(s.at)
		if err != nil {
			return 0, err
		}
		s.at++
		v |= uint64(b&0x7f) << shift
		if b < 0x80 {
			return v, nil
		}
	}
	return 0, fmt.Errorf("not an ONNX model: the number before byte %d never ends", s.at)
}

func (w *wire) byteAt(at int64) (byte, error) {
	if at < w.start || at >= w.start+int64(w.filled) {
		n, err := w.from.ReadAt(w.window[:], at)
		if n == 0 {
			if err == io.EOF {
				return 0, errCut
			}
			return 0, err
		}
		w.start, w.filled = at, n
	}
	return w.window[at-w.start], nil
}

// text reads the bytes of s, which must not be longer than longest.
func (w *wire) text(s span) (string, error) {
	const longest = 4096
	if s.end-s.at > longest {
		return "", fmt.Errorf("a name of %d bytes is longer than %d", s.end-s.at, longest)
	}
	if s.at >= w.start && s.end <= w.start+int64(w.filled) {
		return string(w.window[s.at-w.start : s.end-w.start]), nil
	}
	b := make([]byte, s.end-s.at)
	if n, err := w.from.ReadAt(b, s.at); n < len(b) {
		if err == io.EOF {
			err = errCut
		}
		return "", err
	}
	return string(b), nil
}
