package protocol

import (
	"crypto/rand"
	"encoding/hex"
)

// NewID is a prefix and 24 random hex digits.
func NewID(prefix string) string {
	var b [12]byte
	_, _ = rand.Read(b[:]) // never fails
	return prefix + hex.EncodeToString(b[:])
}
