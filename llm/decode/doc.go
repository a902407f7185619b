// Package decode is what engines that make text token by token do in the same way, whatever computes the logits: an answer on its
// way from the prompt to its end, and texts on their way to vectors.
//
// An engine makes a Model of what it loaded and asks it to Check a call and to Start an Answer. The engine computes the answer's
// tokens from Done on, as many at once as it likes, and hands the logits to Take, which picks the next token, with its
// log-probability, under the constraint, and decides whether the answer ends; Tell hands what is new to the reader. Where the
// answer's cells are and when they are computed is the engine's own affair. guess.go proposes tokens that may follow, pace.go learns
// what computing them costs.
//
//	model.Check(in)
//	a, err := model.Start(in, stream)
//	for !a.Over() {
//		… // compute a.Tokens[a.Done:] and a.Guesses
//		a.Take(n, logits)
//		a.Tell()
//	}
//	a.End()
//
// Called by engine/llama and engine/gguf. It imports the root, llm/grammar, llm/sample and llm/vocab.
package decode
