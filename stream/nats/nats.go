package nats

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"

	"serval/stream"
)

// Broker is the plug-in. It is safe for concurrent use. It owns the embedded server, which all its sources and targets share and
// Close ends.
type Broker struct {
	mu       sync.Mutex // guards what follows
	settings Embedded   // what streams said of the embedded server, together
	embedded *embedded  // nil: not started
	readers  map[string]reader
	closed   bool
}

// reader is the stream of ours whose name made a consumer's, and how many sources it has open.
type reader struct {
	stream string
	open   int
}

var (
	_ stream.Broker = (*Broker)(nil)
	_ io.Closer     = (*Broker)(nil)
)

// New makes it.
func New() *Broker { return &Broker{readers: map[string]reader{}} }

// Name is "nats".
func (*Broker) Name() string { return "nats" }

// SourceOptions are the defaults of what is read.
func (*Broker) SourceOptions() any { return defaultSource() }

// TargetOptions are the defaults of what is written.
func (*Broker) TargetOptions() any { return defaultTarget() }

var _ stream.Settler = (*Broker)(nil)

// Check implements stream.Broker. What options say of the embedded server must agree with what others said that were settled.
func (b *Broker) Check(options any) error { return b.check(options, false) }

// Settle implements stream.Settler.
func (b *Broker) Settle(options any) error { return b.check(options, true) }

func (b *Broker) check(options any, keep bool) error {
	switch o := options.(type) {
	case *SourceOptions:
		if err := o.check(); err != nil {
			return err
		}
		return b.settle(&o.Connection, keep)
	case *TargetOptions:
		if err := o.check(); err != nil {
			return err
		}
		return b.settle(&o.Connection, keep)
	}
	return wrong(options)
}

// Say names a place.
func (*Broker) Say(options any) string {
	switch o := options.(type) {
	case *SourceOptions:
		text := "nats " + o.Stream
		if len(o.Subjects) > 0 {
			text += " (" + strings.Join(o.Subjects, ", ") + ")"
		}
		return text
	case *TargetOptions:
		return "nats " + o.Subject
	}
	return "nats"
}

// Source reads as a member of a consumer.
func (b *Broker) Source(ctx context.Context, options any, env stream.Env) (stream.Source, error) {
	o, ok := options.(*SourceOptions)
	if !ok {
		return nil, wrong(options)
	}
	return b.newSource(ctx, o, env)
}

// Target publishes to a subject.
func (b *Broker) Target(ctx context.Context, options any, env stream.Env) (stream.Target, error) {
	o, ok := options.(*TargetOptions)
	if !ok {
		return nil, wrong(options)
	}
	return b.newTarget(ctx, o, env)
}

// Close ends the embedded server.
func (b *Broker) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	if b.embedded == nil {
		return nil
	}
	err := b.embedded.close()
	b.embedded = nil
	return err
}

func wrong(options any) error {
	return fmt.Errorf("nats: %T are not its options (this is a bug)", options)
}
