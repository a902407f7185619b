package load

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"serval"
)

const inferMethod = "/inference.GRPCInferenceService/ModelInfer"

// dialGRPC makes the connections that the callers share. Each is opened by its first call.
func dialGRPC(o *Options) ([]*grpc.ClientConn, error) {
	var list []*grpc.ClientConn
	for range o.Connections {
		conn, err := grpc.NewClient("passthrough:///"+o.Addr,
			grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) {
				var d net.Dialer
				return d.DialContext(ctx, "tcp", addr)
			}),
			grpc.WithDisableServiceConfig(),
			grpc.WithDefaultCallOptions(grpc.ForceCodecV2(rawCodec{}), grpc.MaxCallRecvMsgSize(1<<31-1), grpc.MaxCallSendMsgSize(1<<31-1)))
		if err != nil {
			closeConns(list)
			return nil, serval.Errorf(serval.InvalidArgument, "addr: %v", err).At("addr")
		}
		list = append(list, conn)
	}
	return list, nil
}

func closeConns(list []*grpc.ClientConn) {
	for _, conn := range list {
		_ = conn.Close() // it says only that it was closed before
	}
}

// grpcCaller sends prebuilt messages in turns over a shared connection.
type grpcCaller struct {
	o        *Options
	conn     *grpc.ClientConn
	requests []mem.BufferSlice
	next     int
	reply    rawReply
	base     metadata.MD
}

func newGRPCCaller(o *Options, conn *grpc.ClientConn, first int) *grpcCaller {
	c := &grpcCaller{o: o, conn: conn}
	for _, p := range o.payloads() {
		c.requests = append(c.requests, mem.BufferSlice{mem.SliceBuffer(p.Bytes)})
	}
	c.next = first % len(c.requests)
	if len(o.Headers) > 0 {
		c.base = metadata.New(o.Headers)
	}
	return c
}

func (c *grpcCaller) call(ctx context.Context) outcome {
	request := c.requests[c.next]
	c.next = (c.next + 1) % len(c.requests)
	out := outcome{sent: request.Len()}
	ctx, cancel := context.WithTimeout(ctx, c.o.Timeout)
	defer cancel()
	if c.base != nil {
		ctx = metadata.NewOutgoingContext(ctx, c.base)
	}
	c.reply = rawReply{start: c.reply.start[:0], keep: len(c.o.Expect)}
	err := c.conn.Invoke(ctx, inferMethod, request, &c.reply)
	out.received = c.reply.size
	switch {
	case err != nil:
		s := status.Convert(err)
		out.failure, out.detail = "gRPC "+s.Code().String(), s.Message()
		out.pause = s.Code() == codes.Unavailable
	case !bytes.HasPrefix(c.reply.start, c.o.Expect):
		out.failure, out.detail = "unexpected body", fmt.Sprintf("%q", c.reply.start)
	}
	return out
}

// abort has nothing to do: the run's context ends the call.
func (c *grpcCaller) abort() {}

func (c *grpcCaller) close() {}

// rawReply is what a call's response is skimmed into.
type rawReply struct {
	size  int
	keep  int
	start []byte
}

// rawCodec passes a request's bytes through and skims responses.
type rawCodec struct{}

// Name is that of the codec whose bytes these are: it goes into the content type.
func (rawCodec) Name() string { return "proto" }

// Marshal hands out the prebuilt message, which the transport does not keep or change.
func (rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	if request, ok := v.(mem.BufferSlice); ok {
		return request, nil
	}
	return nil, fmt.Errorf("the raw codec cannot send a %T", v)
}

// Unmarshal notes the size of a response and the start of it.
func (rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	reply, ok := v.(*rawReply)
	if !ok {
		return fmt.Errorf("the raw codec cannot read into a %T", v)
	}
	reply.size = data.Len()
	if reply.keep == 0 {
		return nil
	}
	r := data.Reader()
	defer r.Close()
	start, err := io.ReadAll(io.LimitReader(r, int64(reply.keep)))
	reply.start = append(reply.start, start...)
	return err
}
