package child

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"serval"
	"serval/wire/worker"
)

// death is a call's error when its process ended under it.
type death struct{ chunks int } // that were sent on before

func (*death) Error() string { return "the model's process died" }

// lost says whether an error of the connection may mean that the process is gone.
func lost(err error) bool {
	c := status.Code(err)
	return c == codes.Unavailable || c == codes.Canceled
}

const (
	// window is how many chunks of a stream may be on their way to its reader: a sequence pauses before it is far ahead.
	window = 32
	// grace is how long after its deadline an answer is waited for: the process says it better.
	grace = 500 * time.Millisecond
)

// call runs one call in one process. The process may end under it, which is a *death.
func (m *Model) call(ctx context.Context, p *process, req *serval.Request, sink serval.Sink) error {
	began := time.Now()
	msg, err := encodeRequest(req, began)
	if err != nil {
		return err
	}
	if p.streams {
		msg.Window = window
	}
	if n := proto.Size(msg); n > maxMessage-1<<10 {
		return serval.Errorf(serval.TooLarge, "the request has %s; to a model in a process of its own at most 2 GiB pass; say isolation: none", size(int64(n)))
	}
	inner, cancel := context.WithCancel(ctx)
	if !req.Deadline.IsZero() {
		cancel()
		inner, cancel = context.WithDeadline(ctx, req.Deadline.Add(grace))
	}
	defer cancel()
	c := &caller{p: p, sink: sink, req: req}
	err = c.run(inner, msg)
	switch {
	case err == nil, c.final: // it has spoken
		return err
	case ctx.Err() != nil:
		return serval.AsError(ctx.Err())
	case inner.Err() != nil, status.Code(err) == codes.DeadlineExceeded:
		return serval.Errorf(serval.DeadlineExceeded, "%s: the deadline passed after %v", m.what, time.Since(began).Round(time.Millisecond)).Because(context.DeadlineExceeded)
	case lost(err):
		p.gone()
		m.leave(p)
		return &death{c.chunks}
	}
	return fmt.Errorf("%s: its process: %w", m.what, err)
}

// caller is the reading side of one call.
type caller struct {
	p      *process
	sink   serval.Sink
	req    *serval.Request
	stream grpc.BidiStreamingClient[worker.Ask, worker.Answer]
	chunks int  // sent on
	owed   int  // of them, those that the process was not told of
	enough bool // the reader needs no more
	final  bool // the error is the call's own, and not the connection's
}

func (c *caller) run(ctx context.Context, msg *worker.Request) (err error) {
	if c.stream, err = c.p.client.Handle(ctx); err != nil {
		return err
	}
	if err := c.tell(&worker.Ask{Kind: &worker.Ask_Request{Request: msg}}); err != nil {
		return err
	}
	if !c.p.streams {
		if err := c.stream.CloseSend(); err != nil {
			return err
		}
	}
	for {
		answer, err := c.stream.Recv()
		switch {
		case errors.Is(err, io.EOF):
			return errors.New("it ended a call without a last word")
		case err != nil:
			return err
		}
		if answer.Chunk != nil && !c.enough {
			if err := c.pass(answer.Chunk, answer.End != nil); err != nil {
				return err
			}
		}
		if end := answer.End; end != nil {
			decodeTiming(end.Timing, &c.req.Timing)
			c.final = true
			_, _ = c.stream.Recv() // its trailer is at hand; without it the stream would be reset, which costs a message
			if c.enough {
				return nil
			}
			return decodeFailure(end.Failure)
		}
	}
}

// tell sends a message. Where the call has ended meanwhile, Recv says how.
func (c *caller) tell(m *worker.Ask) error {
	if err := c.stream.Send(m); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

// pass sends a chunk on.
func (c *caller) pass(m *worker.Chunk, last bool) error {
	chunk, err := decodeChunk(m)
	if err != nil {
		c.final = true
		return err
	}
	c.chunks++
	switch err := c.sink.Send(chunk); {
	case err == nil:
	case errors.Is(err, serval.ErrEnough):
		c.enough = true
		if !c.p.streams || last {
			return nil
		}
		return c.tell(&worker.Ask{Kind: &worker.Ask_Control{Control: &worker.Control{Enough: true}}})
	default:
		c.final = true
		return err
	}
	if c.owed++; c.p.streams && !last && c.owed >= window/2 {
		control := &worker.Control{Credit: int64(c.owed)}
		c.owed = 0
		return c.tell(&worker.Ask{Kind: &worker.Ask_Control{Control: control}})
	}
	return nil
}
