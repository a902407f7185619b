// Package output turns a model's outputs into an answer for people and for scripts: a Table, written aligned, as JSON or as
// CSV. The commands call it; it imports the root and client/element.
package output
