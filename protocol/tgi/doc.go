// Package tgi speaks text-generation-inference's own API: generate, generate_stream and info. It names no model, so it is
// for servers with one. Wire facts: reference/protocols.md §1.6.
//
// Called by server through protocol/all, calls the chain. It imports the root, protocol and the shared parts.
package tgi
