// Package llama serves .gguf models by libllama, whose C API it calls through purego: no C compiler, CGO_ENABLED=0.
//
// Called by server, which puts the Engine in its list, and by schedule, whose decode loop drives a model. It imports the
// root, the engine contract, llm and purego; its tests also import native, which finds the library.
//
// Where to look: api.go has the structs and functions of llama.h, library.go opens the library and checks that they fit,
// plan.go says before a load whether it fits the memory. decoder.go is the model that schedule steps: admit.go takes calls
// in, batch.go lays the next batch together, step.go runs it and take.go takes it apart; the answers are llm/decode's, with their place in sequence.go.
// cells.go counts the key-value cache, prefix.go finds what of a prompt is in it. encode.go makes vectors.
package llama
