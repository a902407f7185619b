// Package inference is the generated code of protobuf package inference: Triton's services and model configuration. The .proto
// files here are its source, wire/generate.sh makes it. Used by protocol/oip and wire/triton; it imports protobuf and grpc only.
package inference
