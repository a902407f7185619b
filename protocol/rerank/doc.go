// Package rerank speaks the reranking APIs: Cohere's v1 and v2, Jina's, and that of text-embeddings-inference, which share
// paths and are told apart by their bodies. Wire facts: reference/protocols.md §5.
//
// Called by server through protocol/all, calls the chain. It imports the root, protocol and the shared parts.
package rerank
