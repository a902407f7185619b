// Package client talks to a Serval server: over the Open Inference Protocol, of which any server will do, and for text over OpenAI's
// API. client/input and client/output turn files into tensors and tensors into answers; client/dialog is a conversation on a
// terminal. The commands call them; they import the root only.
package client
