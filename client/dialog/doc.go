// Package dialog is a conversation with a model of text, whoever answers: a serval.Handler, over the wire or in this process. Ask
// is one answer, Printer shows it as it comes, Run is a conversation on a terminal, with its history, line editing and commands.
//
// Called by cmd (serval run). It imports the root, and golang.org/x/term for lines and raw terminals.
package dialog
