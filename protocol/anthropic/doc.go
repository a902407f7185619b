// Package anthropic speaks Anthropic's Messages API: messages, streamed and whole, and count_tokens. cache_control is
// accepted and ignored, as the prefix cache needs no hints. Wire facts: reference/protocols.md §5.
//
// Called by server through protocol/all, calls the chain. It imports the root, protocol and the shared parts.
package anthropic
