// Package generate is the task of models that go on with text: it renders a conversation with the model's template, makes
// tokens of text, refuses what does not fit or cannot be constrained before anything is queued, and turns the tokens that
// come back into text: whole characters, ended before a stop text, with reasoning and tool calls set apart.
//
// Called by route, calls schedule (or a child process's). It imports the root and llm.
package generate
