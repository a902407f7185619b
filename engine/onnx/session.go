package onnx

import (
	"context"
	"slices"
	"sync/atomic"
	"unsafe"

	"serval"
	"serval/engine"
)

// session is a loaded model: its graph and weights, which any number of instances run at the same time. The last of them
// releases it.
type session struct {
	library   *library
	ptr       uintptr // OrtSession
	name      string  // of the model
	inputs    []value
	outputs   []value
	signature serval.Signature
	memory    engine.Memory
	users     atomic.Int32
}

// openSession loads a model file. When ctx ends, loading stops at ONNX Runtime's next look at the flag.
func (l *library) openSession(ctx context.Context, path string, p plan) (*session, error) {
	options, err := l.options(p)
	if err != nil {
		return nil, err
	}
	defer l.release(fnReleaseSessionOptions, options)
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		_ = l.call(fnSessionOptionsSetLoadCancellationFlag, options, 1) // if it fails, loading goes on to its end
	})
	s := &session{library: l}
	file := cString(path)
	err = l.call(fnCreateSession, l.env, uintptr(unsafe.Pointer(&file[0])), options, uintptr(unsafe.Pointer(&s.ptr)))
	if !stop() {
		<-stopped
	}
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		l.release(fnReleaseSession, s.ptr)
		return nil, openError(ctx, path, err)
	}
	if err := s.read(); err != nil {
		l.release(fnReleaseSession, s.ptr)
		return nil, err
	}
	return s, nil
}

// read fills the signature. An initializer that is an input too has a default: it is optional, and stands last.
func (s *session) read() error {
	var err error
	if s.inputs, err = s.library.list(s.ptr, inputSide); err != nil {
		return err
	}
	optional, err := s.library.list(s.ptr, overridableSide)
	if err != nil {
		return err
	}
	for i := range optional {
		optional[i].info.Optional = true
	}
	s.inputs = append(s.inputs, optional...)
	if s.outputs, err = s.library.list(s.ptr, outputSide); err != nil {
		return err
	}
	if err := checkNames(inputSide, s.inputs); err != nil {
		return err
	}
	if err := checkNames(outputSide, s.outputs); err != nil {
		return err
	}
	s.signature = serval.Signature{Inputs: infos(s.inputs), Outputs: infos(s.outputs)}
	return nil
}

func infos(values []value) []serval.TensorInfo {
	list := make([]serval.TensorInfo, len(values))
	for i := range values {
		list[i] = values[i].info
	}
	return list
}

// label gives the outputs that are maps the class labels of their ZipMap node. ONNX Runtime keeps a map's keys in
// ascending order, strings by their bytes; so the labels stand in that order, not in the node's.
func (s *session) label(classes map[string][]string) {
	for i := range s.outputs {
		labels := classes[s.outputs[i].info.Name]
		if s.outputs[i].kind != mapsKind || len(labels) == 0 {
			continue
		}
		labels = sortKeys(labels, s.outputs[i].keys)
		s.outputs[i].info.Labels = labels
		s.signature.Outputs[i].Labels = slices.Clone(labels)
	}
}

// sessionBytes is what a session takes beside its model: the graph, its allocators, what a run leaves.
const sessionBytes = 128 << 10

// release lets one instance go.
func (s *session) release() {
	if s.users.Add(-1) > 0 {
		return
	}
	s.library.release(fnReleaseSession, s.ptr)
	s.ptr = 0
	s.library.freed(s.memory.Bytes + sessionBytes)
}
