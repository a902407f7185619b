// Package onnx serves .onnx models by ONNX Runtime, whose C API it calls through purego: no C compiler, CGO_ENABLED=0.
//
// Called by server, which puts the Engine in its list, and by schedule, which runs the models. It imports the root, the
// engine contract and purego; its tests also import native, which finds the library.
//
// Where to look: library.go opens the library, session.go makes a session out of a file, signature.go reads its types,
// instance.go, input.go and output.go are the hot path, external.go reads the file before ONNX Runtime may.
package onnx
