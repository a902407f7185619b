package oip

import (
	"errors"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
)

// errWire is what any breach of protobuf's wire format comes to; gRPC answers it as Internal, as generated code would.
var errWire = errors.New("the message is not valid protobuf")

// field is one field of a message. Its data is a part of the message.
type field struct {
	num  protowire.Number
	typ  protowire.Type
	n    uint64 // of a varint or a fixed number
	data []byte // of a length-delimited field
}

// nextField splits the first field off a message.
func nextField(b []byte) (f field, rest []byte, err error) {
	num, typ, n := protowire.ConsumeTag(b)
	if n < 0 || num > protowire.MaxValidNumber {
		return f, nil, errWire
	}
	f.num, f.typ = num, typ
	b = b[n:]
	switch typ {
	case protowire.VarintType:
		f.n, n = protowire.ConsumeVarint(b)
	case protowire.BytesType:
		f.data, n = protowire.ConsumeBytes(b)
	case protowire.Fixed32Type:
		var v uint32
		v, n = protowire.ConsumeFixed32(b)
		f.n = uint64(v)
	case protowire.Fixed64Type:
		f.n, n = protowire.ConsumeFixed64(b)
	default: // a group, which none of our messages has, or the end of one that never began
		n = protowire.ConsumeFieldValue(num, typ, b)
	}
	if n < 0 {
		return f, nil, errWire
	}
	return f, b[n:], nil
}

// wireReader walks the fields of a message that arrived in several buffers, without laying them together: gRPC hands over
// what each HTTP/2 frame brought, 16 KiB or less.
type wireReader struct {
	cur     []byte // what is left of the buffer being read
	rest    mem.BufferSlice
	left    int    // bytes left in all, cur included
	scratch []byte // a field that lies across buffers; good until the next such field
}

// reset starts on a message. The buffers must not be freed before the reader was reset again.
func (r *wireReader) reset(data mem.BufferSlice) {
	r.cur, r.rest, r.left = nil, data, data.Len()
	r.fill()
}

// fill moves on to the next buffer that is not empty.
func (r *wireReader) fill() {
	for len(r.cur) == 0 && len(r.rest) > 0 {
		r.cur, r.rest = r.rest[0].ReadOnlyData(), r.rest[1:]
	}
}

func (r *wireReader) advance(n int) {
	r.cur = r.cur[n:]
	r.left -= n
	if len(r.cur) == 0 {
		r.fill()
	}
}

// varint reads a varint, across buffers if need be.
func (r *wireReader) varint() (uint64, error) {
	if v, n := protowire.ConsumeVarint(r.cur); n > 0 {
		r.advance(n)
		return v, nil
	}
	var gathered [10]byte
	for i := range gathered {
		if r.left == 0 {
			return 0, errWire
		}
		gathered[i] = r.cur[0]
		r.advance(1)
		if gathered[i] < 0x80 {
			v, n := protowire.ConsumeVarint(gathered[:i+1])
			if n < 0 {
				return 0, errWire
			}
			return v, nil
		}
	}
	return 0, errWire
}

// tag reads a field's number and type.
func (r *wireReader) tag() (protowire.Number, protowire.Type, error) {
	v, err := r.varint()
	if err != nil {
		return 0, 0, err
	}
	num, typ := protowire.DecodeTag(v)
	if num < protowire.MinValidNumber || num > protowire.MaxValidNumber {
		return 0, 0, errWire
	}
	return num, typ, nil
}

// length reads the length of a length-delimited field and makes sure that so much is there.
func (r *wireReader) length() (int, error) {
	n, err := r.varint()
	if err != nil || n > uint64(r.left) {
		return 0, errWire
	}
	return int(n), nil
}

// bytes reads a length-delimited field: a part of the message where it lies in one buffer, else a copy in scratch.
func (r *wireReader) bytes() ([]byte, error) {
	n, err := r.length()
	if err != nil {
		return nil, err
	}
	if n <= len(r.cur) {
		b := r.cur[:n]
		r.advance(n)
		return b, nil
	}
	r.scratch = r.appendTo(r.scratch[:0], n)
	return r.scratch, nil
}

// appendTo moves the next n bytes to dst; they must be there.
func (r *wireReader) appendTo(dst []byte, n int) []byte {
	for n > 0 {
		part := min(n, len(r.cur))
		dst = append(dst, r.cur[:part]...)
		r.advance(part)
		n -= part
	}
	return dst
}

// skip passes over the value of a field that means nothing here.
func (r *wireReader) skip(num protowire.Number, typ protowire.Type) error {
	switch typ {
	case protowire.VarintType:
		_, err := r.varint()
		return err
	case protowire.Fixed32Type:
		return r.discard(4)
	case protowire.Fixed64Type:
		return r.discard(8)
	case protowire.BytesType:
		n, err := r.length()
		if err != nil {
			return err
		}
		return r.discard(n)
	}
	// A group ends where its fields say so: lay the rest together, once, and let protowire walk it.
	if len(r.rest) > 0 {
		r.cur, r.rest = r.appendTo(make([]byte, 0, r.left), r.left), nil
		r.left = len(r.cur)
	}
	n := protowire.ConsumeFieldValue(num, typ, r.cur)
	if n < 0 {
		return errWire
	}
	r.advance(n)
	return nil
}

func (r *wireReader) discard(n int) error {
	if n > r.left {
		return errWire
	}
	for n > 0 {
		part := min(n, len(r.cur))
		r.advance(part)
		n -= part
	}
	return nil
}
