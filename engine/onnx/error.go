package onnx

import (
	"context"
	"errors"
	"strings"

	"serval"
)

// statusError is what an OrtStatus said.
type statusError struct {
	code    int32
	message string
}

func (e *statusError) Error() string { return e.message }

// Codes of an OrtStatus.
const (
	statusInvalidArgument = 2
	statusNotImplemented  = 9
)

// runError turns a failed Run into the caller's error: InvalidArgument where the inputs are the cause, Unimplemented where
// ONNX Runtime does not do what the model asks of such inputs, else Internal.
func runError(model string, err error) error {
	var status *statusError
	if !errors.As(err, &status) {
		return err
	}
	code := serval.InvalidArgument
	switch {
	case status.code == statusInvalidArgument:
	case status.code == statusNotImplemented || notDone(status.message):
		code = serval.Unimplemented
	case !aboutShapes(status.message):
		return serval.AsError(err)
	}
	e := serval.Errorf(code, "model '%s' cannot compute these inputs: %s", model, reason(status.message))
	return e.Because(err).At(inputNamed(status.message))
}

// aboutShapes says whether ONNX Runtime complains of the inputs' shapes or values. Its kernels return the same code for
// that as for an internal failure, so the words have to do.
func aboutShapes(message string) bool {
	lower := strings.ToLower(message)
	for _, word := range []string{"dimension", "shape", " rank", "out of data bounds", "out of bounds", "broadcast", "same size"} {
		if strings.Contains(lower, word) {
			return true
		}
	}
	return false
}

// notDone says whether ONNX Runtime complains that it lacks something, which its kernels do under several codes.
func notDone(message string) bool {
	for _, word := range []string{"not supported", "not defined", "not implemented", "unsupported", "Unsupported"} {
		if strings.Contains(message, word) {
			return true
		}
	}
	return false
}

// reason leaves the places in ONNX Runtime's source out of its message.
func reason(message string) string {
	if i := strings.Index(message, "Status Message: "); i >= 0 {
		message = message[i+len("Status Message: "):]
	}
	if strings.HasPrefix(message, "/") { // "/path/file.cc:12 void onnxruntime::Function(…) the message"
		if i := strings.LastIndex(message, ") "); i >= 0 {
			message = message[i+2:]
		}
	}
	if _, after, found := strings.Cut(message, " was false. "); found { // the condition in the source that did not hold
		message = after
	}
	return strings.TrimSuffix(message, " Please fix either the inputs/outputs or the model.")
}

// inputNamed finds the input's name in "Got invalid dimensions for input: x for the following indices".
func inputNamed(message string) string {
	_, rest, found := strings.Cut(message, " for input: ")
	if !found {
		return ""
	}
	for _, end := range []string{" for the following", " Got: "} {
		if name, _, found := strings.Cut(rest, end); found {
			return name
		}
	}
	return ""
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// openError says that the model at path could not be loaded.
func openError(ctx context.Context, path string, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return serval.Errorf(serval.InvalidArgument, "%s: ONNX Runtime cannot load it: %w", path, err)
}
