package child

import (
	"fmt"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
)

// frame is a message in its wire form already. It must not change any more.
type frame []byte

// codec is protobuf's, which also takes frames. It implements encoding.CodecV2.
type codec struct{}

// Name is what the content type says.
func (codec) Name() string { return "proto" }

// Marshal copies everything, so that what the message points into may change afterwards.
func (codec) Marshal(v any) (mem.BufferSlice, error) {
	switch m := v.(type) {
	case frame:
		return mem.BufferSlice{mem.SliceBuffer(m)}, nil
	case proto.Message:
		n := proto.Size(m)
		if mem.IsBelowBufferPoolingThreshold(n) {
			b, err := proto.MarshalOptions{UseCachedSize: true}.Marshal(m)
			return mem.BufferSlice{mem.SliceBuffer(b)}, err
		}
		pool := mem.DefaultBufferPool()
		b := pool.Get(n)
		if _, err := (proto.MarshalOptions{UseCachedSize: true}).MarshalAppend((*b)[:0], m); err != nil {
			pool.Put(b)
			return nil, err
		}
		return mem.BufferSlice{mem.NewBuffer(b, pool)}, nil
	}
	return nil, fmt.Errorf("%T is no message", v)
}

// Unmarshal copies, too.
func (codec) Unmarshal(data mem.BufferSlice, v any) error {
	m, ok := v.(proto.Message)
	if !ok {
		return fmt.Errorf("%T is no message", v)
	}
	b := data.MaterializeToBuffer(mem.DefaultBufferPool())
	defer b.Free()
	return proto.Unmarshal(b.ReadOnlyData(), m)
}
