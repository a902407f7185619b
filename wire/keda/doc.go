// Package keda is the generated code of protobuf package externalscaler: the service by which KEDA, which scales Kubernetes'
// workloads, asks for a metric. The .proto file here is its source, wire/generate.sh makes it. Used by protocol/keda; it imports
// protobuf and grpc only.
package keda
