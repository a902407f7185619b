// Package client talks to a Serval (or any Open Inference Protocol) server over REST, and by client/input and client/output
// turns files into tensors and tensors into answers. The commands call it; it imports the root only.
package client
