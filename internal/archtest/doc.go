// Package archtest holds the import rules of docs/ARCHITECTURE.md as a test: which folder may import which. It imports the
// standard library only.
package archtest
