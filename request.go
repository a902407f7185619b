package serval

import (
	"context"
	"time"
)

// Request is one call, from whichever door it came. The caller owns it and everything that its Input points to, and must
// keep both unchanged until Handle returns; nobody keeps a part of it longer.
type Request struct {
	ID     string // as the client gave it, else made by the gateway
	Tenant string // filled by the gateway
	// Credential is the caller's key as the wire brought it; the gateway turns it into Tenant and clears it.
	Credential string
	Part       bool   // one of several that a client's request was made into, which took from the key's rate once
	Protocol   string // the wire it came by: "oip-rest", "oip-grpc", …; for logs and metrics
	Model      Ref    // as asked for; Version is filled in once it is resolved
	Asked      Ref    // as the client named it; route keeps it to look the model up again
	Target     Handler
	Input      Input
	Deadline   time.Time // zero: none
	// Timeout is how long the client lets a model take, from Timing.Start on; a model's settings may say that it is
	// ignored. 0: not said.
	Timeout time.Duration
	// Priority follows Triton: 1 is the most urgent, larger is less urgent, 0 is the model's default.
	Priority int8
	Sequence Sequence
	Timing   Timing // filled by schedule and gateway, for logs, metrics and traces
	Usage    Usage  // of the answer so far, filled by gateway
	Finish   Finish // of the answer, or of its choice that ended last, filled by gateway
	// Trace is the caller's W3C traceparent as the wire brought it; "" if there is none. Only telemetry reads it.
	Trace string
}

// Background is the Priority of what runs only while nothing else waits: batch jobs.
const Background int8 = 127

// LongAnswer is the Timeout of a text in the Background: of its time it stands still while others are answered.
const LongAnswer = time.Hour

// Input is what a model is given: *Tensors, or one of those in prompt.go.
type Input interface{ isInput() }

// Output is what a model gives back: *Tensors, or one of those in prompt.go.
type Output interface{ isOutput() }

// Tensors is a set of named tensors, as an Input and as an Output.
type Tensors struct {
	List []Tensor
	// Want names the outputs asked for, in the order of the answer; empty means all. Only for an Input.
	Want []string
}

func (*Tensors) isInput()  {}
func (*Tensors) isOutput() {}

// Find returns the tensor of that name, or nil.
func (t *Tensors) Find(name string) *Tensor {
	for i := range t.List {
		if t.List[i].Name == name {
			return &t.List[i]
		}
	}
	return nil
}

// Usage counts what an answer cost, in the units that limits and prices use. A chunk's counts what the chunks before it did
// not: an answer's is their sum.
type Usage struct {
	Rows       int64
	Prompt     int64 // tokens that were read, those from the cache among them
	Cached     int64 // tokens of the prompt that the prefix cache held
	Completion int64 // tokens that were made, reasoning among them
	Reasoning  int64
	Drafted    int64 // tokens that speculation proposed
	Accepted   int64 // and how many of them were right
}

// Add adds another count.
func (u *Usage) Add(v Usage) {
	u.Rows += v.Rows
	u.Prompt += v.Prompt
	u.Cached += v.Cached
	u.Completion += v.Completion
	u.Reasoning += v.Reasoning
	u.Drafted += v.Drafted
	u.Accepted += v.Accepted
}

// Finish says why an answer ended; the empty Finish means that more chunks follow.
type Finish string

// The reasons for the end of an answer.
const (
	More   Finish = ""           // not the end
	Stop   Finish = "stop"       // complete
	Length Finish = "length"     // the limit on its tokens cut it
	Called Finish = "tool_calls" // the model waits for what its tools say
)

// Chunk is one piece of an answer: one chunk is a plain answer, many are a stream. It and all that it points to belong to
// the receiver until Send returns; then they are reused.
type Chunk struct {
	Output Output
	Usage  Usage
	Finish Finish
	Choice int // which answer it is a piece of, where several were asked for; each has its own Finish
}

// Sink takes an answer's chunks, one at a time. An error from Send means: stop, nobody listens; ErrEnough: stop, all is there.
type Sink interface{ Send(*Chunk) error }

// SinkFunc is a Sink made of a function.
type SinkFunc func(*Chunk) error

// Send calls f.
func (f SinkFunc) Send(c *Chunk) error { return f(c) }

// Handler answers a Request. It returns after the last chunk was sent, or with the error that ended the call; an error
// after the first chunk ends a stream. Models, pipelines, middleware and remote servers are all Handlers.
type Handler interface {
	Handle(context.Context, *Request, Sink) error
}

// HandlerFunc is a Handler made of a function.
type HandlerFunc func(context.Context, *Request, Sink) error

// Handle calls f.
func (f HandlerFunc) Handle(ctx context.Context, r *Request, s Sink) error { return f(ctx, r, s) }

// Timing says where a call's time went.
type Timing struct {
	Start   time.Time     // when the request was handed to the chain
	Queue   time.Duration // waiting for an instance
	Input   time.Duration // laying rows together
	Compute time.Duration // in the engine
	Output  time.Duration // taking rows apart
	Batch   int           // rows of the batch that it ran in
	First   time.Time     // when the first chunk was sent
	Last    time.Time     // when the last one was
	Chunks  int
}
