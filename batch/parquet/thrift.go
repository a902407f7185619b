package parquet

import (
	"encoding/binary"
	"errors"
	"io"
)

// The compact protocol's types, as they are in the headers of fields and lists.
const (
	thriftTrue   = 1
	thriftFalse  = 2
	thriftByte   = 3
	thriftI16    = 4
	thriftI32    = 5
	thriftI64    = 6
	thriftDouble = 7
	thriftBinary = 8
	thriftList   = 9
	thriftSet    = 10
	thriftMap    = 11
	thriftStruct = 12
)

var errThrift = errors.New("its metadata is broken")

// source is what a thrift reader reads from.
type source interface {
	io.Reader
	io.ByteReader
}

// thrift reads the compact protocol. After an error, which it keeps, it gives zeros, so that callers look once. What it keeps
// in memory is never more than it has read.
type thrift struct {
	r     source
	left  int64 // bytes that may be read
	depth int
	err   error
}

func (t *thrift) fail(err error) {
	if t.err == nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		t.err = err
	}
}

func (t *thrift) byte() byte {
	if t.err != nil {
		return 0
	}
	if t.left--; t.left < 0 {
		t.fail(errThrift)
		return 0
	}
	b, err := t.r.ReadByte()
	if err != nil {
		t.fail(err)
	}
	return b
}

func (t *thrift) uvarint() uint64 {
	v := uint64(0)
	for shift := 0; shift < 64; shift += 7 {
		b := t.byte()
		v |= uint64(b&0x7f) << shift
		if b < 0x80 {
			return v
		}
	}
	t.fail(errThrift)
	return 0
}

func (t *thrift) int() int64 {
	u := t.uvarint()
	return int64(u>>1) ^ -int64(u&1)
}

// size reads a length of something that takes at least a byte each.
func (t *thrift) size() int {
	n := t.uvarint()
	if n > uint64(max(0, t.left)) {
		t.fail(errThrift)
		return 0
	}
	return int(n)
}

func (t *thrift) string() string {
	n := t.size()
	if t.err != nil {
		return ""
	}
	t.left -= int64(n)
	b := make([]byte, n)
	if _, err := io.ReadFull(t.r, b); err != nil {
		t.fail(err)
		return ""
	}
	return string(b)
}

// fields calls do for each field of a struct. do reads the field's value and returns true, or false to have it skipped. A
// bool's value is in its type.
func (t *thrift) fields(do func(id int16, kind byte) bool) {
	if t.depth++; t.depth > 64 {
		t.fail(errThrift)
	}
	defer func() { t.depth-- }()
	for id := int16(0); t.err == nil; {
		b := t.byte()
		if b == 0 || t.err != nil {
			return
		}
		if b>>4 != 0 {
			id += int16(b >> 4)
		} else {
			id = int16(t.int())
		}
		if !do(id, b&15) {
			t.skip(b & 15)
		}
	}
}

// list reads a list's head. Its elements take at least a byte each.
func (t *thrift) list() (n int, kind byte) {
	b := t.byte()
	n = int(b >> 4)
	if n == 15 {
		n = t.size()
	}
	if int64(n) > t.left {
		t.fail(errThrift)
		return 0, 0
	}
	return n, b & 15
}

// skip leaves a value out. A bool in a list takes a byte; a field's none.
func (t *thrift) skip(kind byte) {
	switch kind {
	case thriftTrue, thriftFalse:
	case thriftByte:
		t.byte()
	case thriftI16, thriftI32, thriftI64:
		t.uvarint()
	case thriftDouble:
		for range 8 {
			t.byte()
		}
	case thriftBinary:
		for range t.size() {
			if t.byte(); t.err != nil {
				return
			}
		}
	case thriftList, thriftSet:
		n, kind := t.list()
		t.repeat(n, kind)
	case thriftMap:
		n := t.size()
		if n == 0 {
			return
		}
		kinds := t.byte()
		for range n {
			if t.repeat(1, kinds>>4); t.err != nil {
				return
			}
			t.repeat(1, kinds&15)
		}
	case thriftStruct:
		t.fields(func(int16, byte) bool { return false })
	default:
		t.fail(errThrift)
	}
}

func (t *thrift) repeat(n int, kind byte) {
	if t.depth++; t.depth > 64 {
		t.fail(errThrift)
	}
	defer func() { t.depth-- }()
	for range n {
		if t.err != nil {
			return
		}
		if kind == thriftTrue || kind == thriftFalse {
			t.byte()
		} else {
			t.skip(kind)
		}
	}
}

// encoder writes the compact protocol.
type encoder struct {
	b    []byte
	last []int16 // ids of the last fields, of the structs that are open
}

func (e *encoder) begin() { e.last = append(e.last, 0) }

func (e *encoder) end() {
	e.b = append(e.b, 0)
	e.last = e.last[:len(e.last)-1]
}

func (e *encoder) field(id int16, kind byte) {
	last := &e.last[len(e.last)-1]
	if d := id - *last; d > 0 && d < 16 {
		e.b = append(e.b, byte(d)<<4|kind)
	} else {
		e.b = append(e.b, kind)
		e.zigzag(int64(id))
	}
	*last = id
}

func (e *encoder) zigzag(v int64) { e.b = binary.AppendUvarint(e.b, uint64(v<<1)^uint64(v>>63)) }

func (e *encoder) i32(id int16, v int32) {
	e.field(id, thriftI32)
	e.zigzag(int64(v))
}

func (e *encoder) i64(id int16, v int64) {
	e.field(id, thriftI64)
	e.zigzag(v)
}

func (e *encoder) text(s string) {
	e.b = append(binary.AppendUvarint(e.b, uint64(len(s))), s...)
}

func (e *encoder) string(id int16, s string) {
	e.field(id, thriftBinary)
	e.text(s)
}

func (e *encoder) list(id int16, kind byte, n int) {
	e.field(id, thriftList)
	if n < 15 {
		e.b = append(e.b, byte(n)<<4|kind)
		return
	}
	e.b = append(e.b, 0xf0|kind)
	e.b = binary.AppendUvarint(e.b, uint64(n))
}

// structure opens a field that is a struct.
func (e *encoder) structure(id int16) {
	e.field(id, thriftStruct)
	e.begin()
}
