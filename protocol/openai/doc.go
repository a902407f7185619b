// Package openai speaks OpenAI's HTTP API: chat completions, completions, embeddings and stored responses, with the fields that vLLM
// and llama-server add. Wire facts: reference/protocols.md §1.5, §5.
//
// Called by server through protocol/all, calls the chain. It imports the root, protocol and the shared parts.
package openai
