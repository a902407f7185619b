// Package format turns messages into a model's inputs and its answers into messages: tensors as the Open Inference Protocol's
// JSON and protobuf, rows as JSON objects and CSV lines, records of a schema registry in Avro, Protobuf and JSON Schema, plain text
// and bytes, chats, and any of them inside CloudEvents. Each is a stream.Format. The bytes come from outside: every parser here has
// a fuzz target.
//
// Formats of a registry (schemed.go is what they have in common) ask it while they decode: once for each schema, within a time that
// is bounded, and with an error that has the message tried again where the registry is away.
//
// Made by server. It imports the root, stream, internal/jsontensor and the wire messages.
package format
