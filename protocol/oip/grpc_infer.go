package oip

import (
	"context"

	"google.golang.org/grpc"

	"serval"
	"serval/protocol"
	"serval/wire/inference"
)

const wireName = "oip-grpc"

// grpcCall is one inference over gRPC, from the message to the answer. It is reused; one goroutine owns it.
type grpcCall struct {
	p       *Protocol
	message inferMessage
	call    call
	id      string // as the client gave it
	reply   *encoded
}

// prepare turns the message into a request.
func (c *grpcCall) prepare(ctx context.Context, credential string) error {
	c.id = c.message.id.s
	if err := c.message.fill(&c.call); err != nil {
		return err
	}
	r := &c.call.req
	r.Protocol = wireName
	r.Credential = credential
	r.Trace = protocol.TraceFromContext(ctx)
	if d, ok := ctx.Deadline(); ok && (r.Deadline.IsZero() || d.Before(r.Deadline)) {
		r.Deadline = d
	}
	return c.p.prepare(&c.call)
}

// response is the answer's frame around outputs.
func (c *grpcCall) response(outputs []result) response {
	m := &c.call.req.Model
	return response{model: m.Name, version: m.Version, id: c.id, results: outputs}
}

// Send takes the answer of a plain call, of which there must be one.
func (c *grpcCall) Send(chunk *serval.Chunk) error {
	if c.reply != nil {
		if chunk.Output == nil {
			return nil
		}
		return serval.Errorf(serval.Unimplemented, "model '%s' answers in several parts: call it by ModelStreamInfer", c.call.req.Model.Name)
	}
	if chunk.Output == nil {
		return nil
	}
	outputs, err := c.p.results(&c.call, chunk.Output)
	if err != nil {
		return err
	}
	r := c.response(outputs)
	c.reply = r.encode()
	return nil
}

// infer runs a plain call.
func (c *grpcCall) infer(ctx context.Context) (*encoded, error) {
	if err := c.prepare(ctx, protocol.CredentialFromContext(ctx)); err != nil {
		return nil, err
	}
	if err := c.p.backend.Handler.Handle(ctx, &c.call.req, c); err != nil {
		c.reply.free()
		return nil, err
	}
	if c.reply == nil {
		return nil, serval.Errorf(serval.Internal, "model '%s' gave no answer", c.call.req.Model.Name)
	}
	return c.reply, nil
}

// modelInfer is the handler of the method ModelInfer. It stands in the place of the generated one, which would decode into
// generated objects.
func (s *service) modelInfer(_ any, ctx context.Context, decode func(any) error, intercept grpc.UnaryServerInterceptor) (any, error) {
	c := s.take()
	defer s.put(c)
	if err := decode(&c.message); err != nil {
		return nil, err
	}
	if intercept == nil {
		return c.answer(ctx)
	}
	info := &grpc.UnaryServerInfo{Server: s, FullMethod: inference.GRPCInferenceService_ModelInfer_FullMethodName}
	return intercept(ctx, &c.message, info, func(ctx context.Context, _ any) (any, error) { return c.answer(ctx) })
}

// answer is infer with gRPC's kind of error.
func (c *grpcCall) answer(ctx context.Context) (any, error) {
	reply, err := c.infer(ctx)
	if err != nil {
		return nil, grpcError(ctx, err)
	}
	return reply, nil
}

// grpcError turns an error of this program into a status, and sets the trailer that goes with it.
func grpcError(ctx context.Context, err error) error {
	e := serval.AsError(err)
	if trailer := protocol.RetryTrailer(e); trailer != nil {
		grpc.SetTrailer(ctx, trailer) // fails only where the call is over
	}
	return protocol.Status(e).Err()
}
