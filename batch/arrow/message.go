package arrow

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"

	"serval"
	"serval/batch"
)

var errBroken = errors.New("its metadata is broken")

const (
	magic       = "ARROW1"
	maxMetadata = 64 << 20
	maxBuffer   = 256 << 20 // a packed buffer, unpacked
	maxBody     = 1 << 30   // a record batch that can only be read whole
	maxMemory   = 1 << 30

	headSchema = 1
	headDict   = 2
	headBatch  = 3
)

// message is one, with its body where it lies.
type message struct {
	flat flat
	kind int
	head table
	body source
}

// source is a body: in memory, or in a place that can be read anywhere.
type source struct {
	mem  []byte
	at   io.ReaderAt
	off  int64
	size int64
}

// read gives n bytes from off on; buf is room for them.
func (s *source) read(off, n int64, buf *[]byte) ([]byte, error) {
	if off < 0 || n < 0 || off > s.size || n > s.size-off {
		return nil, fmt.Errorf("a buffer at %d of %d bytes in a body of %d", off, n, s.size)
	}
	if s.at == nil {
		return s.mem[off : off+n], nil
	}
	if int64(cap(*buf)) < n {
		*buf = make([]byte, n, n+n/8)
	}
	*buf = (*buf)[:n]
	if _, err := s.at.ReadAt(*buf, s.off+off); err != nil && (err != io.EOF || n > 0) {
		return nil, err
	}
	return *buf, nil
}

// messages reads one message after the other: where the object can be read anywhere, without the bodies.
type messages struct {
	o      batch.Object
	at     io.ReaderAt   // nil: in order
	stream io.ReadCloser // of r
	r      *bufio.Reader
	offset int64
	body   []byte
	ended  bool
}

// broken is a file that is not as it must be.
func broken(name, format string, args ...any) *serval.Error {
	return serval.Errorf(serval.InvalidArgument, "%s: no usable Arrow file: %s", name, fmt.Sprintf(format, args...)).At("input")
}

func openMessages(ctx context.Context, o batch.Object) (*messages, error) {
	m := &messages{o: o, at: o.At()}
	if o.Size() < 0 {
		m.at = nil
	}
	if m.at == nil {
		var err error
		if m.stream, err = o.Open(ctx, 0); err != nil {
			return nil, err
		}
		m.r = bufio.NewReaderSize(m.stream, 256<<10)
	}
	head, err := m.peek(8)
	if err == nil && string(head[:6]) == magic {
		_, err = m.take(8)
	}
	if err == io.EOF {
		err = broken(o.Name(), "it is empty, or cut off")
	}
	if err != nil {
		return nil, errors.Join(err, m.close())
	}
	return m, nil
}

func (m *messages) close() error {
	if m.stream != nil {
		return m.stream.Close()
	}
	return nil
}

func (m *messages) peek(n int) ([]byte, error) {
	if m.at == nil {
		return m.r.Peek(n)
	}
	if m.o.Size()-m.offset < int64(n) {
		return nil, io.EOF
	}
	b := make([]byte, n)
	_, err := m.at.ReadAt(b, m.offset)
	if err == io.EOF {
		err = nil
	}
	return b, err
}

func (m *messages) take(n int) (b []byte, err error) {
	if m.at != nil {
		b, err = m.peek(n)
	} else {
		b = make([]byte, n)
		_, err = io.ReadFull(m.r, b)
	}
	m.offset += int64(n)
	return b, err
}

// next reads a message; io.EOF at the end.
func (m *messages) next(ctx context.Context, skip func(*message) bool) (*message, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if m.ended {
		return nil, io.EOF
	}
	head, err := m.take(4)
	if err != nil {
		if err == io.EOF { // a stream may end without its mark
			return nil, io.EOF
		}
		return nil, err
	}
	size := binary.LittleEndian.Uint32(head)
	if size == 0xffffffff {
		if head, err = m.take(4); err != nil {
			return nil, io.ErrUnexpectedEOF
		}
		size = binary.LittleEndian.Uint32(head)
	}
	if size == 0 {
		m.ended = true
		return nil, io.EOF
	}
	if size > maxMetadata {
		return nil, fmt.Errorf("a message of %d bytes of metadata; there may be %d", size, maxMetadata)
	}
	raw, err := m.metadata(int(size))
	if err != nil {
		return nil, err
	}
	out := &message{flat: flat{b: raw}}
	root := out.flat.root()
	out.kind, out.head = int(root.int(1, 1, 0)), root.table(2)
	body := root.int(3, 8, 0)
	if out.flat.bad || out.head.pos == 0 || body < 0 {
		return nil, errBroken
	}
	out.body.size = body
	if m.at != nil {
		if body > m.o.Size()-m.offset {
			return nil, io.ErrUnexpectedEOF
		}
		out.body.at, out.body.off = m.at, m.offset
		m.offset += body
		return out, nil
	}
	m.offset += body
	if skip(out) {
		_, err := io.CopyN(io.Discard, m.r, body)
		return out, err
	}
	if body > maxBody {
		return nil, fmt.Errorf("a record batch of %d bytes cannot be read from a stream; save it as a file first, or write smaller batches", body)
	}
	if m.body, err = readGrowing(m.r, m.body[:0], body); err != nil {
		return nil, err
	}
	out.body.mem = m.body
	return out, nil
}

// metadata reads that much, and takes no more memory than there is to read.
func (m *messages) metadata(n int) ([]byte, error) {
	if m.at != nil {
		return m.take(n)
	}
	m.offset += int64(n)
	return readGrowing(m.r, nil, int64(n))
}

// readGrowing reads n bytes into room that grows with them.
func readGrowing(r io.Reader, buf []byte, n int64) ([]byte, error) {
	for int64(len(buf)) < n {
		at := len(buf)
		step := int(min(n-int64(at), int64(max(1<<20, at))))
		if cap(buf)-at < step {
			buf = append(buf, make([]byte, step)...)
		}
		buf = buf[:at+step]
		if _, err := io.ReadFull(r, buf[at:]); err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
	}
	return buf, nil
}

// records is a record batch, or a dictionary's, that is being read.
type records struct {
	rows    int64
	nodes   []node
	buffers []buffer
	codec   int // -1: none
	views   []int64
	body    source
}

type node struct{ rows, nulls int64 }
type buffer struct{ off, size int64 }

func readRecords(t table, body source) (*records, error) {
	r := &records{rows: t.int(0, 8, 0), codec: -1, body: body}
	pos, n := t.vector(1, 16)
	for i := range n {
		r.nodes = append(r.nodes, node{t.f.i64(pos + 16*i), t.f.i64(pos + 16*i + 8)})
	}
	pos, n = t.vector(2, 16)
	for i := range n {
		r.buffers = append(r.buffers, buffer{t.f.i64(pos + 16*i), t.f.i64(pos + 16*i + 8)})
	}
	if c := t.table(3); c.pos != 0 {
		if r.codec = int(c.int(0, 1, 0)); r.codec != 0 && r.codec != 1 || c.int(1, 1, 0) != 0 {
			return nil, errors.New("it is packed in an unknown way")
		}
	}
	pos, n = t.vector(4, 8)
	for i := range n {
		r.views = append(r.views, t.f.i64(pos+8*i))
	}
	if t.f.bad || r.rows < 0 {
		return nil, errBroken
	}
	return r, nil
}

// open makes buffer i readable: as it lies, or unpacked. A buffer that is not there is empty.
func (r *records) open(i int, u *unpacker, into *[]byte) (source, error) {
	if i >= len(r.buffers) {
		return source{}, fmt.Errorf("it has %d buffers, where %d are needed", len(r.buffers), i+1)
	}
	b := r.buffers[i]
	if b.off < 0 || b.size < 0 || b.off > r.body.size || b.size > r.body.size-b.off {
		return source{}, fmt.Errorf("a buffer at %d of %d bytes in a body of %d", b.off, b.size, r.body.size)
	}
	raw := source{at: r.body.at, off: r.body.off + b.off, size: b.size}
	if r.body.at == nil {
		raw.mem = r.body.mem[b.off : b.off+b.size]
	}
	if r.codec < 0 || b.size == 0 {
		return raw, nil
	}
	if b.size < 8 || b.size > maxBuffer {
		return source{}, fmt.Errorf("a packed buffer of %d bytes; there may be %d", b.size, maxBuffer)
	}
	packed, err := raw.read(0, b.size, &u.packed)
	if err != nil {
		return source{}, err
	}
	size := int64(binary.LittleEndian.Uint64(packed))
	if packed = packed[8:]; size == -1 {
		*into = append((*into)[:0], packed...)
		return source{mem: *into, size: int64(len(packed))}, nil
	}
	if size < 0 || size > maxBuffer || r.codec == 0 && size > 260*int64(len(packed)+16) {
		return source{}, fmt.Errorf("a packed buffer that says it is of %d bytes", size)
	}
	if int64(cap(*into)) < size {
		if u.taken += size - int64(cap(*into)); u.taken > maxMemory {
			return source{}, fmt.Errorf("its buffers take more than %d MiB of memory; write smaller batches, or read fewer columns", maxMemory>>20)
		}
		*into = make([]byte, size)
	}
	*into = (*into)[:size]
	if err := u.unpack(*into, packed, r.codec); err != nil {
		return source{}, err
	}
	return source{mem: *into, size: size}, nil
}

// unpacker unpacks buffers.
type unpacker struct {
	packed []byte
	lz4    *lz4.Reader
	zstd   *zstd.Decoder
	taken  int64
}

func (u *unpacker) unpack(dst, src []byte, codec int) error {
	if codec == 0 {
		if u.lz4 == nil {
			u.lz4 = lz4.NewReader(nil)
		}
		u.lz4.Reset(bytes.NewReader(src))
		if _, err := io.ReadFull(u.lz4, dst); err != nil {
			return err
		}
		if n, err := u.lz4.Read(make([]byte, 1)); n > 0 || err != io.EOF {
			return errors.New("a buffer whose packed size is wrong")
		}
		return nil
	}
	if u.zstd == nil {
		var err error
		if u.zstd, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxBuffer), zstd.WithDecodeAllCapLimit(true)); err != nil {
			return err
		}
	}
	out, err := u.zstd.DecodeAll(src, dst[:0:len(dst)])
	if err == nil && len(out) != len(dst) {
		err = errors.New("a buffer whose packed size is wrong")
	}
	return err
}
