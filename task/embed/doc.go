// Package embed is the task of models that make vectors of texts: it makes tokens of text, refuses what is too long, and
// brings the vectors to the length and the size that were asked for. Documents are ranked by a model made for it, or by how
// near their vectors are to the query's.
//
// Called by route, calls schedule (or a child process's). It imports the root and llm.
package embed
