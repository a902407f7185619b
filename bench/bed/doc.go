// Package bed is what the benches that start servers have in common: a server's process, and the section of a document that a table
// replaces.
//
// Called by the commands below bench. It imports the standard library.
package bed
