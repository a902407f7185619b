// Package element turns single elements of tensors into and from text, JSON values and numbers. Its callers are client,
// client/input and client/output; it imports the root only.
package element
