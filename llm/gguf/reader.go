package gguf

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
)

// Bounds on what a header may ask for. The largest vocabularies in use (262k tokens, 500k merges) need about 20 MB.
const (
	maxHeader  = 256 << 20 // bytes of header, metadata and tensor directory in one file
	maxKey     = 1<<16 - 1 // bytes of a key, by the format's description
	maxName    = 64        // bytes of a tensor's name, by the format's description
	maxDims    = 4         // ggml's
	maxTensors = 1 << 20   // in all files of a model
)

// reader is one buffered pass over a header. The first error stays, and names the byte at which the thing began that could
// not be read; what is read after it is zero.
type reader struct {
	in    *bufio.Reader
	at    int64 // of the next byte
	limit int64 // of the header: the file's size, or maxHeader
	size  int64 // of the file
	err   error
	word  [8]byte
}

func newReader(from io.Reader, size int64) *reader {
	return &reader{in: bufio.NewReaderSize(from, 1<<18), size: size, limit: min(size, maxHeader)}
}

// fail keeps the first error.
func (r *reader) fail(at int64, format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("at byte %d: %w", at, fmt.Errorf(format, args...))
	}
}

// has tells whether n more bytes of header can be there, and fails with what they are for if not.
func (r *reader) has(n int64, what string) bool {
	if r.err != nil {
		return false
	}
	if n >= 0 && n <= r.limit-r.at {
		return true
	}
	if r.limit < r.size {
		r.fail(r.at, "%s needs %d bytes, which takes the header over %d MiB", what, n, maxHeader>>20)
	} else {
		r.fail(r.at, "%s needs %d bytes, but the file ends at byte %d: it is cut short or damaged", what, n, r.size)
	}
	return false
}

// fill reads len(b) bytes.
func (r *reader) fill(b []byte, what string) bool {
	if !r.has(int64(len(b)), what) {
		return false
	}
	if _, err := io.ReadFull(r.in, b); err != nil {
		r.fail(r.at, "%s: %w", what, err)
		return false
	}
	r.at += int64(len(b))
	return true
}

func (r *reader) uint32(what string) uint32 {
	if !r.fill(r.word[:4], what) {
		return 0
	}
	return binary.LittleEndian.Uint32(r.word[:4])
}

func (r *reader) uint64(what string) uint64 {
	if b, err := r.in.Peek(8); err == nil && r.err == nil && r.limit-r.at >= 8 {
		n := binary.LittleEndian.Uint64(b)
		r.in.Discard(8) // cannot fail: they were peeked at
		r.at += 8
		return n
	}
	if !r.fill(r.word[:8], what) {
		return 0
	}
	return binary.LittleEndian.Uint64(r.word[:8])
}

// count reads how many things follow, each of which takes at least so many bytes of the header.
func (r *reader) count(each int64, what string) int {
	at := r.at
	n := r.uint64(what)
	if r.err != nil {
		return 0
	}
	if left := r.limit - r.at; n > uint64(left) || n > uint64(left/each) {
		r.fail(at, "%s is %d, but only %d bytes of the header are left", what, n, left)
		return 0
	}
	return int(n)
}

// string reads a length and so many bytes, most at most.
func (r *reader) string(most int64, what string) string {
	at := r.at
	n := r.count(1, "the length of "+what)
	if int64(n) > most {
		r.fail(at, "%s has %d bytes, more than the %d allowed", what, n, most)
	}
	if r.err != nil {
		return ""
	}
	b := make([]byte, n)
	r.fill(b, what)
	return string(b)
}

// stringArray reads n strings into one piece of memory.
func (r *reader) stringArray(n int, what string) []string {
	ends := make([]int, 0, n)
	var all []byte
	for range n {
		length := r.count(1, what)
		if r.err != nil {
			return nil
		}
		from := len(all)
		if need := from + length; need > cap(all) {
			grown := make([]byte, from, max(need, 2*cap(all), 8*n))
			copy(grown, all)
			all = grown
		}
		all = all[:from+length]
		if !r.fill(all[from:], what) {
			return nil
		}
		ends = append(ends, len(all))
	}
	text, from := string(all), 0
	out := make([]string, n)
	for i, end := range ends {
		out[i], from = text[from:end], end
	}
	return out
}

// value reads a metadata value of the given kind.
func (r *reader) value(kind Kind, key string) *value {
	v := &value{kind: kind, count: 1}
	if kind == Array {
		at := r.at
		v.kind, v.array = Kind(r.uint32("the kind of "+key)), true
		if v.kind == Array {
			r.fail(at, "%s is an array of arrays, which is not supported", key)
		} else if v.kind >= numKinds {
			r.fail(at, "%s is an array of unknown kind %d", key, uint32(v.kind))
		}
		if r.err != nil {
			return nil
		}
		v.count = r.count(max(kindSizes[v.kind], 1), "the length of "+key)
	} else if kind >= numKinds {
		r.fail(r.at-4, "%s is of unknown kind %d", key, uint32(kind))
	}
	switch {
	case r.err != nil:
		return nil
	case v.kind != String:
		v.raw = make([]byte, int64(v.count)*kindSizes[v.kind])
		at := r.at
		r.fill(v.raw, key)
		for i := 0; v.kind == Bool && i < v.count && r.err == nil; i++ {
			if v.raw[i] > 1 {
				r.fail(at+int64(i), "%s is a bool of value %d; 0 and 1 are allowed", key, v.raw[i])
			}
		}
	case v.array:
		if int64(v.count) > (r.limit-r.at)/8 {
			r.fail(r.at-8, "the length of %s is %d, but only %d bytes of the header are left", key, v.count, r.limit-r.at)
			return nil
		}
		v.strings = r.stringArray(v.count, key)
	default:
		v.strings = []string{r.string(maxHeader, key)}
	}
	return v
}
