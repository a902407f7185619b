// Package gguf serves .gguf models on the CPU by itself, in Go over the kernels of engine/gguf/kernel: models that make text, and encoders
// (BERT and its kin), which make vectors of texts or scores of pairs of them. What it does not know of a file it declines by name;
// engine/llama takes those.
//
// Called by server, which puts the Engine in its list, and by schedule, whose decode loop drives a model. It imports the
// root, the engine contract, llm and its own kernels; its tests compare it with engine/llama.
//
// Where to look: shape.go reads a header (what an architecture has beside llama's net are its traits) and declines, weights.go
// loads, keep.go has what is packed kept for the next start, plan.go says before a load whether it fits. forward.go computes a batch
// (compute.go, rope.go, attention.go, ops.go), cache.go has the blocks of keys and values,
// evict.go which of them go first. decoder.go is the model that schedule steps: admit.go takes calls in, lay.go lays the next batch together,
// step.go runs it and takes it apart; the answers are llm/decode's, with their place in sequence.go.
//
// An encoder has no cache and computes whole texts, so it has a net and a model of its own: bert.go reads its header, bertload.go loads,
// bertplan.go plans, bertnet.go and bertattend.go compute a batch, and encoder.go is what schedule steps. With decoders it shares the
// reading of headers (shape.go) and of tensors (weights.go, keep.go), rope.go, and crew.go, which shares rows and products out among threads.
//
// docs/decisions/0017-gguf-engine.md has the reasons.
package gguf
