// Package load drives a server of the Open Inference Protocol and measures it: REST with JSON or binary tensors, and
// gRPC; a closed loop of callers or arrivals at a rate. `serval bench` and bench/compare call it.
//
// The generator shares the machine with the server under test, so it spends as little as it can: requests are built once
// and sent as bytes over connections that stay open, and responses are skimmed, not decoded.
//
// Package bench/chat is the same for models of text; it takes the Pacer, the Response and the Times from here.
//
// It imports the root package, grpc and hdrhistogram.
package load
