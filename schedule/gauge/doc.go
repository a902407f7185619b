// Package gauge measures a model of text that is open in this process: its perplexity over a text, and how many tokens a second it reads
// and makes. It asks the model as the tasks do, so that whatever engine serves it is measured with its queue and its batching.
//
// Called by server for `serval model quantize` and `serval model tune`. It imports the root and llm/vocab.
package gauge
