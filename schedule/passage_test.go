package schedule

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"

	"serval"
	"serval/engine"
)

// elsewhere is a model that answers when it is let.
type elsewhere struct {
	Handling
	let    chan struct{}
	closed bool
}

func (e *elsewhere) Handle(context.Context, *serval.Request, serval.Sink) error { <-e.let; return nil }
func (e *elsewhere) Close() error                                               { e.closed = true; return nil }
func (e *elsewhere) Stats() serval.Stats                                        { return serval.Stats{Inferences: 7} }
func (e *elsewhere) Signature() serval.Signature {
	return serval.Signature{Inputs: []serval.TensorInfo{{Name: "x"}}}
}
func (e *elsewhere) Memory() engine.Memory { return engine.Memory{Bytes: 5} }
func (e *elsewhere) Settings() serval.ModelSettings {
	return serval.ModelSettings{Isolation: "process"}
}

type travel struct {
	engine.Engine
	to *elsewhere
}

func (t travel) Open(context.Context, engine.Spec) (engine.Model, error) { return t.to, nil }

func TestPassage(t *testing.T) {
	e := &elsewhere{let: make(chan struct{})}
	settings := serval.ModelSettings{Queue: serval.QueueSettings{Limit: 1}, Constants: map[string]string{"c": "1"}, Dims: map[string]int64{"n": 2}} // seen to there
	o, err := Open(t.Context(), travel{to: e}, engine.Spec{Name: "m", Version: "1", Settings: settings}, 2)
	if err != nil {
		t.Fatal(err)
	}
	if o.Settings.Isolation != "process" || o.Memory.Bytes != 5 || o.Signature.Inputs[0].Name != "x" || o.Language != nil {
		t.Errorf("%+v", o)
	}
	p := o.Loaded.(*Passage)
	ended := make(chan error)
	most := 1 + beside
	for range most {
		go func() { ended <- p.Handle(t.Context(), &serval.Request{}, nil) }()
	}
	for p.InFlight() < most {
		runtime.Gosched()
	}
	var full *serval.Error
	if err := p.Handle(t.Context(), &serval.Request{}, nil); !errors.As(err, &full) || full.Code != serval.Unavailable || full.RetryAfter == 0 || !strings.Contains(full.Message, "model 'm' version 1 is overloaded") {
		t.Errorf("%v", err)
	}
	if s := p.Stats(); s.Inferences != 7 || s.Rejected["queue_full"] != 1 || s.Fail.Count != 1 {
		t.Errorf("%+v", s)
	}
	closed := make(chan error)
	go func() { closed <- p.Close() }()
	for { // until it is closing
		p.mu.Lock()
		draining := p.draining
		p.mu.Unlock()
		if draining {
			break
		}
		runtime.Gosched()
	}
	if err := p.Handle(t.Context(), &serval.Request{}, nil); err != serval.ErrRetired {
		t.Errorf("%v", err)
	}
	if e.closed {
		t.Error("closed with calls inside")
	}
	close(e.let)
	for range most {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	if err := <-closed; err != nil || !e.closed {
		t.Errorf("%v %v", err, e.closed)
	}
}
