// Package jsontensor reads and writes tensors as JSON in a single pass: numbers go from the text straight into a tensor's
// little-endian bytes and back, without reflection and without a value per element. Its Scanner walks the objects around
// them in the same pass.
//
// Called by the protocols whose tensors are JSON. It imports the root and the standard library. Errors are *serval.Error.
package jsontensor
