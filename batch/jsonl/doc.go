// Package jsonl reads and writes JSON lines: an object a line, a batch.Format. Only the fields that are wanted are decoded, numbers
// straight into a column's bytes; nested lists are tensors. A line that is malformed is a Bad row.
//
// Called through batch/all; imports the root, batch and what it stands on.
package jsonl
