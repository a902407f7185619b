// Package oip speaks the Open Inference Protocol (KServe v2) with Triton's extensions: REST and gRPC, binary tensor data,
// classification, shared memory, model repository, configuration, statistics, trace and log settings. Where KServe's and
// Triton's shapes differ, the answer serves both.
//
// What it decides where the protocol is silent: NaN and infinities of an FP32 or FP64 tensor stand in JSON as the strings
// "NaN", "Infinity" and "-Infinity" (as protobuf's JSON has them), both ways; they are valid JSON, and numpy reads them
// back as what they were. Bare NaN is refused. FP16 and BF16 travel as binary data only. A model that answers in more
// than one piece is not for REST. Sequence parameters are checked and mean nothing, as no model keeps state.
//
// Called by server. It imports the root, protocol, internal/jsontensor and the generated wire messages.
package oip
