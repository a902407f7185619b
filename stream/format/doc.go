// Package format turns messages into a model's inputs and its answers into messages: tensors as the Open Inference Protocol's
// JSON and protobuf, rows as JSON objects and CSV lines, plain text and bytes, chats, and any of them inside CloudEvents. Each
// is a stream.Format. The bytes come from outside: every parser here has a fuzz target.
//
// Made by server. It imports the root, stream, internal/jsontensor and the wire messages.
package format
