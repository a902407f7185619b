package oip

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"serval"
	"serval/protocol"
)

// streamCalls is how many requests of one stream are at work at a time; further ones stay in the connection, whose flow
// control then holds the client back.
const streamCalls = 64

// inferStream is one ModelStreamInfer: many requests at work at a time, one answer or a stream of answers to each. Plain
// answers leave in the order of the requests, as Triton's do and clients without ids rely on; the parts of streamed ones
// leave as they come, and those of a sequence in its own order: a sequence that waits for another to end must not hold up
// that one's answers. A request's error is an answer too, and ends nothing, unless the client asked by the metadata
// triton_grpc_error for a status that ends the stream.
type inferStream struct {
	*service
	stream     grpc.ServerStream
	ctx        context.Context // canceled with the error that ends the stream
	cancel     context.CancelCauseFunc
	credential string
	grpcErrors bool

	slots chan struct{}
	order order
	send  sync.Mutex // one message at a time

	mu     sync.Mutex // guards closed and begun, and calls against being added to once closed is set
	closed bool
	// sequences holds the end of each sequence's last call; also guarded by mu.
	sequences map[sequenceOf]chan struct{}
	begun     uint64 // calls
	calls     sync.WaitGroup
}

// modelStreamInfer is the handler of the method ModelStreamInfer.
func (s *service) modelStreamInfer(_ any, stream grpc.ServerStream) error {
	ctx, cancel := context.WithCancelCause(stream.Context())
	defer cancel(nil)
	st := &inferStream{
		service: s, stream: stream, ctx: ctx, cancel: cancel,
		credential: protocol.CredentialFromContext(ctx),
		slots:      make(chan struct{}, streamCalls),
	}
	if v := metadata.ValueFromIncomingContext(ctx, "triton_grpc_error"); len(v) > 0 {
		st.grpcErrors = v[0] == "true"
	}
	err := st.run()
	if err != nil {
		cancel(err)
	}
	st.wait()
	if err = context.Cause(ctx); err == nil {
		return nil
	}
	if _, ok := status.FromError(err); ok {
		return err // gRPC's own
	}
	return grpcError(ctx, err)
}

// run reads requests until the client has sent its last, the stream is broken, or the server stops. Nothing except the
// handler's return ends a wait for the client's next message: so that wait has a goroutine of its own, which gRPC ends then.
// It begins no call after that; see begin.
func (s *inferStream) run() error {
	done := make(chan error, 1)
	go func() { done <- s.read() }()
	var failed <-chan struct{}
	if s.grpcErrors { // else a call's error does not cancel ctx, and read sees whatever does
		failed = s.ctx.Done()
	}
	select {
	case err := <-done:
		return err
	case <-failed:
		return context.Cause(s.ctx)
	case <-s.p.backend.Stopping:
		return s.drain(done)
	}
}

// quietPeriod is how long a stream of a stopping server must be without a call before it is ended: the client, told so by
// GOAWAY, has its next request go elsewhere, but may have sent one before it knew.
const quietPeriod = 300 * time.Millisecond

// drain lets the stream of a stopping server go on until nothing was at work for a while.
func (s *inferStream) drain(done <-chan error) error {
	tick := time.NewTicker(quietPeriod / 3)
	defer tick.Stop()
	last, seen := time.Now(), uint64(0)
	for {
		select {
		case err := <-done:
			return err
		case <-s.ctx.Done():
			return context.Cause(s.ctx)
		case now := <-tick.C:
			s.mu.Lock()
			begun := s.begun
			s.mu.Unlock()
			if atWork := len(s.slots) > 1; atWork || begun != seen { // one is read's, which waits
				last, seen = now, begun
			} else if now.Sub(last) >= quietPeriod {
				return serval.Errorf(serval.Unavailable, "the server is stopping; open the stream anew")
			}
		}
	}
}

// wait ends the stream for new calls and waits for those at work.
func (s *inferStream) wait() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.calls.Wait()
}

func (s *inferStream) read() error {
	for {
		select {
		case s.slots <- struct{}{}:
		case <-s.ctx.Done():
			return context.Cause(s.ctx)
		}
		c := s.take()
		if err := s.stream.RecvMsg(&c.message); err != nil {
			s.put(c)
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		if !s.begin(c) {
			return nil
		}
	}
}

// begin starts the call's goroutine; it reports false once the stream has ended.
func (s *inferStream) begin(c *grpcCall) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.begun++
	call := &streamCall{grpcCall: c, stream: s, turn: s.order.enter(), done: make(chan struct{})}
	if call.bad = c.prepare(s.ctx, s.credential); call.bad == nil {
		if req := &c.call.req; req.Sequence.ID != "" {
			call.after = s.follow(sequenceOf{req.Model.Name, req.Sequence.ID}, call.done)
			call.free = true
			s.order.leave(call.turn)
		}
	}
	s.calls.Go(func() {
		call.run()
		close(call.done)
		s.order.leave(call.turn)
		s.put(c)
		<-s.slots
	})
	return true
}

// sequenceOf is a sequence of a model.
type sequenceOf struct{ model, id string }

// follow says what a call of a sequence must wait for: the one before it.
func (s *inferStream) follow(sequence sequenceOf, done chan struct{}) (before chan struct{}) {
	if s.sequences == nil {
		s.sequences = map[sequenceOf]chan struct{}{}
	}
	before = s.sequences[sequence]
	s.sequences[sequence] = done
	if len(s.sequences) > maxFollowed {
		for id, done := range s.sequences { // those that ended need no successor to wait
			select {
			case <-done:
				delete(s.sequences, id)
			default:
			}
		}
	}
	return before
}

// maxFollowed is how many sequences a stream may have before it looks which of them have ended; more than calls at work.
const maxFollowed = 4 * streamCalls

// streamCall is one request of a stream.
type streamCall struct {
	*grpcCall
	bad    error         // why it could not be read
	after  chan struct{} // closed when the sequence's call before has ended; nil: none
	done   chan struct{} // closed when this one has
	stream *inferStream
	turn   *turn
	free   bool // the answer leaves as it comes: it has more than one part, or belongs to a sequence
	ended  bool // its last part was sent
}

func (c *streamCall) run() {
	s := c.stream
	if c.after != nil {
		<-c.after // it ends with the stream, too
	}
	err := c.bad
	if err == nil {
		err = s.p.backend.Handler.Handle(s.ctx, &c.call.req, c)
	}
	if err == nil && !c.ended {
		err = c.Send(&serval.Chunk{Finish: serval.Stop})
	}
	if err == nil {
		return
	}
	if s.grpcErrors {
		s.cancel(err)
		return
	}
	if c.awaitTurn() == nil {
		r := response{model: c.message.model.s, version: c.message.version.s, id: c.id, final: finalYes}
		c.write(r.encodeStream(serval.AsError(err).Message))
	}
}

// Send takes a part of the answer. It waits while the client takes no more, and, for an answer of one part, for the answers
// to earlier requests.
func (c *streamCall) Send(chunk *serval.Chunk) error {
	last := chunk.Finish != serval.More
	if last {
		c.ended = true
	} else if !c.free {
		c.free = true
		c.stream.order.leave(c.turn)
	}
	if chunk.Output == nil && !(last && c.call.emptyFinal) {
		return nil
	}
	outputs, err := c.stream.p.results(&c.call, chunk.Output)
	if err != nil {
		return err
	}
	r := c.response(outputs)
	r.final = finalNo
	if last {
		r.final = finalYes
	}
	message := r.encodeStream("")
	if !c.free {
		if err := c.awaitTurn(); err != nil {
			message.free()
			return err
		}
	}
	return c.write(message)
}

func (c *streamCall) awaitTurn() error {
	if c.free {
		return nil
	}
	select {
	case <-c.turn.ready:
		return nil
	case <-c.stream.ctx.Done():
		return context.Cause(c.stream.ctx)
	}
}

// write sends a message; an error ends the stream.
func (c *streamCall) write(message *encoded) error {
	s := c.stream
	s.send.Lock()
	defer s.send.Unlock()
	if s.ctx.Err() != nil {
		message.free()
		return context.Cause(s.ctx)
	}
	err := s.stream.SendMsg(message)
	if err != nil {
		s.cancel(err)
	}
	return err
}

// order lets answers leave in the order of their requests.
type order struct {
	mu    sync.Mutex
	queue []*turn // the first is ready
}

// turn is a request's place; ready is closed when no earlier one is left.
type turn struct {
	ready chan struct{}
	gone  bool
}

// enter takes the last place.
func (o *order) enter() *turn {
	t := &turn{ready: make(chan struct{})}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.queue = append(o.queue, t)
	if len(o.queue) == 1 {
		close(t.ready)
	}
	return t
}

// leave gives a place up; a second time it does nothing.
func (o *order) leave(t *turn) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if t.gone {
		return
	}
	t.gone = true
	if o.queue[0] != t {
		return
	}
	for len(o.queue) > 0 && o.queue[0].gone {
		o.queue[0] = nil
		o.queue = o.queue[1:]
	}
	if len(o.queue) > 0 {
		close(o.queue[0].ready)
	}
}
