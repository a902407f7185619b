// Package chat drives any server of OpenAI's API and measures it as its users feel it: time to the first token, the gaps
// between tokens, tokens a second, what the prompt cache saved, and what was lost. It streams chat completions or plain
// completions, or asks for embeddings; in a closed loop of callers or with arrivals at a rate. `serval bench` and bench/text
// call it.
//
// The generator shares the machine with the server under test. Requests are written as bytes over connections that stay
// open, and of each event only what is counted is read (skim.go).
//
// It imports bench/load and the root package.
package chat
