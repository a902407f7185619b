package config

import (
	"crypto/sha256"
	"encoding/hex"
)

const hashPrefix = "sha256:"

// HashKey is what a configuration says of an API key instead of the key: keys are long and random, so a plain SHA-256 that
// costs nothing to check cannot be turned back.
func HashKey(key string) string {
	digest := sha256.Sum256([]byte(key))
	return hashPrefix + hex.EncodeToString(digest[:])
}

// Digest is the key's SHA-256; zero where Hash is not valid, which Read refuses.
func (k *Key) Digest() [sha256.Size]byte {
	digest, _ := parseHash(k.Hash)
	return digest
}
