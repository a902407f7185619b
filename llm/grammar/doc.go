// Package grammar holds what a model generates to a language: a JSON Schema, any JSON object, a regular expression, a choice of
// texts, or a grammar in GBNF. For each step it tells which tokens may come next, so that an answer that finishes is a word of
// the language, whatever the model would have liked. What cannot be held to is refused when it is compiled, with its place.
//
// The data path: gbnf.go, regex.go and schema*.go read a source into rules of exprs (expr.go). network.go makes of them automata
// over bytes that call each other (nfa.go, dfa.go, survey.go), without dead ends. machine.go runs them. lexicon.go and local.go
// make masks over a vocabulary, and state.go is one sequence's place. docs/decisions/0009-grammar.md says why it is so, and
// docs/structured-output.md what of JSON Schema is understood.
//
// A caller indexes a model's vocabulary once, compiles and binds each constraint, and starts a State for each sequence:
//
//	lex := grammar.Index(vocabulary)
//	g, err := grammar.Compile(constraint)
//	s := g.Bind(lex).Start()
//	s.Mask(bits) // pick a token of them
//	s.Accept(token)
//
// Called by task, which refuses with it, and by engines. It imports the root.
package grammar
