package protocol

import (
	"context"
	"strconv"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"serval"
)

// WireReader is a message that reads itself from protobuf's wire format, where a protocol can do better than the generated
// code. The bytes are the caller's: what is kept must be copied.
type WireReader interface {
	ReadWire(mem.BufferSlice) error
}

// WireWriter is a message that writes itself; the caller frees the buffers. It is called once for each message.
type WireWriter interface {
	WriteWire() (mem.BufferSlice, error)
}

// Codec is the gRPC codec of a server whose protocols have WireReaders and WireWriters among their messages; all others go
// through the generated protobuf code. Give it to the server by grpc.ForceServerCodecV2.
func Codec() encoding.CodecV2 { return codec{encoding.GetCodecV2(proto.Name)} }

type codec struct{ generated encoding.CodecV2 }

func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	if w, ok := v.(WireWriter); ok {
		return w.WriteWire()
	}
	return c.generated.Marshal(v)
}

func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	if r, ok := v.(WireReader); ok {
		return r.ReadWire(data)
	}
	if data.Len() > maxOther {
		return status.Errorf(codes.ResourceExhausted, "the message has %d bytes; this method takes at most %d", data.Len(), maxOther)
	}
	return c.generated.Unmarshal(data, v)
}

// maxOther bounds the messages that go through the generated code, which makes an object of every field: tensors do not.
const maxOther = 4 << 20

func (c codec) Name() string { return proto.Name }

// CredentialFromContext reads the caller's key from a gRPC call's metadata: authorization: Bearer, x-api-key; "" if there is
// none. A name that is not there costs a walk over all of the metadata, so there are no more names than clients send.
func CredentialFromContext(ctx context.Context) string {
	return credential(metadata.ValueFromIncomingContext(ctx, "authorization"), func() []string {
		return metadata.ValueFromIncomingContext(ctx, "x-api-key")
	})
}

// CredentialFromMetadata is CredentialFromContext for metadata that stand apart.
func CredentialFromMetadata(md metadata.MD) string {
	return credential(md.Get("authorization"), func() []string { return md.Get("x-api-key") })
}

func credential(authorization []string, apiKey func() []string) string {
	const bearer = "bearer "
	for _, v := range authorization {
		if len(v) > len(bearer) && equalFold(v[:len(bearer)], bearer) {
			return v[len(bearer):]
		}
	}
	for _, v := range apiKey() {
		return v
	}
	return ""
}

// TraceFromContext reads the W3C traceparent of a gRPC call; "" if there is none.
func TraceFromContext(ctx context.Context) string {
	for _, v := range metadata.ValueFromIncomingContext(ctx, "traceparent") {
		return v
	}
	return ""
}

// retryTrailer is the name of HTTP's header, for clients that do not read a status's details.
const retryTrailer = "retry-after"

// RetryTrailer is the trailer that goes with an error's status: when to try again. It is nil where that is not said.
func RetryTrailer(e *serval.Error) metadata.MD {
	if e.RetryAfter <= 0 {
		return nil
	}
	return metadata.Pairs(retryTrailer, strconv.Itoa(RetryAfter(e.RetryAfter)))
}

// Status is an error as gRPC's clients expect it, with google.rpc.RetryInfo where it says when to try again.
func Status(e *serval.Error) *status.Status {
	message := e.Message
	if e.ID != "" && !strings.Contains(message, e.ID) {
		message += " (id " + e.ID + ")"
	}
	st := status.New(statusCode(e.Code), message)
	if e.RetryAfter > 0 {
		if detailed, err := st.WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(e.RetryAfter)}); err == nil {
			return detailed
		}
	}
	return st
}

func statusCode(c serval.Code) codes.Code {
	switch c {
	case serval.InvalidArgument:
		return codes.InvalidArgument
	case serval.Unauthenticated:
		return codes.Unauthenticated
	case serval.PermissionDenied:
		return codes.PermissionDenied
	case serval.NotFound:
		return codes.NotFound
	case serval.Conflict:
		return codes.AlreadyExists
	case serval.TooLarge, serval.ResourceExhausted: // grpc-go itself refuses a message over its limit with this code
		return codes.ResourceExhausted
	case serval.Canceled:
		return codes.Canceled
	case serval.Unimplemented:
		return codes.Unimplemented
	case serval.Unavailable:
		return codes.Unavailable
	case serval.DeadlineExceeded:
		return codes.DeadlineExceeded
	}
	return codes.Internal
}
