// Package worker is the generated code of protobuf package serval.worker: what a server and the host process of an isolated
// model say to each other. worker.proto here is its source, wire/generate.sh makes it. Used by engine/child; it imports
// protobuf and grpc only.
package worker
