// Package ollama speaks Ollama's native API: chat, generate, embed, tags, show and ps, streamed as lines of JSON. What a
// prompt's context cannot hold is refused, and never cut as Ollama does. Wire facts: reference/protocols.md §1.7.
//
// Called by server through protocol/all, calls the chain. It imports the root, protocol and the shared parts.
package ollama
