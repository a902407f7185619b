// Package catalogue answers what several dialects ask at the same path: GET /v1/models (OpenAI, KServe, Anthropic), GET /
// (KServe, Ollama), /ping, /health and /version (vLLM, MLflow, llama-server). Each answer is the union of what their clients
// read; see reference/protocols.md §5.1.
//
// Called by server through protocol/all, asks the server's Models. It imports the root, protocol and the shared parts.
package catalogue
