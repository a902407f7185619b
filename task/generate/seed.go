package generate

import "math/rand/v2"

// randomSeed is a seed for a request that brings none.
func randomSeed() uint64 { return rand.Uint64() }
