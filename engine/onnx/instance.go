package onnx

import (
	"context"
	"runtime"

	"serval"
	"serval/engine"
)

// instance runs a session for one batch at a time: it owns the buffers that a batch is laid together in.
type instance struct {
	caller
	session *session
	inputs  []input
	outputs []output
	closed  bool

	// What Run is given: the inputs that are present, and all outputs. In the heap, where C may look at it.
	names, values    []uintptr
	outNames, outPtr []uintptr
	answer           []serval.Tensor                                // scratch for Scatter, which copies it
	word             struct{ data, dims, rank, size, part uintptr } // where C puts its results
	element          int32
}

func newInstance(s *session) *instance {
	s.users.Add(1)
	in := &instance{
		caller: caller{library: s.library}, session: s,
		inputs: make([]input, len(s.inputs)), outputs: make([]output, len(s.outputs)),
		names: make([]uintptr, 0, len(s.inputs)), values: make([]uintptr, 0, len(s.inputs)),
		outNames: make([]uintptr, len(s.outputs)), outPtr: make([]uintptr, len(s.outputs)),
		answer: make([]serval.Tensor, len(s.outputs)),
	}
	for i := range s.inputs {
		in.inputs[i].value = &s.inputs[i]
	}
	for i := range s.outputs {
		in.outputs[i].value = &s.outputs[i]
		in.outNames[i] = address(s.outputs[i].name)
	}
	return in
}

// Signature is the model's own order of inputs and outputs; inputs that have a default stand last.
func (in *instance) Signature() serval.Signature { return in.session.signature }

// Memory is what loading the model took from the system; an instance that shares a session shares that too.
func (in *instance) Memory() engine.Memory { return in.session.memory }

// Share makes an instance on the same session: the weights stand in memory once.
func (in *instance) Share(ctx context.Context) (engine.Batcher, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return newInstance(in.session), nil
}

// Close frees the buffers and, after the last instance, the session.
func (in *instance) Close() error {
	if in.closed {
		return nil
	}
	in.closed = true
	for i := range in.inputs {
		in.inputs[i].drop(&in.caller)
	}
	in.session.release()
	return nil
}

// Execute runs the calls as one batch. Where that fails, each is run alone, so that only those fail that must. What ONNX
// Runtime has begun is not interrupted when ctx ends.
func (in *instance) Execute(ctx context.Context, calls []*engine.Call) error {
	if len(calls) == 0 {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	err := in.run(calls)
	if err == nil {
		return nil
	}
	if len(calls) == 1 {
		calls[0].Fail(err)
		return nil
	}
	for i := range calls {
		if calls[i].Answered() {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := in.run(calls[i : i+1]); err != nil {
			calls[i].Fail(err)
		}
	}
	return nil
}

// run computes one batch and answers its calls; with an error, none may count as answered.
func (in *instance) run(calls []*engine.Call) error {
	defer in.tidy()
	rows, err := in.stage(calls)
	if err != nil {
		return err
	}
	err = in.call(fnRun, in.session.ptr, 0, addressOf(in.names), addressOf(in.values), uintptr(len(in.names)),
		addressOf(in.outNames), uintptr(len(in.outNames)), addressOf(in.outPtr))
	runtime.KeepAlive(calls) // inputs may be read where they stand
	if err != nil {
		if rows == 0 && in.answerNothing(calls) {
			return nil
		}
		return runError(in.session.name, err)
	}
	return in.deliver(calls)
}

// tidy frees what belongs to one run.
func (in *instance) tidy() {
	for i, p := range in.outPtr {
		in.release(fnReleaseValue, p)
		in.outPtr[i] = 0
	}
	for i := range in.inputs {
		in.inputs[i].finish(&in.caller)
	}
	for i := range in.outputs {
		in.outputs[i].finish()
	}
	clear(in.answer)
}
