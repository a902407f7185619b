package kafka

import (
	"context"
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"

	"serval"
	"serval/stream"
)

// Broker is the plug-in. It is safe for concurrent use.
type Broker struct{}

var _ stream.Broker = Broker{}

// New makes it.
func New() Broker { return Broker{} }

// Name is "kafka".
func (Broker) Name() string { return "kafka" }

// SourceOptions are the defaults of what is read.
func (Broker) SourceOptions() any { return defaultSource() }

// TargetOptions are the defaults of what is written.
func (Broker) TargetOptions() any { return defaultTarget() }

// Check implements stream.Broker.
func (Broker) Check(options any) (err error) {
	switch o := options.(type) {
	case *SourceOptions:
		_, err = o.consumer(stream.Env{})
	case *TargetOptions:
		if _, err = o.common(stream.Env{}); err == nil {
			_, err = o.producer()
		}
	default:
		err = wrong(options)
	}
	return err
}

// Say names a place.
func (Broker) Say(options any) string {
	switch o := options.(type) {
	case *SourceOptions:
		return "kafka " + strings.Join(o.Topics, ", ") + " (group " + o.Group + ")"
	case *TargetOptions:
		return "kafka " + o.Topic
	}
	return "kafka"
}

// Source reads as a member of a consumer group. That no broker can be reached is no error: it reads when one is there.
func (Broker) Source(_ context.Context, options any, env stream.Env) (stream.Source, error) {
	o, ok := options.(*SourceOptions)
	if !ok {
		return nil, wrong(options)
	}
	return newSource(o, env)
}

// Target writes to a topic.
func (Broker) Target(_ context.Context, options any, env stream.Env) (stream.Target, error) {
	o, ok := options.(*TargetOptions)
	if !ok {
		return nil, wrong(options)
	}
	opts, err := o.common(env)
	if err != nil {
		return nil, err
	}
	more, err := o.producer()
	if err != nil {
		return nil, err
	}
	cl, err := kgo.NewClient(append(opts, more...)...)
	if err != nil {
		return nil, serval.Errorf(serval.InvalidArgument, "kafka: %w", err)
	}
	return &target{cl, o.room()}, nil
}

// Session reads and writes in transactions.
func (Broker) Session(_ context.Context, source, target, dead any, env stream.Env) (stream.Session, error) {
	in, ok := source.(*SourceOptions)
	if !ok {
		return nil, wrong(source)
	}
	out, ok := target.(*TargetOptions)
	if !ok {
		return nil, wrong(target)
	}
	letters, ok := dead.(*TargetOptions)
	if dead != nil && !ok {
		return nil, wrong(dead)
	}
	return newSession(in, out, letters, env)
}

func wrong(options any) error {
	return fmt.Errorf("kafka: %T are not its options (this is a bug)", options)
}
