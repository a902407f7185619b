package sqs

import (
	"context"
	"crypto/rand"
	"fmt"

	"serval/stream"
)

// Broker is the plug-in. It is safe for concurrent use.
type Broker struct{}

var (
	_ stream.Broker   = Broker{}
	_ stream.Returner = Broker{}
)

// New makes it.
func New() Broker { return Broker{} }

// Name is "sqs".
func (Broker) Name() string { return "sqs" }

// SourceOptions are the defaults of what is read.
func (Broker) SourceOptions() any { return defaultSource() }

// TargetOptions are the defaults of what is written.
func (Broker) TargetOptions() any { return defaultTarget() }

// Check implements stream.Broker.
func (Broker) Check(options any) error {
	switch o := options.(type) {
	case *SourceOptions:
		return o.check()
	case *TargetOptions:
		return o.check()
	}
	return wrong(options)
}

// Say names a place.
func (Broker) Say(options any) string {
	switch o := options.(type) {
	case *SourceOptions:
		return "sqs " + o.name()
	case *TargetOptions:
		return "sqs " + o.name()
	}
	return "sqs"
}

// Source reads a queue. That it cannot be reached, or is not there, is no error: it is read when it is.
func (Broker) Source(ctx context.Context, options any, env stream.Env) (stream.Source, error) {
	o, ok := options.(*SourceOptions)
	if !ok {
		return nil, wrong(options)
	}
	if err := o.check(); err != nil {
		return nil, err
	}
	q, err := o.open(ctx)
	if err != nil {
		return nil, err
	}
	return newSource(o, q, env), nil
}

// Target writes to a queue.
func (Broker) Target(ctx context.Context, options any, env stream.Env) (stream.Target, error) {
	o, ok := options.(*TargetOptions)
	if !ok {
		return nil, wrong(options)
	}
	if err := o.check(); err != nil {
		return nil, err
	}
	q, err := o.open(ctx)
	if err != nil {
		return nil, err
	}
	whose := env.Stream
	if env.Again {
		whose += " " + rand.Text()
	}
	return newTarget(o, q, whose), nil
}

// Return implements stream.Returner.
func (Broker) Return(ctx context.Context, options any, env stream.Env) (stream.Target, error) {
	o, ok := options.(*SourceOptions)
	if !ok {
		return nil, wrong(options)
	}
	to := defaultTarget()
	to.Connection = o.Connection
	if err := to.check(); err != nil {
		return nil, err
	}
	q, err := to.open(ctx)
	if err != nil {
		return nil, err
	}
	// What is put back twice, by two people, comes twice; what one of them writes again does not.
	return &returned{newTarget(to, q, env.Stream+" "+rand.Text())}, nil
}

func wrong(options any) error {
	return fmt.Errorf("sqs: %T are not its options (this is a bug)", options)
}
